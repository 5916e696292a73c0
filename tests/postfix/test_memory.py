"""Limits and greylisting behind a real Postfix: what it asks several times for one message counts once."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

import pytest

from loadtest.clients.smtp import SmtpClient
from loadtest.servers.ports import free_port
from loadtest.servers.postfix import PrivatePostfix
from loadtest.servers.server import Server
from tests.process.waiting import eventually

# One client for each limit, told apart by its address.
POLICY = """
acl asks_messages    client_address 198.51.100.1
acl asks_recipients  client_address 198.51.100.2
acl asks_bytes       client_address 198.51.100.3
acl asks_once        client_address 198.51.100.4
acl is_greylisted    client_address 198.51.100.5
acl asks_everywhere  client_address 198.51.100.6
acl messages    rate {client_address} 2/1h
acl recipients  rate {client_address} 3/1h count=recipients
acl bytes       rate {client_address} 4000/1h count=bytes
acl once        rate {client_address} 1/1h
acl everywhere  rate {client_address} 3/1h
acl must_wait   greylisting delay=2s
action slow     450 4.7.1 too many messages
action fewer    450 4.7.1 too many recipients
action smaller  450 4.7.1 too many bytes
action later    DEFER_IF_PERMIT 4.2.0 greylisted
access asks_messages messages slow
access asks_recipients recipients fewer
access asks_bytes bytes smaller
access asks_once once slow
access asks_everywhere everywhere slow
access is_greylisted must_wait later
"""


def service(name, timeout_s):
    """A definition of its own has connections of its own, and so perhaps another worker."""
    return (
        f"check_policy_service {{ unix:private/{name}, timeout={timeout_s}s, {{ default_action = 451 4.7.1 none }} }}"
    )


@pytest.fixture(scope="module")
def ports(directory):
    """A Postfix that asks at RCPT, DATA and END-OF-MESSAGE, each with a definition of its own; at another port, with a
    fourth; and at a third port through `cutting`.
    """
    submission, cut = free_port(), free_port()
    main = {
        "smtpd_recipient_restrictions": service("policy", 5),
        "smtpd_data_restrictions": service("policy", 6),
        "smtpd_end_of_data_restrictions": service("policy", 7),
        "ask_submission": service("policy", 8),
        "ask_cutting": service("cutting", 9),
    }
    services = (
        f"{submission} inet n - n - 50 smtpd\n -o smtpd_recipient_restrictions=$ask_submission\n"
        f"{cut} inet n - n - 50 smtpd\n -o smtpd_recipient_restrictions=$ask_cutting\n"
        " -o smtpd_data_restrictions= -o smtpd_end_of_data_restrictions=\n"
    )
    with (
        PrivatePostfix(directory / "memory", main=main, services=services) as postfix,
        Server(directory / "server", POLICY, socket_path=postfix.private / "policy", workers=2),
        cutting(postfix.private / "cutting", postfix.private / "policy") as requests,
    ):
        yield {"smtp": postfix.port, "submission": submission, "cut": cut, "requests": requests}


@contextlib.contextmanager
def cutting(path, behind):
    """A policy server that passes on what it is asked, and closes its first connection in place of the answer. The
    requests that it was asked.
    """
    listener, requests, open_sockets = socket.socket(socket.AF_UNIX), [], []
    listener.bind(str(path))
    path.chmod(0o666)
    listener.listen()

    def serve():
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                open_sockets.append(connection)
                with connection, socket.socket(socket.AF_UNIX) as server:
                    server.connect(str(behind))
                    while request := connection.recv(65536):
                        requests.append(dict(line.split("=", 1) for line in request.decode().split("\n") if line))
                        server.sendall(request)
                        answer = server.recv(65536)
                        if len(requests) == 1:
                            break
                        connection.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    yield requests
    # Ends accept(), and recv() of a connection that smtpd keeps.
    for each in (listener, *open_sockets):
        with contextlib.suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)
    thread.join(10)
    listener.close()
    assert not thread.is_alive()


@contextlib.contextmanager
def session(port, address):
    """A session of a client with that address."""
    with SmtpClient(port) as client:
        client.ehlo()
        client.xclient(address)
        client.ehlo()
        yield client


def mail(client, *recipients, message="Subject: test\r\n\r\ntest\r\n"):
    """One message: the codes at RCPT, and the code at its end, if a recipient was accepted."""
    client.mail("a@example.org")
    codes = [client.rcpt(f"{name}@example.com").code for name in recipients]
    end = client.data(message).code if 250 in codes else None
    # Postfix leaves a transaction open whose end it refused: the next MAIL would be a nested one.
    client.command("RSET")
    return codes, end


def test_a_message_of_several_recipients_counts_once(ports):
    """Five recipients, DATA and the end: one message. Two of a connection are two, and the third is refused."""
    with session(ports["smtp"], "198.51.100.1") as client:
        assert mail(client, "a", "b", "c", "d", "e") == ([250] * 5, 250)
        assert mail(client, "a") == ([250], 250)
        assert mail(client, "a", "b") == ([450, 450], None)
    with session(ports["smtp"], "198.51.100.1") as client:
        assert mail(client, "a") == ([450], None)


def test_each_recipient_counts_once(ports):
    """At RCPT; DATA and END-OF-MESSAGE, which have their number, add nothing. What is refused does not count."""
    with session(ports["smtp"], "198.51.100.2") as client:
        assert mail(client, "a", "b") == ([250, 250], 250)
        assert mail(client, "a", "b", "c") == ([250, 450, 450], 250)
        assert mail(client, "a") == ([450], None)


def test_bytes_count_at_the_end(ports):
    """The size that Postfix has counted, once; the message that is too much is refused whole."""
    message = "Subject: test\r\n\r\n" + ("x" * 70 + "\r\n") * 35
    with session(ports["smtp"], "198.51.100.3") as client:
        assert mail(client, "a", "b", message=message) == ([250, 250], 250)
        assert mail(client, "a", message=message) == ([250], 450)
        assert mail(client, "a") == ([250], 250)


def test_a_request_that_is_asked_again_counts_once(ports):
    """The connection closed in place of the answer: Postfix asks again a second later, with the same instance."""
    with session(ports["cut"], "198.51.100.4") as client:
        assert mail(client, "a") == ([250], 250)
        first, again = ports["requests"][:2]
        assert first["instance"] == again["instance"] != ""
        assert mail(client, "a") == ([450], None)


def test_definitions_and_ports_share_a_limit(ports):
    """Port 25 and submission ask with definitions, connections and workers of their own, and count together."""
    for port in ("smtp", "submission", "smtp"):
        with session(ports[port], "198.51.100.6") as client:
            assert mail(client, "a") == ([250], 250)
    for port in ("smtp", "submission"):
        with session(ports[port], "198.51.100.6") as client:
            assert mail(client, "a") == ([450], None)


def test_a_client_that_comes_back_passes(ports):
    """Greylisted for two seconds, also while it tries; known afterwards, and another sender is not."""
    with session(ports["smtp"], "198.51.100.5") as client:
        assert mail(client, "a", "b") == ([450, 450], None)
        began_s = time.monotonic()
        eventually(lambda: mail(client, "a", "b") == ([250, 250], 250))
        # Whole seconds: a delay of two may be over after a little more than one.
        assert time.monotonic() - began_s > 1
        assert mail(client, "a", "b") == ([250, 250], 250)
        assert mail(client, "c") == ([450], None)
