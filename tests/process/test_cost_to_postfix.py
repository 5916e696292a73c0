"""What an event costs an smtpd that is in the middle of a session: nothing, a second, or a 451."""

from __future__ import annotations

import os
import signal

import pytest

from loadtest.clients.policy_client import POSTFIX, PostfixClient
from tests.process.conftest import FORGED, REJECT
from tests.process.waiting import ended, eventually


def reload(server):
    assert server.reload().returncode == 0


def scale(server):
    for count in (4, 1, 2):
        server.obey("scale", workers=count)
        eventually(lambda count=count: len(server.worker_pids()) == count)


def retire(server):
    before = server.worker_pids()
    for pid in before:
        os.kill(pid, signal.SIGTERM)
    for pid in before:
        ended(pid)


def kill(server):
    for pid in server.worker_pids():
        os.kill(pid, signal.SIGKILL)
        ended(pid)


def restart(server):
    server.stop()
    server.start()


def stop(server):
    server.stop()


@pytest.mark.parametrize(
    ("event", "waited_s", "answer"),
    [
        (reload, 0, REJECT),
        (scale, 0, REJECT),
        (retire, 0, REJECT),
        (kill, 1, REJECT),
        (restart, 1, REJECT),
        (stop, 1, POSTFIX.default_action),
    ],
)
def test_what_it_costs_within_a_session(server, event, waited_s, answer):
    """What an operator does to a server that runs costs nothing; what ends the connection costs the second of
    smtpd_policy_service_retry_delay; a server that is away costs that, too, and then every mail.
    """
    with PostfixClient(server.socket_path) as client:
        assert client.ask(FORGED) == REJECT
        event(server)
        assert client.ask(FORGED) == answer
    assert (client.tally.waited_s, client.tally.overlooked) == (waited_s, 0)


@pytest.mark.parametrize("event", [kill, restart])
def test_between_sessions_it_costs_nothing(server, event):
    """Who has no SMTP client just then sees the end of the connection in time."""
    with PostfixClient(server.socket_path) as client:
        assert client.ask(FORGED) == REJECT
        event(server)
        client.between_sessions()
        assert client.ask(FORGED) == REJECT
    assert client.tally.waited_s == 0
