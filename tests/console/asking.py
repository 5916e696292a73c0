"""A browser for tests of the application in its own process: no socket, no scripts, cookies kept."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from forkpolicy.console.access.account import Account
from forkpolicy.console.access.gate import Asked, Entered
from forkpolicy.console.access.rights import Role


class SignedIn:
    """A gate through which one account has come, so that a page can be tested without signing in."""

    def __init__(self, role: Role = Role.ADMIN, **account: object) -> None:
        self.account = Account("anna", role, **account)

    def enter(self, _asked: Asked) -> Entered:
        """As the account, whatever was asked."""
        return Entered("192.0.2.7", self.account, "session", "token")


@dataclass
class Answer:
    """What came back. `headers`: names in small letters."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()

    def json(self) -> object:
        """The body as JSON."""
        return json.loads(self.body)


class Browser:
    """Asks an application."""

    def __init__(self, app, origin="http://127.0.0.1:8025"):
        self.app = app
        self.origin = origin
        self.cookies = {}

    def get(self, address, **headers):
        """A page."""
        return asyncio.run(self._ask("GET", address, b"", headers))

    def json(self, address):
        """Its JSON twin."""
        return self.get(address, accept="application/json").json()

    def post(self, address, form, **headers):
        """A form, as a page of ours sends it."""
        sent = {"content-type": "application/x-www-form-urlencoded", "origin": self.origin, **headers}
        return asyncio.run(self._ask("POST", address, urlencode(form).encode(), sent))

    async def _ask(self, method, address, body, headers):
        where = urlsplit(address)
        sent = {"host": urlsplit(self.origin).netloc, **headers}
        if self.cookies:
            sent["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": where.path,
            "raw_path": where.path.encode(),
            "query_string": where.query.encode(),
            "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in sent.items()],
            "client": ("127.0.0.1", 40000),
            "server": ("127.0.0.1", 8025),
            "root_path": "",
        }
        messages = []
        has_asked = False

        async def receive():
            nonlocal has_asked
            if has_asked:
                await asyncio.Event().wait()
            has_asked = True
            return {"type": "http.request", "body": body}

        async def send(message):
            messages.append(message)

        await self.app(scope, receive, send)
        (start,) = [each for each in messages if each["type"] == "http.response.start"]
        found = {}
        for name, value in start["headers"]:
            if name.lower() == b"set-cookie":
                cookie, _, _attributes = value.decode().partition(";")
                self.cookies[cookie.partition("=")[0]] = cookie.partition("=")[2]
            found[name.decode().lower()] = value.decode()
        return Answer(start["status"], found, b"".join(each.get("body", b"") for each in messages))
