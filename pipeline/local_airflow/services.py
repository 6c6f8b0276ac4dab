"""The services of docker/compose.yaml as command lines of this machine, every address on loopback, every secret generated."""

from __future__ import annotations

import os
import re
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import ConfigError

PORTS = {"5432": "postgres", "9000": "s3", "8080": "api-server", "8786": "dask-scheduler", "8787": "dashboard", "8000": "forecasts"} | {
    "9464": "metrics"
}
"""The ports that compose.yaml speaks of, each replaced by a free one, and whose they are."""

FOREIGN = ("postgres", "s3", "prometheus", "grafana")
"""Services of foreign images, which no command of compose.yaml starts."""

_MORE = {"scheduler": ("--host", "127.0.0.1"), "worker": ("--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0")}
_HOME = "/var/lib/cubecast/airflow"
_VARIABLE = re.compile(r"\$\{(\w+)(?::([?-])([^}]*))?\}")


@dataclass(frozen=True, kw_only=True)
class Service:
    """One process: its name, its command line, what its environment says, and the command that ends well while it is healthy (none: empty)."""

    name: str
    argv: tuple[str, ...]
    environment: dict[str, str]
    health: tuple[str, ...] = ()


def read_compose(file: Path) -> dict[str, Any]:
    """What compose.yaml says.

    Raises:
        ConfigError: It is not there.
    """
    import yaml

    if not file.is_file():
        raise ConfigError(asked=str(file), found="no such file", mend="run this from a checkout of the project")
    found: dict[str, Any] = yaml.safe_load(file.read_text())
    return found


def make_variables(example: Path, file: Path, given: Mapping[str, str]) -> dict[str, str]:
    """The variables of docker/.env.example, each `change-me` a generated secret, in a file that only its owner reads."""
    from cryptography.fernet import Fernet

    lines = re.findall(r"^(\w+)=(.*)$", example.read_text(), re.MULTILINE)
    made = {name: re.sub(r"change-me[\w-]*", lambda _: secrets.token_urlsafe(24), value) for name, value in lines}
    made |= {"AIRFLOW_FERNET_KEY": Fernet.generate_key().decode(), **given}
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as handle:
        handle.writelines(f"{name}={value}\n" for name, value in made.items())
    return made


def services(compose: Mapping[str, Any], variables: Mapping[str, str], ports: Mapping[str, int], folder: Path) -> tuple[Service, ...]:
    """The services of compose.yaml that are programs of ours, one for each replica, in the order of the file.

    Raises:
        ConfigError: A variable that compose.yaml demands is missing, or a command is of no program that is known here.
    """

    def here(text: Any) -> str:
        return _filled(_moved(str(text), ports, folder), variables)

    found = []
    for name, service in compose["services"].items():
        if name in FOREIGN:
            continue
        argv = tuple(here(word) for word in _command(name, service["command"]))
        told = {key: here(value) for key, value in service["environment"].items()}
        count = service.get("deploy", {}).get("replicas", 1)
        health = tuple(here(word) for word in _health(service)) if count == 1 else ()
        found += [Service(name=f"{name}-{n}" if count > 1 else name, argv=argv, environment=told, health=health) for n in range(count)]
    return tuple(found)


def _command(name: str, words: list[str]) -> list[str]:
    """A command of compose.yaml as one of this interpreter."""
    if words[:1] == ["python"]:
        return [sys.executable, *words[1:]]
    if words[:1] in (["airflow"], ["dask"]):
        return [sys.executable, "-m", *words, *(_MORE.get(words[1], ()) if words[0] == "dask" else ())]
    raise ConfigError(asked=f"service {name} of compose.yaml", found=" ".join(words), mend="a command of python, airflow or dask")


def _health(service: Mapping[str, Any]) -> list[str]:
    """The health check of a service, where it is a small program of Python; replicas would ask at the port that they share."""
    words = list(service.get("healthcheck", {}).get("test", []))
    return [sys.executable, *words[2:]] if words[:2] == ["CMD", "python"] else []


def _moved(text: str, ports: Mapping[str, int], folder: Path) -> str:
    """A text of compose.yaml with the addresses and folders of this machine."""
    if text in ports:
        return str(ports[text])
    text = text.replace("@postgres/", f"@127.0.0.1:{ports['5432']}/").replace("0.0.0.0", "127.0.0.1")  # noqa: S104
    text = re.sub(rf"[\w.-]*:({'|'.join(ports)})\b", lambda match: f"127.0.0.1:{ports[match[1]]}", text)
    return text.replace(_HOME, str(folder / "airflow"))


def _filled(text: str, variables: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        name, kind, rest = match.groups()
        if variables.get(name):
            return variables[name]
        if kind == "?":
            raise ConfigError(asked=f"{name} of compose.yaml", found="no value", mend=str(rest))
        return rest or ""

    return _VARIABLE.sub(value, text)
