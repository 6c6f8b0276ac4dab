"""What the cockpit inside Airflow knows beyond the store: the tasks that have not ended well."""

from __future__ import annotations

from contextlib import suppress
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit

from pipeline.cockpit.grid import Unfinished
from pipeline.errors import ConfigError, NotYetAvailable
from pipeline.local_airflow.home import USER, address_of, password
from pipeline.local_airflow.rest import Rest
from pipeline.settings import Settings

_URL, _LOGIN = "CUBECAST_AIRFLOW_URL", "CUBECAST_AIRFLOW_LOGIN"
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_NO_ANSWER = (OSError, HTTPException, ValueError, TypeError, LookupError)
"""Of nobody, or of somebody who is no cockpit."""


def unfinished_of(settings: Settings, world: str) -> tuple[Unfinished, ...] | None:
    """The tasks of a world that run, wait or failed, each with the whole address of its page; None where no Airflow of the store tells.

    Raises:
        ConfigError: The Airflow that the settings name may not be asked.
        NotYetAvailable: It does not tell.
    """
    if settings.airflow_url is not None:
        return _told_by(settings.airflow_url, settings.airflow_login or "", world)
    address = address_of(settings.airflow_home)
    if address is None:
        return None
    with suppress(*_NO_ANSWER):
        return _asked(Rest(address, USER, password(settings.airflow_home)), address, world)
    return None


def _told_by(url: str, login: str, world: str) -> tuple[Unfinished, ...]:
    """The same of an Airflow elsewhere; the login is not repeated, whatever is wrong."""
    address = url.rstrip("/")
    if not _may_be_asked(address):
        raise ConfigError(asked=_URL, found="no plain https address", mend="write https://host, or http:// on loopback")
    user, colon, word = login.partition(":")
    if not login.isprintable() or not (word if colon else user):
        raise ConfigError(asked=_LOGIN, found="no login", mend=f"write user:password, or a token of the Airflow at {_URL}")
    try:
        return _asked(Rest(address, user, word) if colon else Rest(address, token=user), address, world)
    except _NO_ANSWER as error:
        found = f"{error.code} {error.reason}" if isinstance(error, HTTPError) else "no answer, or none of a cockpit"
        mend = f"mend {_URL} or {_LOGIN}, or see to that Airflow; without {_URL} the store alone is shown"
        raise NotYetAvailable(asked=f"tasks of {world} at {address}", found=found, mend=mend) from error


def _may_be_asked(address: str) -> bool:
    with suppress(ValueError):
        parts = urlsplit(address)
        plain = bool(parts.hostname) and address.isprintable() and not (parts.username or parts.password or parts.query or parts.fragment)
        return plain and (parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK))
    return False


def _asked(rest: Rest, address: str, world: str) -> tuple[Unfinished, ...]:
    found = rest.cockpit(f"/worlds/{quote(world)}/unfinished")
    return tuple(Unfinished(**{**task, "link": address + task["link"]}) for task in found)
