"""Where OpenLineage events go: the transport that the environment names, and the file of a rehearsal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pipeline.errors import ConfigError

_ASKED = "AIRFLOW__OPENLINEAGE__TRANSPORT"


def read_transport(text: str) -> dict[str, Any]:
    """A transport as its JSON says.

    Raises:
        ConfigError: It is no JSON object, or an address in it carries a secret: OpenLineage names the address in logs when it does not answer.
    """
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict) or "type" not in found:
        raise ConfigError(asked=_ASKED, found="no JSON object with a type", mend='write {"type": "http", "url": "https://host"}')
    for address in _addresses(found):
        parts = urlsplit(address)
        if parts.username or parts.password or parts.query:
            mend = 'keep secrets in "auth" or "custom_headers", which nobody shows'
            raise ConfigError(asked=_ASKED, found=f"an address at {parts.hostname} with a user, a password or a query", mend=mend)
    return found


def kept_in(file: Path, theirs: str | None) -> str:
    """The transport that keeps events in a file, and sends them where `theirs` says as well.

    Raises:
        ConfigError: See `read_transport`.
    """
    kept = {"type": "file", "log_file_path": str(file), "append": True}
    return json.dumps({"type": "composite", "transports": {"kept": kept, "sent": read_transport(theirs)}} if theirs else kept)


def _addresses(value: Any) -> Iterator[str]:
    if isinstance(value, str) and value.startswith(("http://", "https://")):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _addresses(part)
