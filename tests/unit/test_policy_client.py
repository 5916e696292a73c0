"""The Postfix-like client against servers that follow a script: what smtpd would do, and what it would cost."""

from __future__ import annotations

import contextlib
import socket
import threading

import pytest

from loadtest.clients.policy_client import Limits, LostReplyError, PolicyClient, PostfixClient

REQUEST = b"request=smtpd_access_policy\n\n"
OURS = "451 4.3.5 Server configuration problem"
FINE = b"action=DUNNO\n\n"
# Ends its connection, and with it what a script says of one.
CLOSE = None


class Scripted:
    """A server whose every connection follows the next of its scripts: for each request what it sends, or CLOSE. At
    the end of a script the connection stays open.
    """

    def __init__(self, path, scripts):
        self.path = path
        self.accepted = 0
        self._scripts = scripts
        self._open = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(8)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        # Until the test is over: then nobody connects or reads any more.
        with contextlib.suppress(OSError):
            self._follow_scripts()

    def _follow_scripts(self):
        for script in self._scripts:
            connection, _ = self._listener.accept()
            self.accepted += 1
            self._open.append(connection)
            for answer in script:
                if answer is not CLOSE and connection.recv(4096):
                    connection.sendall(answer)
                elif answer is CLOSE:
                    connection.close()

    def close(self):
        for each in (self._listener, *self._open):
            # What the thread waits for comes to an end.
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        for each in (self._listener, *self._open):
            each.close()


@pytest.fixture
def scripted(tmp_path):
    """A function that starts such a server."""
    with contextlib.ExitStack() as servers:

        def start(*scripts):
            server = Scripted(tmp_path / "socket", scripts)
            servers.callback(server.close)
            return server

        yield start


class Time:
    """A clock that only sleeping moves."""

    def __init__(self):
        self.now_s, self.slept = 1000.0, []

    def clock(self):
        return self.now_s

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now_s += seconds


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def client_of(time):
    """A function that makes a client of a path."""
    with contextlib.ExitStack() as clients:

        def make(path, **limits):
            client = PostfixClient(path, Limits(**limits), clock=time.clock, sleep=time.sleep)
            return clients.enter_context(client)

        yield make


def costs(client):
    tally = client.tally
    return tally.sent, tally.answered, tally.asked_again, tally.waited_s, tally.given_up


def test_one_connection_for_all_requests(scripted, client_of, time):
    """Opened with the first request, not before, and kept: nothing is asked twice, nobody waits."""
    server = scripted([FINE, b"action=REJECT no\n\n", FINE])
    client = client_of(server.path)
    assert server.accepted == 0
    assert [client.ask(REQUEST) for _ in range(3)] == ["DUNNO", "REJECT no", "DUNNO"]
    assert (server.accepted, time.slept) == (1, [])
    assert costs(client) == (3, 3, 0, 0, 0)


@pytest.mark.parametrize(
    "first",
    [
        [b""],
        [FINE, CLOSE],
        [FINE + b"action=DUNNO\n", CLOSE],
        [b"\n"],
        [b"reply=DUNNO\n\n"],
        [b"action\n\n"],
        [b"action=DUNNO\n", CLOSE],
    ],
    ids=["timeout", "closed-between", "left-over-and-closed", "nothing", "no-action", "no-value", "half-a-reply"],
)
def test_a_failure_costs_a_second_and_a_connection(scripted, client_of, time, first):
    """Closed while idle, closed within the reply, mute, no action: one pause of 1 s, another connection, an answer."""
    server = scripted(first, [FINE])
    client = client_of(server.path, timeout_s=0.2)
    asked_before = len(first) == 2 and first[0].startswith(FINE)
    if asked_before:
        assert client.ask(REQUEST) == "DUNNO"
        wait_until_readable(client)
    assert client.ask(REQUEST) == "DUNNO"
    assert (server.accepted, time.slept) == (2, [1.0])
    assert costs(client) == (1 + asked_before, 1 + asked_before, 1, 1.0, 0)


def wait_until_readable(client):
    """Until the server has done what its script says next."""
    client.connect().recv(1, socket.MSG_PEEK)


def test_a_byte_too_many_is_a_lost_server(scripted, client_of, time):
    """What is written unasked makes the connection readable before the request."""
    server = scripted([FINE], [FINE])
    client = client_of(server.path)
    assert client.ask(REQUEST) == "DUNNO"
    server._open[0].sendall(b"x")
    assert client.ask(REQUEST) == "DUNNO"
    assert (server.accepted, time.slept) == (2, [1.0])


