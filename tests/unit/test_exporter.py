"""The metrics process, as a thread: what many clients at a time may cost."""

from __future__ import annotations

import socket
import threading

import pytest

from forkpolicy.master.processes import exporter

DEADLINE_S = 30.0


@pytest.fixture
def address(tmp_path, monkeypatch):
    """Where it listens; it disconnects no client for its age."""
    monkeypatch.setattr(exporter, "CLIENT_TIMEOUT_S", 3600.0)
    path = str(tmp_path / "metrics")
    ours, theirs = socket.socketpair()
    with socket.socket(socket.AF_UNIX) as listening, ours, theirs:
        listening.bind(path)
        listening.listen(exporter.MAX_CLIENTS + 1)
        process = threading.Thread(target=exporter._Serving([listening], theirs).run)
        process.start()
        yield path
        ours.close()
        process.join()


def connected(path):
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(DEADLINE_S)
    client.connect(path)
    return client


def test_of_more_clients_than_it_holds_the_oldest_is_disconnected(address):
    """One that says nothing makes room for the next, and the others stay."""
    clients = [connected(address) for _ in range(exporter.MAX_CLIENTS + 1)]
    assert clients[0].recv(1) == b""
    clients[1].sendall(b"POST / HTTP/1.1\r\n\r\n")
    assert clients[1].recv(12) == b"HTTP/1.1 405"
    for client in clients:
        client.close()
