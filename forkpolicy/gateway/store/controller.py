"""Asks rspamd's controller by HTTP: to learn a mail, or how it does.

Raises OSError, http.client.HTTPException, ValueError, and what the pieces of a mail raise.
"""

from __future__ import annotations

import http.client
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from forkpolicy.gateway.settings import ScannerSettings
    from forkpolicy.gateway.store.mail_bytes import MailBytes

_MOST_BYTES: Final = 1 << 18


class Answer(NamedTuple):
    """`reason`: the words behind the status."""

    status: int
    reason: str
    body: bytes


class Controller:
    """By its settings; its password is read each time."""

    def __init__(self, settings: ScannerSettings) -> None:
        self.settings = settings

    def get(self, path: str, timeout_s: float) -> Answer:
        """A document."""
        return self._ask("GET", path, None, timeout_s)

    def post(self, path: str, mail: MailBytes, timeout_s: float) -> Answer:
        """Give it a mail."""
        return self._ask("POST", path, mail, timeout_s)

    def _ask(self, method: str, path: str, mail: MailBytes | None, timeout_s: float) -> Answer:
        url = urlsplit(self.settings.controller)
        kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
        connection = kind(url.hostname or "", url.port, timeout=timeout_s)
        headers = {"Content-Length": str(mail.size_bytes)} if mail else {}
        try:
            body = mail.pieces() if mail else None
            connection.request(method, f"{url.path.rstrip('/')}{path}", body, {**headers, **self._password()})
            response = connection.getresponse()
            return Answer(response.status, response.reason, response.read(_MOST_BYTES))
        finally:
            connection.close()

    def _password(self) -> dict[str, str]:
        if not self.settings.password_file:
            return {}
        return {"Password": Path(self.settings.password_file).read_text(encoding="utf-8").strip()}
