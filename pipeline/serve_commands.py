"""`cubecast serve`: forecasts, observations and scores over HTTP, read only, until Ctrl-C."""

from __future__ import annotations

import ipaddress
import json
import socket
import sys
from typing import Annotated, Any

import typer

from pipeline import api, clock
from pipeline.command_options import JsonObject, example
from pipeline.errors import ConfigError
from pipeline.settings import Settings, read_settings

serve_app = typer.Typer()
_SHORTEST_TOKEN = 16


@serve_app.command("serve", rich_help_panel="Run", epilog=example("cubecast serve --world aarhus --port 8750"))
def serve(
    world: Annotated[
        list[str] | None, typer.Option("--world", "-w", help="A world to serve; may be repeated; by default all.", metavar="WORLD")
    ] = None,
    host: Annotated[str, typer.Option(help="The address to listen on; other than loopback only with CUBECAST_TOKENS.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port; 0 for any that is free.", min=0, max=65535)] = 8750,
    refresh: Annotated[float, typer.Option(help="Seconds within which a newer forecast is seen.", min=0.05, max=3600)] = 1.0,
    as_json: JsonObject = False,
) -> None:
    """Answer GET requests for forecasts, observations and scores as JSON, CSV or Parquet; /docs explains every address."""
    settings = read_settings()
    check_opening(host, settings)
    app = _app(settings, world, host, refresh)
    listening = _socket(host, port)
    shown = f"[{host}]" if ":" in host else host
    url = f"http://{shown}:{listening.getsockname()[1]}"
    print(
        json.dumps({"url": url, "docs": f"{url}/docs"}) if as_json else f"serving {url}  (what there is: {url}/docs; end with Ctrl-C)",
        flush=True,
    )
    _run(app, listening)


def check_opening(host: str, settings: Settings) -> None:
    """Refuse to listen beyond this machine without tokens, or with tokens that can be guessed.

    Raises:
        ConfigError: So it is.
    """
    short = [token for token in settings.tokens if len(token) < _SHORTEST_TOKEN]
    if short:
        raise ConfigError(
            asked="CUBECAST_TOKENS",
            found=f"a token of {len(short[0])} characters",
            mend=f"use at least {_SHORTEST_TOKEN}, for example from: python3 -c 'import secrets; print(secrets.token_urlsafe())'",
        )
    if not is_loopback(host) and not settings.tokens:
        raise ConfigError(
            asked=f"serve on {host}",
            found="an address that others reach, and no token",
            mend="set CUBECAST_TOKENS (commas between several), or listen on 127.0.0.1",
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _app(settings: Settings, worlds: list[str] | None, host: str, refresh: float) -> Any:
    try:
        from pipeline.serving.app import create_app
    except ModuleNotFoundError as error:
        if error.name not in ("fastapi", "starlette", "uvicorn"):
            raise
        raise ConfigError(asked="cubecast serve", found=f"no module {error.name}", mend="pip install 'cubecast[serve]'") from error
    from pipeline.serving.guards import LOOPBACK
    from pipeline.serving.shelf import Shelf

    loaded = [api.load_world(name) for name in worlds or api.scheduled_worlds()]
    shelf = Shelf({w.name: w for w in loaded}, settings.store, clock.clock_of)
    hosts = LOOPBACK if is_loopback(host) else ()
    return create_app(
        shelf, tokens=settings.tokens, hosts=hosts, refresh_seconds=refresh, tell=lambda text: print(text, file=sys.stderr, flush=True)
    )


def _socket(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        ConfigError: The address is taken, or none of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise ConfigError(
            asked=f"listen on {host}:{port}", found=str(error.strerror or error), mend="choose another --port or --host"
        ) from error


def _run(app: Any, listening: socket.socket) -> None:
    import uvicorn

    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=1000,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=5,
    )
    uvicorn.Server(config).run(sockets=[listening])
