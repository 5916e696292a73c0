"""TCP sockets: both families, and only for whom they are meant."""

from __future__ import annotations

import contextlib
import socket

import pytest

from tests.process.conftest import FORGED, REJECT, eventually

ANSWER = f"action={REJECT}\n\n".encode()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ask(address, source=None):
    with socket.create_connection(address, 10, source_address=source) as client:
        client.sendall(FORGED)
        return client.recv(1000)


@pytest.fixture
def make_inet(make_server):
    def make(allow):
        port = free_port()
        server = make_server(extra=f"allow = {allow}")
        text = server.settings.read_text()
        every = f'"inet:0.0.0.0:{port}", "inet:[::]:{port}"]'
        server.settings.write_text(text.replace(f'"unix:{server.socket_path}"]', every))
        server.start()
        return server, port

    return make


def test_both_families_answer(make_inet):
    """The same port of IPv4 and IPv6, from the loopback, which is what the default admits."""
    _, port = make_inet('["127.0.0.0/8", "::1"]')
    assert ask(("127.0.0.1", port)) == ANSWER
    if socket.has_ipv6:
        assert ask(("::1", port)) == ANSWER


def test_a_peer_that_is_not_allowed_is_hung_up_on(make_inet):
    """It gets no answer, the log says who it was; the list is taken up by a reload."""
    server, port = make_inet('["127.0.0.2"]')
    assert ask(("127.0.0.1", port), ("127.0.0.2", 0)) == ANSWER
    with contextlib.suppress(ConnectionError):
        assert ask(("127.0.0.1", port)) == b""
    eventually(lambda: "127.0.0.1 is not in server.allow" in server.said())
    text = server.settings.read_text()
    server.settings.write_text(text.replace('["127.0.0.2"]', '["127.0.0.0/8"]'))
    assert server.reload().returncode == 0
    assert ask(("127.0.0.1", port)) == ANSWER


def test_a_network_that_is_none_is_told(make_server):
    """Host bits set: the setting, the reason, status 1 of check."""
    server = make_server()
    server.settings.write_text(server.settings.read_text().replace("[server]", '[server]\nallow = ["192.0.2.1/24"]'))
    done = server.command("check")
    assert done.returncode == 1
    assert "192.0.2.1/24 has host bits set" in done.stdout
