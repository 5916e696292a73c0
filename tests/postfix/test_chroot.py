"""Debian's own way: smtpd in its chroot, and the socket named relative to the queue directory."""

from __future__ import annotations

from loadtest.clients.smtp import SmtpClient
from loadtest.servers.postfix import PrivatePostfix
from loadtest.servers.server import Server
from tests.postfix.policies import COMPILED, SOURCES


def test_a_chrooted_smtpd_reaches_the_socket(directory):
    """unix:private/policy is the same socket inside and outside the chroot."""
    with (
        PrivatePostfix(directory / "chrooted", chroot=True) as postfix,
        Server(directory / "server", COMPILED, sources=SOURCES, socket_path=postfix.private / "policy"),
        SmtpClient(postfix.port) as session,
    ):
        session.ehlo()
        session.xclient("203.0.113.9")
        session.ehlo()
        session.mail("alice@example.com")
        assert session.rcpt("bob@example.com").code == 554
        assert session.rcpt("bob@example.org").code == 250
    assert not (postfix.private / "policy").exists()


def test_the_socket_belongs_to_postfix(postfix, serve):
    """As root, the socket file is made for user postfix and nobody else: mode 0660, owner and group as set."""
    serve(COMPILED, SOURCES)
    socket_file = postfix.private / "policy"
    assert (socket_file.owner(), socket_file.group()) == ("postfix", "postfix")
    assert socket_file.stat().st_mode & 0o7777 == 0o660
