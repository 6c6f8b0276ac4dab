"""Airflow's REST API, as far as the launcher needs it."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from typing import Any

from pipeline.errors import StoreError

_ATTEMPTS, _REST = 4, 1.0
"""How often, and after how many seconds, what can be repeated is asked where Airflow fails: SQLite lets one wait for at most five seconds."""


class _Stay(urllib.request.HTTPRedirectHandler):
    """Goes nowhere else: the token is for one host only."""

    def redirect_request(self, *_: Any) -> None:
        """Nothing: what redirects is refused."""


_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}), _Stay)


class Rest:
    """A client of one api-server, signed in by a name and a password, or by a token."""

    def __init__(self, address: str, user: str = "", password: str = "", *, token: str = "") -> None:
        self._address, self._user, self._password = address, user, password
        self._token = token

    def ours(self) -> bool:
        """Whether an api-server answers and knows our password; another store's may have been quicker to take the port."""
        try:
            self.sign_in()
        except OSError:
            return False
        return True

    def healthy(self) -> bool:
        """Whether the api-server answers, is ours and sees a live scheduler."""
        if not self.ours():
            return False
        try:
            state = self._send("GET", "/api/v2/monitor/health", None)
        except OSError:
            return False
        return bool(state["metadatabase"]["status"] == "healthy" and state["scheduler"]["status"] == "healthy")

    def get(self, path: str) -> Any:
        """What is at a path below /api/v2."""
        return self._ask("GET", path, None)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """Create something below /api/v2."""
        return self._ask("POST", path, body)

    def patch(self, path: str, body: dict[str, Any]) -> Any:
        """Change something below /api/v2."""
        return self._ask("PATCH", path, body)

    def put(self, path: str) -> Any:
        """Ask for something to be done below /api/v2."""
        return self._ask("PUT", path, None)

    def delete(self, path: str) -> Any:
        """Remove something below /api/v2; nothing there is as good."""
        return self._ask("DELETE", path, None, missing_is_fine=True)

    def found(self, path: str) -> bool:
        """Whether there is something at a path below /api/v2."""
        return self._ask("GET", path, None, missing_is_fine=True) is not None

    def cockpit(self, path: str) -> Any:
        """What the cockpit answers at a path below its own /api.

        Raises:
            OSError: Nobody answers, or not that.
        """
        self.sign_in()
        return self._send("GET", "/cubecast/api" + path, None)

    def sign_in(self) -> str:
        """The token that stands for the user from now on."""
        if not self._token:
            self._token = self._send("POST", "/auth/token", {"username": self._user, "password": self._password})["access_token"]
        return self._token

    def _ask(self, method: str, path: str, body: dict[str, Any] | None, *, missing_is_fine: bool = False) -> Any:
        self.sign_in()
        attempts = 1 if method == "POST" else _ATTEMPTS
        for left in range(attempts - 1, -1, -1):
            try:
                return self._send(method, "/api/v2" + path, body)
            except urllib.error.HTTPError as error:
                if error.code == 404 and missing_is_fine:
                    return None
                if error.code >= 500 and left:
                    time.sleep(_REST)
                    continue
                raise StoreError(
                    asked=f"{method} {path} of Airflow's REST API",
                    found=f"{error.code} {error.read().decode(errors='replace')[:500]}",
                    mend="look into api-server.log in Airflow's folder",
                ) from error
        raise AssertionError("the last attempt returns or raises")

    def _send(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        request = urllib.request.Request(  # noqa: S310
            self._address + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", "Accept": "application/json"}
            | ({"Authorization": f"Bearer {self._token}"} if self._token else {}),
            method=method,
        )
        with _OPENER.open(request, timeout=60) as answer:
            content = answer.read()
        return json.loads(content) if content else None
