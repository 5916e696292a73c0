"""postgrey behind forkpolicy behind a real Postfix: clients get what they got when Postfix asked postgrey itself."""

from __future__ import annotations

import os
import signal
import time

import pytest

from loadtest.clients.smtp import SmtpClient
from loadtest.servers.pausing import pause
from tests.policy_servers import Postgrey, needs_postgrey

POLICY = """
acl at_rcpt protocol_state RCPT
acl exempt  sender vip@example.org
acl grey    service unix:{socket} DEFER_IF_PERMIT PREPEND timeout=2s
action pass_on {{match.grey}}
access at_rcpt !exempt grey pass_on
"""


@pytest.fixture
def postgrey(directory):
    """One whose mail waits for a second."""
    postgrey = Postgrey(directory / "postgrey", "--delay=1", "--auto-whitelist-clients=0")
    yield postgrey
    postgrey.stop()


def rcpt(port, sender, recipient="b@example.com"):
    """What Postfix replies about a recipient, on a connection of its own, and at the end of the message."""
    with SmtpClient(port) as client:
        client.ehlo()
        client.mail(sender)
        reply = str(client.rcpt(recipient))
        return reply, str(client.data()) if reply.startswith("250") else ""


@needs_postgrey
def test_greylisting_by_postgrey(postfix, serve, postgrey):
    """A new mail is deferred with its words, an exempt one is not; later it is accepted. While postgrey stands still
    mail goes on without it.
    """
    serve(POLICY.format(socket=postgrey.socket), workers=2)
    deferred, _ = rcpt(postfix.port, "a@example.org")
    assert deferred.startswith("450 4.2.0 <b@example.com>: Recipient address rejected: Greylisted, see http")
    assert rcpt(postfix.port, "vip@example.org")[0].startswith("250")
    began_s = time.monotonic()
    while (reply := rcpt(postfix.port, "a@example.org"))[0].startswith("450"):
        assert time.monotonic() - began_s < 30
    assert [each[:3] for each in reply] == ["250", "250"]
    pause(postgrey.process.pid)
    assert [each[:3] for each in rcpt(postfix.port, "new@example.org")] == ["250", "250"]
    os.kill(postgrey.process.pid, signal.SIGCONT)
