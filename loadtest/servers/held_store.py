"""A store with any number of held mails, its release port, and a console that shows them, for `loadtest held`.

The mails are rows that are written before the store starts, over the days before now; they share one file. The release
port is a private Postfix that discards; the store follows its log. Needs root. Raises SetupError.
"""

from __future__ import annotations

import contextlib
import hashlib
import smtplib
import sqlite3
import time
from typing import TYPE_CHECKING, Final, Self

from forkpolicy.gateway.store.mail_files import MailFiles
from forkpolicy.gateway.store.schema import NAME, open_database
from loadtest.errors import SetupError
from loadtest.servers.console import Console, console_settings
from loadtest.servers.gateway_site import Store
from loadtest.servers.ports import free_port
from loadtest.servers.postfix import PrivatePostfix
from loadtest.servers.server import Server

if TYPE_CHECKING:
    from pathlib import Path

DOMAINS: Final = ("example.com", "example.net")
_DAYS_S: Final = 25 * 86_400.0
_AT_ONCE: Final = 10_000
_CAUSES: Final = ("spam", "spam", "spam", "policy")
_MAIL: Final = (
    b"From: Somebody <s@example.org>\r\nSubject: held\r\n\r\nplease find the figures of this week attached\r\n"
)
# Whatever it is asked about held mail: it stays.
_POLICY: Final = "acl    held  policy_context held-policy held-spam\naction stays HOLD\naccess held stays\n"


def people(count: int) -> tuple[str, ...]:
    """Addresses, in each of the domains in turn."""
    return tuple(f"u{n:04}@{DOMAINS[n % len(DOMAINS)]}" for n in range(count))


def fill(directory: Path, rows: int, mailboxes: int) -> None:
    """Make a store of so many held mails."""
    directory.mkdir(mode=0o700)
    digest = hashlib.sha256(_MAIL).hexdigest()
    incoming = MailFiles(directory).begin()
    incoming.write(_MAIL)
    MailFiles(directory).keep(incoming, incoming.finish())
    open_database(directory).close()
    with contextlib.closing(sqlite3.connect(directory / NAME)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        for first in range(1, rows + 1, _AT_ONCE):
            _insert(connection, range(first, min(first + _AT_ONCE, rows + 1)), rows, people(mailboxes), digest)


def _insert(connection: sqlite3.Connection, numbers: range, rows: int, addresses: tuple[str, ...], digest: str) -> None:
    began_s = time.time() - _DAYS_S
    at_s = {n: began_s + n * _DAYS_S / rows for n in numbers}
    messages = (_message(n, at_s[n], digest) for n in numbers)
    names = "id, digest, queue_id, arrived_s, sender, size_bytes, subject, from_header, message_id, client_address,"
    names += " client_name, helo_name, cause, spam_score, spam_auth, symbols, smtputf8, body8, envid, ret"
    marks = ", ".join("?" * len(names.split(",")))
    connection.executemany(f"INSERT INTO message ({names}) VALUES ({marks})", messages)  # noqa: S608 - names of ours
    copies = ((n, n, address := addresses[n % len(addresses)], address.rpartition("@")[2], at_s[n]) for n in numbers)
    connection.executemany(
        "INSERT INTO held (id, message, recipient, recipient_key, domain, arrived_s, state, why, changed_s, changed_by,"
        " notify, orcpt, passed) VALUES (?1, ?2, ?3, ?3, ?4, ?5, 'held', 'the scanner''s score is 9.1', ?5, 'policy',"
        " '', '', 0)",
        copies,
    )
    connection.executemany(
        "INSERT INTO event VALUES (?, ?, 'policy', 'held: the scanner''s score is 9.1')", at_s.items()
    )
    connection.commit()


def _message(number: int, at_s: float, digest: str) -> tuple[object, ...]:
    sender = f"s{number % 977}@host{number % 97}.example.org"
    return (
        number,
        digest,
        f"4q{number}",
        at_s,
        sender,
        len(_MAIL),
        f"please find the figures of week {number} attached",
        f"Somebody <{sender}>",
        f"<{number}@example.org>",
        f"198.51.100.{number % 254 + 1}",
        "mail.example.org",
        "mail.example.org",
        _CAUSES[number % len(_CAUSES)],
        9.1,
        "",
        '[["BAYES_SPAM", 5.1], ["LOADTEST_SPAM", 4.0]]',
        0,
        0,
        "",
        "",
    )


class HeldStore:
    """All of it below `base`. Use as a context manager."""

    def __init__(self, base: Path, rows: int, mailboxes: int) -> None:
        fill(base / "held", rows, mailboxes)
        self.postfix = PrivatePostfix(
            base / "postfix",
            main={
                "smtpd_recipient_restrictions": "permit_mynetworks, reject",
                "enable_long_queue_ids": "yes",
                "smtpd_authorized_xforward_hosts": "127.0.0.0/8",
            },
        )
        port = free_port()
        settings = base / "gateway.toml"
        more = console_settings(base / "server", port, f'gateway = "{settings}"')
        self.server = Server(base / "server", _POLICY, state_and_more=more)
        self.store, self.console = Store(settings), Console(self.server, port)
        self._sockets = base / "private"
        self._sockets.mkdir()
        domains = base / "domains"
        domains.write_text("".join(f"{name} relay:[192.0.2.5]:25\n" for name in DOMAINS))
        settings.write_text(
            f'domains = "{domains}"\n[store]\npath = "held"\nsockets = "private"\napi = "api.sock"\nmin_free = "1M"\n'
            f'policy = "{self.server.socket_path}"\nmail_log = "{self.postfix.log}"\n'
            f'[release]\nsmtp = "127.0.0.1:{self.postfix.port}"\nretry_s = 5\n'
        )
        self._started = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.postfix)
            stack.enter_context(self.server)
            stack.enter_context(self.store)
            stack.enter_context(self.console)
            self._started = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._started.close()

    def deliver(self, number: int, recipients: tuple[str, ...]) -> None:
        """A mail arrives that stays."""
        with smtplib.LMTP(str(self._sockets / "store-spam"), local_hostname="gateway") as session:
            mail = _MAIL.replace(b"Subject: held", b"Subject: new %d" % number)
            session.sendmail(f"new{number}@example.org", recipients, mail)
            # smtplib reads one status, LMTP has one for each recipient.
            statuses = [session.getreply()[0] for _ in recipients[1:]]
        if any(status != 250 for status in statuses):
            raise SetupError(f"the store took a mail for some of its recipients: {statuses}")
