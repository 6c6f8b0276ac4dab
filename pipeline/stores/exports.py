"""What copies for other programs have in common: a path that appears whole, and units as CF knows them."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

from pipeline.errors import ConfigError, StoreError

_CURRENCY = re.compile(r"\b[A-Z]{3}\b")


def cf_units(units: str) -> dict[str, str]:
    """The attributes that tell a unit; UDUNITS knows no money."""
    return {"units": "1", "currency_units": units} if _CURRENCY.search(units) else {"units": units}


@contextlib.contextmanager
def appearing(to: Path) -> Iterator[Path]:
    """A path beside `to` for the body to write a file or a folder at; it takes the name `to` at the end, or vanishes.

    Raises:
        ConfigError: Something is there already, or its folder is not.
        StoreError: The disk refused.
    """
    if not to.parent.is_dir():
        raise ConfigError(asked=f"export to {to}", found=f"no folder {to.parent}", mend="make it, or name another path")
    refuse_if_there(to)
    part = to.with_name(f".{uuid4().hex}.part{to.suffix}")
    try:
        yield part
        refuse_if_there(to)
        part.rename(to)
    except OSError as error:
        raise StoreError(
            asked=f"export to {to}", found=str(error.strerror or error), mend="free space or mend access; nothing was left there"
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True) if part.is_dir() else part.unlink(missing_ok=True)


def refuse_if_there(to: Path) -> None:
    """Refuse a path at which there is something.

    Raises:
        ConfigError: There is.
    """
    if to.exists() or to.is_symlink():
        raise ConfigError(asked=f"export to {to}", found="something is there already", mend="name another path, or remove it first")
