"""Bytes over http(s), from the hosts that a world lists and from no other: whole or not at all, politely, and only when they changed."""

from __future__ import annotations

import email.utils
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from pipeline.contracts.deliveries import Fetched, Part, Validators
from pipeline.errors import AbsentError, ConfigError, ContractError, NotYetAvailable
from pipeline.sources.unpacking import unpacked

if TYPE_CHECKING:
    import httpx
    import tenacity

_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_MOVED = frozenset({301, 302, 303, 307, 308})
_SHOWN = 300


@dataclass(frozen=True, kw_only=True)
class Policy:
    """How patient and how greedy requests are; seconds and bytes.

    Attributes:
        attempts: How often one request is made before the provider is left alone.
        first_wait, longest_wait: Pause before the second attempt, doubled from there, up to the longest; a provider that asks for
            a longer one is left alone.
        connect, read, whole: Time-outs: for the connection, between two pieces of a body, for all of it.
        spacing: Least time between two requests.
        most: Bytes of the largest body.
        redirects: How often a request may be sent on.
    """

    attempts: int = 5
    first_wait: float = 1.0
    longest_wait: float = 60.0
    connect: float = 10.0
    read: float = 30.0
    whole: float = 600.0
    spacing: float = 0.1
    most: int = 2**30
    redirects: int = 4


POLICY = Policy()


class _AgainLater(Exception):
    """A fault that passes; `after` is the pause the provider asks for, in seconds."""

    def __init__(self, found: str, after: float | None = None) -> None:
        super().__init__(found)
        self.after = after


def check_url(url: str, allowed: tuple[str, ...]) -> httpx.URL:
    """The URL, if it may be asked.

    Raises:
        ConfigError: It is none, carries a password, or its host is not listed.
    """
    import httpx

    try:
        found = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ConfigError(asked=f"location '{url}'", found=f"no URL: {error}", mend="correct it in the world file") from error
    if found.scheme not in ("http", "https") or not found.host or found.userinfo:
        raise ConfigError(asked=f"location '{found.copy_with(userinfo=b'')}'", found="no plain http(s) URL", mend="use https://host/path")
    host = f"[{found.host}]" if ":" in found.host else found.host
    name = host if found.port is None else f"{host}:{found.port}"
    if name not in allowed:
        raise ConfigError(
            asked=f"location '{url}'",
            found=f"host '{name}', which the world does not allow (allowed_hosts = {list(allowed)})",
            mend=f"add '{name}' to the source's allowed_hosts if you trust it",
        )
    return found


