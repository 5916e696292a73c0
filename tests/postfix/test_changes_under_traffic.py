"""What happens to the server while mail flows: no verdict is wrong, none is lost, and what changed counts at once."""

from __future__ import annotations

import os
import signal
import time

import pytest

from loadtest.clients.smtp import SmtpClient
from tests.postfix.policies import COMPILED, SOURCES
from tests.postfix.traffic import Traffic

FORGED = {"client": "203.0.113.9", "sender": "alice@example.com", "recipient": "bob@example.com"}


def one_verdict(postfix):
    """The reply to one forged mail."""
    with SmtpClient(postfix.port) as session:
        session.ehlo()
        session.xclient(FORGED["client"])
        session.ehlo()
        session.mail(FORGED["sender"])
        return session.rcpt(FORGED["recipient"])


def test_without_a_server_the_default_action_is_given(postfix):
    """Nothing listens: the client gets default_action and comes back."""
    reply = one_verdict(postfix)
    assert reply.code == 451
    assert "No policy" in reply.text


def test_killed_and_restarted_under_postfix(postfix, serve):
    """After kill -9 of the whole server and a new start, the same smtpd processes get verdicts again."""
    server = serve(COMPILED, SOURCES)
    with SmtpClient(postfix.port) as session:
        session.ehlo()
        session.xclient(FORGED["client"])
        session.ehlo()
        session.mail(FORGED["sender"])
        assert session.rcpt(FORGED["recipient"]).code == 554
        server.kill()
        assert session.rcpt(FORGED["recipient"]).code == 451
        server.start()
        assert session.rcpt(FORGED["recipient"]).code == 554
        assert session.rcpt("someone@example.org").code == 250


def test_a_reload_changes_the_verdict_under_traffic(postfix, serve):
    """When `reload` has answered, every verdict is the new policy's; before, the old one's; never anything else."""
    server = serve(COMPILED, SOURCES, workers=2)
    with Traffic(postfix.port, **FORGED) as traffic:
        traffic.wait_for(554)
        server.write_policy(COMPILED.replace("REJECT 5.7.1", "450 4.7.1"))
        done = server.reload()
        assert done.returncode == 0, done.stderr
        before = traffic.so_far()
        traffic.wait_for(450, 50)
    # A verdict on its way while `reload` returned may be recorded after many of other sessions.
    assert 554 not in traffic.later(before)
    assert set(traffic.replies) == {554, 450}


def test_a_broken_policy_changes_nothing(postfix, serve):
    """A reload with a mistake is refused with its place, and the old policy goes on."""
    server = serve(COMPILED, SOURCES)
    with Traffic(postfix.port, **FORGED) as traffic:
        traffic.wait_for(554)
        server.write_policy(COMPILED.replace("access !from_inside", "access !from_insight"))
        done = server.reload()
        assert done.returncode == 1, done
        assert "policy.conf:9:" in done.stderr
        assert "from_inside" in done.stderr
        traffic.wait_for(554)
    assert set(traffic.replies) == {554}


def test_a_worker_killed_under_traffic(postfix, serve):
    """A worker dies of kill -9: a new one is there at once, and no client sees anything but the right verdict."""
    server = serve(COMPILED, SOURCES, workers=2)
    with Traffic(postfix.port, **FORGED) as traffic:
        traffic.wait_for(554)
        victim = server.worker_pids()[0]
        os.kill(victim, signal.SIGKILL)
        traffic.wait_for(554, 100)
    assert set(traffic.replies) == {554}
    assert victim not in server.worker_pids()
    assert len(server.worker_pids()) == 2


@pytest.mark.alone
def test_a_table_compiled_anew_counts_within_a_second(postfix, serve):
    """After forkpolicy-compile, workers take the new table up by themselves, with every request answered meanwhile."""
    server = serve(COMPILED, SOURCES, workers=2)
    with Traffic(postfix.port, **FORGED) as traffic:
        traffic.wait_for(554)
        server.write_source("local-networks.cidr", SOURCES["local-networks.cidr"] + "203.0.113.0/24\n")
        server.compile()
        compiled = time.monotonic()
        traffic.wait_for(250)
        assert time.monotonic() - compiled < 1.5  # a second, and what twenty verdicts take on a busy machine
        traffic.wait_for(250, 200)
    assert set(traffic.replies) == {554, 250}
    assert set(traffic.replies[-100:]) == {250}
