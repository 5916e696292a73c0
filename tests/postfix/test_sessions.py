"""Several recipients, several mails in a session, pipelining: one verdict for each recipient, on one connection."""

from __future__ import annotations

import pytest

from loadtest.clients.smtp import SmtpClient
from loadtest.servers.server import Server
from tests.postfix.policies import COMPILED, SOURCES


@pytest.fixture(scope="module")
def asked(postfix, directory):
    """Postfix with the founding policy behind it."""
    with Server(directory / "server", COMPILED, sources=SOURCES, socket_path=postfix.private / "policy"):
        yield postfix


@pytest.fixture
def session(asked):
    """A session from outside."""
    with SmtpClient(asked.port) as session:
        session.ehlo()
        session.xclient("203.0.113.9")
        session.ehlo()
        yield session


def test_each_recipient_has_its_own_verdict(session):
    """Of one mail, the recipients at our domains are refused and the others are not."""
    session.mail("alice@example.com")
    recipients = ["bob@example.com", "x@example.org", "carol@sub.example.net", "y@example.org", "bob@example.com"]
    assert [session.rcpt(each).code for each in recipients] == [554, 250, 554, 250, 554]


def test_mails_of_one_session_do_not_leak_into_each_other(session):
    """The sender of one mail plays no part in the next, and neither does AUTH before a new identity."""
    for _ in range(3):
        session.mail("alice@example.com")
        assert session.rcpt("bob@example.com").code == 554
        session.command("RSET")
        session.mail("someone@example.org")
        assert session.rcpt("bob@example.com").code == 250
        session.command("RSET")
        session.mail("")
        assert session.rcpt("bob@example.com").code == 250
        session.command("RSET")


def test_a_pipelined_mail_is_answered_in_order(session):
    """MAIL, a hundred RCPT and RSET in one segment: a hundred verdicts, each for its own recipient."""
    recipients = [f"u{number}@example.{'com' if number % 3 else 'org'}" for number in range(100)]
    commands = ["MAIL FROM:<alice@example.com>", *(f"RCPT TO:<{each}>" for each in recipients), "RSET"]
    session.send("".join(f"{command}\r\n" for command in commands).encode())
    codes = [session.read_reply().code for _ in commands]
    assert codes == [250, *(554 if each.endswith("com") else 250 for each in recipients), 250]


def test_auth_counts_for_every_mail_of_the_session(session):
    """Who has signed in once may send as one of us until the session ends."""
    assert session.auth("LOGIN", "alice").code == 235
    for _ in range(3):
        session.mail("alice@example.com")
        assert session.rcpt("bob@example.com").code == 250
        session.command("RSET")