def test_after_the_second_failure_postfix_answers_itself(scripted, client_of, time):
    """451 after one pause, not two; what is left of the connection fails the next request at once."""
    server = scripted([CLOSE], [CLOSE], [FINE])
    client = client_of(server.path)
    assert client.ask(REQUEST) == OURS
    assert time.slept == [1.0]
    assert costs(client) == (1, 0, 1, 1.0, 1)
    assert client.ask(REQUEST) == "DUNNO"
    assert time.slept == [1.0, 1.0]
    assert costs(client) == (2, 1, 2, 2.0, 1)


def test_nobody_listens(tmp_path, client_of, time):
    """Two attempts to connect, a second apart."""
    client = client_of(tmp_path / "nothing")
    assert client.ask(REQUEST) == OURS
    assert (time.slept, costs(client)) == ([1.0], (1, 0, 1, 1.0, 1))


@pytest.mark.parametrize(("try_limit", "pauses"), [(1, 0), (3, 2)])
def test_the_limit_of_tries_is_a_setting(tmp_path, client_of, time, try_limit, pauses):
    """As smtpd_policy_service_try_limit and _retry_delay say."""
    client = client_of(tmp_path / "nothing", try_limit=try_limit, retry_delay_s=2.5, default_action="DUNNO")
    assert client.ask(REQUEST) == "DUNNO"
    assert time.slept == [2.5] * pauses


def test_an_answer_that_is_not_utf8_is_postfix_s_own(scripted, client_of, time):
    """smtputf8_enable: the default action, without a second try."""
    server = scripted([b"action=REJECT \xff\n\n", FINE])
    client = client_of(server.path)
    assert client.ask(REQUEST) == OURS
    assert client.ask(REQUEST) == "DUNNO"
    assert (server.accepted, time.slept) == (1, [])


@pytest.mark.parametrize(
    "reply", [b"hint=x\naction=REJECT no\naction=DUNNO\nmore=\n\n", b"action=REJECT no\n\n" + FINE]
)
def test_what_postfix_overlooks(scripted, client_of, time, reply):
    """Other attributes and a second reply in the same packet: the first action counts."""
    server = scripted([reply, FINE])
    client = client_of(server.path)
    assert [client.ask(REQUEST), client.ask(REQUEST)] == ["REJECT no", "DUNNO"]
    assert costs(client) == (2, 2, 0, 0, 0)
    assert client.tally.overlooked == 1


def test_between_sessions_a_lost_connection_costs_nothing(scripted, client_of, time):
    """The event loop sees that the server has closed, and the next session opens another."""
    server = scripted([FINE, CLOSE], [FINE])
    client = client_of(server.path)
    assert client.ask(REQUEST) == "DUNNO"
    wait_until_readable(client)
    client.between_sessions()
    assert client.ask(REQUEST) == "DUNNO"
    assert (server.accepted, time.slept) == (2, [])


@pytest.mark.parametrize(
    ("pauses", "connections"),
    [([299.0] * 3, 1), ([300.0], 2), ([299.0, 299.0, 299.0, 103.0], 2)],
    ids=["in-use", "idle", "old"],
)
def test_an_idle_or_old_connection_is_closed_between_sessions(scripted, client_of, time, pauses, connections):
    """max_idle 300 s begins anew with each request, max_ttl 1000 s does not; both without a cost."""
    server = scripted([FINE] * (1 + len(pauses) - (connections - 1)), [FINE])
    client = client_of(server.path)
    assert client.ask(REQUEST) == "DUNNO"
    for pause_s in pauses:
        time.now_s += pause_s
        client.between_sessions()
        assert client.ask(REQUEST) == "DUNNO"
    assert (server.accepted, time.slept) == (connections, [])


@pytest.mark.parametrize(
    "script", [[CLOSE], [b"reply=x\n\n"], [FINE + FINE], [b"more=x\n" + FINE], [b"action=\xff\n\n"]]
)
def test_who_asserts_that_nothing_happens_is_told_at_once(scripted, script):
    """The strict client: no second try, and nothing overlooked."""
    server = scripted(script, [FINE])
    with PolicyClient(server.path) as client, pytest.raises(LostReplyError):
        client.ask(REQUEST)
    assert server.accepted == 1
