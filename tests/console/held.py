"""A store with held mail, and a console in this process that shows it: for tests of pages."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Self

from forkpolicy.console.access.rights import Role
from forkpolicy.console.app import application
from forkpolicy.console.parts import Parts
from forkpolicy.settings import load_settings
from tests.console.asking import Browser, SignedIn
from tests.gateway.stores import LmtpClient, PolicyServer, Store

if TYPE_CHECKING:
    from pathlib import Path

DOMAINS = """\
example.com relay:[192.0.2.5]:25
example.net relay:[192.0.2.6]:25 release=admins
bücher.example relay:[192.0.2.7]:25 release=admins
"""
TEXT = b"Subject: Hello\r\nFrom: Ann <ann@example.org>\r\nTo: anna@example.com\r\n\r\nGood morning.\r\n"


class HeldStore:
    """A real store and its policy server, which has everything held. Use as a context manager."""

    def __init__(self, base: Path, others: str = "") -> None:
        self.store = Store(base, others=others)
        settings = self.store.settings.read_text()
        (base / "domains").write_text(DOMAINS)
        self.store.settings.write_text(f'domains = "domains"\n{settings}')

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            policy = PolicyServer(self.store.sockets / "policy", lambda _: "HOLD")
            stack.callback(policy.close)
            stack.enter_context(self.store)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def hold(
        self, mail: bytes = TEXT, *recipients: str, sender: str = "ann@example.org", cause: str = "spam"
    ) -> list[int]:
        """Have a mail held; the ids of its rows, one a recipient."""
        recipients = recipients or ("anna@example.com",)
        before = {row[0] for row in self.store.rows("SELECT id FROM held")}
        socket = self.store.sockets / ("store" if cause == "policy" else f"store-{cause}")
        with LmtpClient(socket) as client:
            statuses = client.send(sender, list(recipients), mail, f"4Xq{len(before)}")
        assert all(each.startswith("250") for each in statuses), statuses
        return [row[0] for row in self.store.rows("SELECT id FROM held ORDER BY id") if row[0] not in before]

    def states(self) -> dict[int, str]:
        """Of every row."""
        return {int(held): str(state) for held, state in self.store.rows("SELECT id, state FROM held")}


class HeldConsole(HeldStore):
    """The same with the application."""

    def __init__(self, base: Path, others: str = "") -> None:
        super().__init__(base, others)
        (base / "policy.conf").write_text("action default DUNNO\n")
        text = f'policy = "policy.conf"\n[console]\npath = "console"\ngateway = "{self.store.settings}"\n'
        (base / "forkpolicy.toml").write_text(text)
        (base / "console").mkdir()
        self.parts = Parts(load_settings(base / "forkpolicy.toml"))

    def browser(self, role: Role = Role.USER, **account: object) -> Browser:
        """Signed in with that role; a user is anna."""
        if role is Role.USER:
            account.setdefault("addresses", frozenset({"anna@example.com"}))
        gate = SignedIn(role, **account)
        return Browser(application(self.parts, gate))
