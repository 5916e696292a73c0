"""DNS lists behind a real Postfix: who is refused and with which words, that a session asks once, and that a list
without an answer delays its own client alone.
"""

from __future__ import annotations

import contextlib
import threading
import time

import pytest

from loadtest.clients.smtp import SmtpClient
from loadtest.servers.names.behaviours import listed, never
from loadtest.servers.names.server import NameServer
from loadtest.servers.postfix import PrivatePostfix
from loadtest.servers.server import Server

pytest.importorskip("pycares", reason="DNS lists need forkpolicy[dns]")

POLICY = """
acl good rbl wl.example=127.0.*.2-3
acl bad rbl bl.example=127.0.0.2-11
acl bad_name rhsbl {sender} dbl.example
action let_pass DUNNO
action no REJECT 5.7.1 Listed ({match.bad})
action no_name REJECT 5.7.1 Domain {sender_domain} is listed
access good let_pass
access bad no
access bad_name no_name
"""
ANSWERS = {
    "2.0.0.127.bl.example": listed(),
    "1.100.51.198.bl.example": listed(text="see http://bl.example/198.51.100.1"),
    "2.100.51.198.bl.example": listed(),
    "2.100.51.198.wl.example": listed("127.0.5.3"),
    "3.100.51.198.bl.example": never(),
    "spam.example.dbl.example": listed("127.0.1.2"),
    "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.bl.example": listed(text="six"),
}
SERVICE = "check_policy_service { unix:private/policy, timeout=20s }"
TIMEOUT_S = 1.5


@pytest.fixture(scope="module")
def names():
    """The name server."""
    with NameServer(ANSWERS) as server:
        yield server


@pytest.fixture(scope="module")
def port(directory, names):
    """That of a Postfix which asks at RCPT, DATA and END-OF-MESSAGE."""
    lists = ("smtpd_recipient_restrictions", "smtpd_data_restrictions", "smtpd_end_of_data_restrictions")
    with PrivatePostfix(directory / "lists", main=dict.fromkeys(lists, SERVICE)) as postfix:
        server = Server(directory / "lists-server", POLICY, socket_path=postfix.private / "policy", workers=1)
        with server.settings.open("a") as settings:
            settings.write(f'[dns]\nservers = ["{names.address}"]\ntimeout = {TIMEOUT_S}\n')
        with server:
            yield postfix.port


@contextlib.contextmanager
def session(port, address):
    """A session of a client with that address."""
    with SmtpClient(port) as client:
        client.ehlo()
        client.xclient(address)
        client.ehlo()
        yield client


def mail(client, sender="a@example.org", recipients=("a", "b")):
    """The replies at RCPT, and the code at the end if one was accepted."""
    client.mail(sender)
    replies = [client.rcpt(f"{name}@example.com") for name in recipients]
    end = client.data().code if 250 in [each.code for each in replies] else None
    client.command("RSET")
    return replies, end


def test_a_listed_client_is_refused_with_the_words_of_the_list(port, names):
    """At every recipient; each zone is asked once for the session."""
    with session(port, "198.51.100.1") as client:
        (first, second), end = mail(client)
        assert (first.code, second.code, end) == (554, 554, None)
        assert "Listed (see http://bl.example/198.51.100.1)" in first.text
    assert names.asked["1.100.51.198.bl.example", "A"] == names.asked["1.100.51.198.bl.example", "TXT"] == 1
    with session(port, "2001:db8::1") as client:
        assert "Listed (six)" in mail(client)[0][0].text


def test_a_whitelisted_client_is_not_asked_about_elsewhere(port, names):
    """The rule above decides."""
    with session(port, "198.51.100.2") as client:
        replies, end = mail(client)
        assert ([each.code for each in replies], end) == ([250, 250], 250)
    assert names.asked["2.100.51.198.wl.example", "A"] == 1
    assert names.asked["2.100.51.198.bl.example", "A"] == 0


def test_a_listed_domain_is_refused(port):
    """Of the sender; others of the same client pass."""
    with session(port, "198.51.100.4") as client:
        assert "Domain spam.example is listed" in mail(client, "a@spam.example")[0][0].text
        assert mail(client, "a@example.net")[1] == 250
        assert mail(client, "")[1] == 250


def test_a_list_without_an_answer_delays_its_own_client_alone(port):
    """Whose mail passes when both tries are over; in the same worker others pass meanwhile."""
    slow = []

    def send():
        with session(port, "198.51.100.3") as client:
            began_s = time.monotonic()
            replies, end = mail(client)
            slow.append((end, time.monotonic() - began_s, time.monotonic(), replies[0].code))

    thread = threading.Thread(target=send)
    thread.start()
    with session(port, "198.51.100.5") as client:
        for _ in range(5):
            assert mail(client)[1] == 250
        others_ended_s = time.monotonic()
    thread.join(30)
    ((end, took_s, ended_s, code),) = slow
    assert (code, end) == (250, 250)
    assert took_s >= 2 * TIMEOUT_S
    assert others_ended_s < ended_s
