"""Guards around the service: reading only, known hosts only, tokens, no bodies, and headers that keep browsers careful."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from pipeline.serving.answers import Refused, json_bytes

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_LONGEST = 4096
_ALWAYS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


class Guards:
    """ASGI middleware; what it lets through is GET, and a HEAD is answered as the GET without its body.

    Args:
        app: The service.
        tokens: Those that are accepted as `Authorization: Bearer`; none for no question asked.
        hosts: Names that a request may be addressed to (against DNS rebinding); none for any.
    """

    def __init__(self, app: App, tokens: tuple[str, ...] = (), hosts: tuple[str, ...] = ()) -> None:
        self._app, self._tokens, self._hosts = app, [token.encode() for token in tokens], hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.lower(): value for name, value in scope["headers"]}
        refused = self._refusal(scope, headers)
        head = scope["method"] == "HEAD"
        if refused is not None:
            await _answer(refused, send, head=head)
            return

        async def careful(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *_ALWAYS]
            elif head and message["type"] == "http.response.body":
                message["body"] = b""
            await send(message)

        await self._app({**scope, "method": "GET"} if head else scope, receive, careful)

    def _refusal(self, scope: Scope, headers: dict[bytes, bytes]) -> Refused | None:
        if scope["method"] not in ("GET", "HEAD"):
            return Refused(405, asked=f"{scope['method'][:20]} {scope['path'][:200]}", found="a service that only reads", mend="use GET")
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > _LONGEST:
            return Refused(414, asked="an address that long", found=f"more than {_LONGEST:,} bytes", mend="ask for fewer things at once")
        if headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers:
            return Refused(413, asked="a request with a body", found="a service that only reads", mend="send no body")
        host = headers.get(b"host", b"").decode("latin-1")
        name = host if host.endswith("]") else host.rsplit(":", 1)[0] if ":" in host else host
        if self._hosts and name.lower() not in self._hosts:
            return Refused(
                421, asked=f"host '{host[:100]}'", found=f"a service for {', '.join(self._hosts)}", mend="address it by one of these"
            )
        return self._unknown_token(headers)

    def _unknown_token(self, headers: dict[bytes, bytes]) -> Refused | None:
        if not self._tokens:
            return None
        scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
        if scheme.lower() == b"bearer" and any(hmac.compare_digest(given.strip(), token) for token in self._tokens):
            return None
        found = "another token" if given else "no token"
        return Refused(401, asked="an answer", found=found, mend="send the header 'Authorization: Bearer <token>'")


async def _answer(refused: Refused, send: Send, *, head: bool) -> None:
    body = json_bytes(refused.body)
    more = {405: [(b"allow", b"GET, HEAD")], 401: [(b"www-authenticate", b"Bearer")]}.get(refused.status, [])
    told = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": refused.status, "headers": [*told, *more, *_ALWAYS]})
    await send({"type": "http.response.body", "body": b"" if head else body})