class Web:
    """Requests of one source, one after the other, each to a host in `allowed`."""

    def __init__(self, allowed: tuple[str, ...], policy: Policy | None = None) -> None:
        import httpx

        self._allowed, self._policy = allowed, policy or POLICY
        self._last = float("-inf")
        limits = httpx.Timeout(self._policy.read, connect=self._policy.connect)
        self._client = httpx.Client(timeout=limits, headers={"User-Agent": "cubecast", "Accept-Encoding": "identity"})

    def part(self, url: str, name: str | None = None) -> Part:
        """The file at a URL.

        Raises:
            ConfigError: Its host is not allowed.
        """
        path = check_url(url, self._allowed).path
        called = name or unquote(path).rstrip("/").rpartition("/")[2] or "index"
        return Part(name=called, location=url, read=lambda: self.get(url), fetch=lambda known: self.fetch(url, known))

    def get(self, url: str) -> bytes:
        """All bytes at a URL, empty where the provider has none; raises as `fetch` does."""
        fetched = self.fetch(url, None)
        return b"" if fetched is None else fetched.data

    def window(self, url: str, start: int, stop: int | None) -> bytes:
        """The bytes at a URL from an offset to another (exclusive; None: the end); raises as `fetch` does.

        Raises:
            ConfigError: The provider hands over whole files only.
        """
        fetched = self.fetch(url, None, {"Range": f"bytes={start}-{'' if stop is None else stop - 1}"})
        data = b"" if fetched is None else fetched.data
        if stop is not None and len(data) != stop - start:
            found, mend = f"{len(data)} bytes", "come back: the file is changing"
            raise NotYetAvailable(asked=f"GET {url}, bytes {start} .. {stop - 1}", found=found, mend=mend)
        return data

    def fetch(self, url: str, known: Validators | None, headers: Mapping[str, str] | None = None) -> Fetched | None:
        """All bytes at a URL; None where they are still those known.

        Raises:
            NotYetAvailable: It is not there, or its provider is out of reach, overloaded or asks to come back.
            ConfigError: The provider refuses the request, or sends it on to a host that is not allowed.
            ContractError: The body is larger than what is ever taken.
        """
        import tenacity

        policy = self._policy
        retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(policy.attempts),
            wait=self._pause,
            retry=tenacity.retry_if_exception_type(_AgainLater),
            reraise=True,
        )
        try:
            return retrying(self._once, url, known, headers or {})
        except _AgainLater as error:
            mend = "nothing is lost: come back later, or see whether the provider is up and the network reaches it"
            raise NotYetAvailable(asked=f"GET {url}", found=f"{error}, {policy.attempts} times", mend=mend) from error

    def _pause(self, state: tenacity.RetryCallState) -> float:
        from tenacity import wait_random_exponential

        error = state.outcome.exception() if state.outcome is not None else None
        if isinstance(error, _AgainLater) and error.after is not None:
            return error.after
        return wait_random_exponential(multiplier=self._policy.first_wait, max=self._policy.longest_wait)(state)

    def _once(self, url: str, known: Validators | None, more: Mapping[str, str]) -> Fetched | None:
        from httpx import TransportError

        headers = dict(more)
        if known is not None and known.etag is not None:
            headers["If-None-Match"] = known.etag
        if known is not None and known.last_modified is not None:
            headers["If-Modified-Since"] = known.last_modified
        target = check_url(url, self._allowed)
        for _ in range(self._policy.redirects + 1):
            self._wait_turn()
            try:
                with self._client.stream("GET", target, headers=headers) as response:
                    if response.status_code not in _MOVED:
                        return self._taken(response, url, known)
                    target = self._sent_on(target, response)
            except TransportError as error:
                raise _AgainLater(f"{type(error).__name__}: {error}") from error
        raise ConfigError(asked=f"GET {url}", found=f"more than {self._policy.redirects} redirects", mend="correct the location")

    def _wait_turn(self) -> None:
        time.sleep(max(0.0, self._last + self._policy.spacing - time.monotonic()))
        self._last = time.monotonic()

    def _sent_on(self, asked: httpx.URL, response: httpx.Response) -> httpx.URL:
        to = asked.join(response.headers.get("Location", ""))
        if asked.scheme == "https" and to.scheme != "https":
            raise ConfigError(asked=f"GET {asked}", found=f"a redirect to {to}, without encryption", mend="ask its provider for https")
        try:
            return check_url(str(to), self._allowed)
        except ConfigError as error:
            raise ConfigError(asked=f"GET {asked}", found=f"a redirect to {to}: {error.found}", mend=error.mend) from error

    def _taken(self, response: httpx.Response, url: str, known: Validators | None) -> Fetched | None:
        status = response.status_code
        if status == 304 and known is not None:
            return None
        if "Range" in response.request.headers and status == 200:
            raise ConfigError(asked=f"GET {url}, a part", found="the whole file", mend="use a provider that hands over parts of files")
        if status in (200, 204, 206):
            found = Validators(etag=response.headers.get("ETag"), last_modified=response.headers.get("Last-Modified"))
            return Fetched(data=self._body(response, url), validators=found)
        said = f"HTTP {status} {response.reason_phrase}"
        if status in _AGAIN:
            raise self._told_to_wait(response, url, said)
        if status in (404, 410):
            raise AbsentError(asked=f"GET {url}", found=said, mend="wait for the delivery, or correct the location in the world file")
        words = self._body(response, url, most=65536)[:_SHOWN].decode("utf-8", errors="replace")
        raise ConfigError(asked=f"GET {url}", found=f"{said}: {words}", mend="correct the location or the options in the world file")

    def _told_to_wait(self, response: httpx.Response, url: str, said: str) -> Exception:
        after = _retry_after(response.headers)
        if after is not None and after > self._policy.longest_wait:
            return NotYetAvailable(asked=f"GET {url}", found=f"{said}; it asks to wait {after:.0f} s", mend="come back after that time")
        return _AgainLater(said, after)

    def _body(self, response: httpx.Response, url: str, most: int | None = None) -> bytes:
        limit = most or self._policy.most
        declared = response.headers.get("Content-Length", "0")
        mend = "name a smaller extract in the location or the options"
        if declared.isdigit() and int(declared) > limit and most is None:
            raise ContractError(asked=f"GET {url}", found=f"a body of {declared} bytes, more than {limit}", mend=mend)
        out, size, began = [], 0, time.monotonic()
        for piece in response.iter_raw():
            out.append(piece)
            size += len(piece)
            if size > limit:
                if most is not None:
                    break
                raise ContractError(asked=f"GET {url}", found=f"a body of more than {limit} bytes", mend=mend)
            if time.monotonic() - began > self._policy.whole:
                raise _AgainLater(f"{size} bytes in {self._policy.whole:.0f} s, and no end")
        return _decoded(b"".join(out), response, url) if most is None else b"".join(out)


def _decoded(body: bytes, response: httpx.Response, url: str) -> bytes:
    """A body as it is at its provider, though some pack all that they send; a gzip is proved to be whole, and a file `.gz` left one."""
    packed = response.headers.get("Content-Encoding", "identity").lower()
    if packed == "identity" or not body or response.url.path.endswith(".gz"):
        return body
    if packed not in ("gzip", "x-gzip"):
        found, mend = f"a body packed as {packed}", "ask its provider to hand it over as it is, or in gzip"
        raise ConfigError(asked=f"GET {url}", found=found, mend=mend)
    try:
        return unpacked(body, f"{url}.gz")
    except ContractError as error:
        raise _AgainLater(f"an answer in gzip: {error.found}") from error


def _retry_after(headers: Any) -> float | None:
    """The pause that `Retry-After` asks for; a date counts from the provider's own clock."""
    text = headers.get("Retry-After", "")
    if text.isdigit():
        return float(text)
    try:
        wanted = email.utils.parsedate_to_datetime(text)
        return max(0.0, (wanted - email.utils.parsedate_to_datetime(headers.get("Date", ""))).total_seconds())
    except (ValueError, TypeError):
        return None
