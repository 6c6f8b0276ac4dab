"""How people hear of alerts: a log of JSON lines and a webhook, each told once that an alert opened and once that it is over."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pipeline.contracts.alerts import Alert
from pipeline.contracts.times import format_instant
from pipeline.errors import ConfigError, CubecastError, NotYetAvailable
from pipeline.settings import Settings
from pipeline.stores.monitoring import MonitoringStore

_ATTEMPTS = 3
_SECONDS = 10.0
_MOST = 100
"""Alerts in one message; the others are counted."""

_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

Told = Mapping[str, dict[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Message:
    """What a channel is told: alerts that opened, and those that are over."""

    world: str
    moment: str
    opened: tuple[dict[str, Any], ...]
    closed: tuple[dict[str, Any], ...]


def deliver(world: str, store: MonitoringStore, settings: Settings, *, now: datetime) -> tuple[str, ...]:
    """Tell every channel what has changed since it was last told; one line for each that could not be reached.

    A channel that could not be reached is told the next time. One that was reached just before a kill may hear it twice.
    """
    standing = {alert.key: described(alert) for alert in store.standing()}
    undelivered = []
    for name, send in channels(settings).items():
        told = store.told(name)
        opened = [row for key, row in standing.items() if key not in told or _grew(told[key], row)]
        closed = [row for key, row in told.items() if key not in standing]
        if opened or closed:
            try:
                send(Message(world=world, moment=format_instant(now), opened=tuple(opened), closed=tuple(closed)))
            except CubecastError as error:
                undelivered.append(f"{name}: {error.found}")
                continue
            store.tell(name, standing)
    return tuple(undelivered)


def send_all(message: Message, settings: Settings) -> tuple[str, ...]:
    """Tell every channel, whatever it was told before; one line for each that could not be reached."""
    undelivered = []
    for name, send in channels(settings).items():
        try:
            send(message)
        except CubecastError as error:
            undelivered.append(f"{name}: {error.found}")
    return tuple(undelivered)


def channels(settings: Settings) -> dict[str, Callable[[Message], None]]:
    """The channels that the environment names.

    Raises:
        ConfigError: The webhook's address or header is not allowed.
    """
    found: dict[str, Callable[[Message], None]] = {}
    if settings.alert_log is not None:
        found["log"] = lambda message: _append(message, settings)
    if settings.alert_url is not None:
        check_address(settings)
        found["webhook"] = lambda message: _post(message, settings)
    return found


def described(alert: Alert) -> dict[str, Any]:
    """An alert as programs read it."""
    content = alert.to_json()
    return {"alert": alert.key, **{key: value for key, value in content.items() if key != "clean"}}


def _grew(told: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    return told.get("level") == "warn" and now["level"] == "block"


def lines(message: Message) -> Iterable[dict[str, Any]]:
    """One JSON object per alert that opened or closed."""
    for state, rows in (("opened", message.opened), ("closed", message.closed)):
        for row in rows:
            yield {"event": "alert", "state": state, "world": message.world, "time": message.moment, **row}


def _append(message: Message, settings: Settings) -> None:
    if settings.alert_log is None:
        return
    data = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines(message)).encode()
    try:
        settings.alert_log.parent.mkdir(parents=True, exist_ok=True)
        file = os.open(settings.alert_log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
        try:
            os.write(file, data)  # one write, so that lines of several processes do not mix
        finally:
            os.close(file)
    except OSError as error:
        raise NotYetAvailable(asked="write CUBECAST_ALERT_LOG", found=str(error.strerror), mend="mend access to that file") from error


def check_address(settings: Settings) -> None:
    """Refuse a webhook that is neither https nor on this machine, or whose host is not listed; its address is not repeated.

    Raises:
        ConfigError: It may not be asked.
    """
    import httpx

    asked = "CUBECAST_ALERT_URL"
    try:
        url = httpx.URL(settings.alert_url or "")
    except httpx.InvalidURL as error:
        raise ConfigError(asked=asked, found="no URL", mend="write https://host/path") from error
    if url.userinfo or not url.host or (url.scheme != "https" and not (url.scheme == "http" and url.host in _LOOPBACK)):
        raise ConfigError(
            asked=asked, found=f"no plain https address: {url.scheme}://{url.host}", mend="write https://host/path, or http:// on loopback"
        )
    if settings.alert_hosts and url.host not in settings.alert_hosts:
        raise ConfigError(
            asked=asked, found=f"host {url.host}", mend=f"name one of CUBECAST_ALERT_HOSTS: {', '.join(settings.alert_hosts)}"
        )
    if settings.alert_header is not None and not _header(settings.alert_header)[0]:
        raise ConfigError(asked="CUBECAST_ALERT_HEADER", found="no header", mend="write Name: value")


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    usable = colon and name.strip().replace("-", "").isalnum() and value.strip().isprintable()
    return (name.strip(), value.strip()) if usable else ("", "")


def content_of(message: Message) -> dict[str, Any]:
    """What is posted: `text` for chats, the alerts for programs; at most a hundred of each, the rest counted."""
    blocking = sum(row["level"] == "block" for row in message.opened)
    head = f"{message.world}: {len(message.opened)} alert(s) opened ({blocking} blocking), {len(message.closed)} over"
    said = [
        f"{'BLOCK' if row['level'] == 'block' else 'warn'} {row['alert']}: {row['text']} (see {row['mend']})" for row in message.opened[:20]
    ]
    said += [f"over: {row['alert']}" for row in message.closed[:20]]
    return {
        "text": "\n".join([head, *said]),
        "world": message.world,
        "time": message.moment,
        "opened": list(message.opened[:_MOST]),
        "closed": list(message.closed[:_MOST]),
        "left_out": max(0, len(message.opened) - _MOST) + max(0, len(message.closed) - _MOST),
    }


def _post(message: Message, settings: Settings) -> None:
    import httpx

    name, value = _header(settings.alert_header) if settings.alert_header else ("", "")
    headers = {"Content-Type": "application/json"} | ({name: value} if name else {})
    data, found = json.dumps(content_of(message), ensure_ascii=False).encode(), ""
    with httpx.Client(timeout=_SECONDS, follow_redirects=False) as client:
        for attempt in range(_ATTEMPTS):
            if attempt:
                time.sleep(2.0 ** (attempt - 1))
            try:
                answer = client.post(settings.alert_url or "", content=data, headers=headers)
            except httpx.HTTPError as error:
                found = f"no answer ({type(error).__name__})"
                continue
            if answer.is_success:
                return
            found = f"status {answer.status_code}"
            if answer.status_code not in _AGAIN:
                break
    raise NotYetAvailable(
        asked="post to CUBECAST_ALERT_URL", found=found, mend="the next look tells it again; mend the receiver or the address"
    )
