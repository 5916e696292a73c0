"""A stop leaves nobody unanswered who has come before it: not in a socket's queue, not between two workers."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess

import pytest

from loadtest.servers.pausing import pause
from loadtest.servers.server import FORKPOLICY
from tests.process.conftest import FINE, FORGED, REJECT
from tests.process.waiting import eventually

ANSWER = f"action={REJECT}\n\n".encode()
PASSED = b"action=DUNNO\n\n"


@contextlib.contextmanager
def connected(address, count):
    """So many connections, none of which has said anything."""
    family = socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(socket.socket(family)) for _ in range(count)]
        for client in clients:
            client.settimeout(15)
            client.connect(address)
        yield clients


@pytest.fixture
def make_upgradable(make_server):
    """As make_server; whichever master is the last is ended, whatever became of the test."""
    made = []

    def make():
        made.append(make_server())
        made[-1].start()
        return made[-1]

    yield make
    for server in made:
        server.command("stop")


def read_to_end(client):
    read = b""
    while data := client.recv(4096):
        read += data
    return read


def stop_meanwhile(server, paused):
    """TERM while those workers are paused, which go on when the master has begun to stop."""
    server.process.send_signal(signal.SIGTERM)
    eventually(lambda: "event=stopping" in server.said())
    for pid in paused:
        os.kill(pid, signal.SIGCONT)


def answered(clients):
    """Those that have something to read. Descriptors may be above 1,023, which select() does not take."""
    poller = select.poll()
    for client in clients:
        poller.register(client, select.POLLIN)
    return poller.poll(0)


def ended(server):
    """It ends by itself, with status 0 and without a worker killed."""
    status = server.process.wait(30)
    server.process = None
    return status == 0 and "killing workers" not in server.said()


@pytest.mark.parametrize("kind", ["unix", "inet"])
def test_who_waits_to_be_accepted_is_answered(make_server, kind):
    """More connections in the queue than are taken at once, each with a request: one reply each, then the end."""
    server = make_server()
    address = str(server.socket_path)
    if kind == "inet":
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            address = probe.getsockname()
        text = server.settings.read_text()
        server.settings.write_text(text.replace(f'"unix:{server.socket_path}"', f'"inet:127.0.0.1:{address[1]}"'))
    server.start()
    (worker,) = server.worker_pids()
    pause(worker)
    with connected(address, 200) as clients:
        for client in clients:
            client.sendall(FORGED)
        stop_meanwhile(server, [worker])
        assert [read_to_end(client) for client in clients] == [ANSWER] * 200
    assert ended(server)


def test_nobody_joins_the_queue_of_a_server_that_stops(make_server):
    """Who comes after the stop has begun is refused at once and does not keep it from ending; Postfix asks again."""
    server = make_server()
    server.start()
    (worker,) = server.worker_pids()
    pause(worker)
    with connected(str(server.socket_path), 1) as (before,), socket.socket(socket.AF_UNIX) as late:
        before.sendall(FORGED)
        server.process.send_signal(signal.SIGTERM)
        eventually(lambda: "event=stopping" in server.said())
        with pytest.raises(ConnectionRefusedError):
            late.connect(str(server.socket_path))
        os.kill(worker, signal.SIGCONT)
        assert read_to_end(before) == ANSWER
    assert ended(server)


def test_who_is_between_two_workers_is_answered(make_server):
    """A worker has given its connections away, nobody has taken them yet: their requests are answered all the same,
    also one of which half was read before.
    """
    server = make_server(workers=2)
    server.start()
    with connected(str(server.socket_path), 40) as clients:
        for client in clients:
            client.sendall(FINE)
            assert client.recv(4096) == PASSED
        eventually(lambda: sum(c := counts(server)) == 40 and min(c))
        for client in clients:
            client.sendall(FORGED[:60])
        # `scale` retires the younger one, in slot 1.
        elder = server.status()["workers"][0]["pid"]
        pause(elder)
        assert server.command("scale", "1").returncode == 0
        eventually(lambda: counts(server)[1:] in ([0], []))
        stop_meanwhile(server, [elder])
        for client in clients:
            client.sendall(FORGED[60:])
        assert [read_to_end(client) for client in clients] == [ANSWER] * 40
    assert ended(server)


ACTIVATED = 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$@" 3<&0 0</dev/null'


def activated(server, listener):
    """Start the server as systemd does, with the listening socket as descriptor 3."""
    server.process = subprocess.Popen(
        ["/bin/sh", "-c", ACTIVATED, "sh", *FORKPOLICY, "serve", "-c", str(server.settings)],
        stdin=listener.fileno(),
        stderr=subprocess.DEVNULL,
    )
    eventually(lambda: server.said().count("event=started") > server.said().count("event=stopped"))


def test_the_queue_of_a_socket_that_is_not_ours_is_for_the_next_server(make_server):
    """With socket activation a stop accepts nobody more; who waits is answered after the next start."""
    # More than are accepted in one turn of the loop.
    count = 800
    server = make_server()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(server.socket_path))
        listener.listen(count)
        activated(server, listener)
        (worker,) = server.worker_pids()
        pause(worker)
        with connected(str(server.socket_path), count) as clients:
            for client in clients:
                client.sendall(FORGED)
            stop_meanwhile(server, [worker])
            assert ended(server)
            assert len(answered(clients)) < count
            activated(server, listener)
            assert {client.recv(4096) for client in clients} == {ANSWER}


def test_a_replaced_master_that_is_told_to_stop_hands_over(make_upgradable):
    """TERM to a master whose successor serves: its connections go there all the same, however long that takes."""
    server = make_upgradable()
    (old,) = server.worker_pids()
    # More than can be on their way at once.
    with connected(str(server.socket_path), 500) as clients:
        for client in clients:
            client.sendall(FINE)
            assert client.recv(4096) == PASSED
        pause(old)
        server.process.send_signal(signal.SIGUSR2)
        eventually(lambda: "event=upgraded" in server.said())
        (new,) = server.worker_pids()
        pause(new)
        stop_meanwhile(server, [old])
        os.kill(new, signal.SIGCONT)
        assert ended(server)
        for client in clients:
            client.sendall(FORGED)
            assert client.recv(4096) == ANSWER
        assert server.command("stop").returncode == 0


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_a_successor_that_ends_early_leaves_nobody_behind(make_upgradable, how):
    """The new master has gone before the old one's connections had come to it: they are answered by the old one, which
    then ends like any that stops.
    """
    server = make_upgradable()
    (old,) = server.worker_pids()
    with connected(str(server.socket_path), 20) as clients:
        for client in clients:
            client.sendall(FINE)
            assert client.recv(4096) == PASSED
        pause(old)
        server.process.send_signal(signal.SIGUSR2)
        eventually(lambda: "event=upgraded" in server.said())
        if how == "stopped":
            assert server.command("stop").returncode == 0
        else:
            os.kill(server.status()["pid"], signal.SIGKILL)
        eventually(lambda: f"event=stopping process=master pid={server.process.pid} " in server.said())
        if how == "killed":
            assert server.status()["stopping"]
        for client in clients:
            client.sendall(FORGED)
        os.kill(old, signal.SIGCONT)
        assert [read_to_end(client) for client in clients] == [ANSWER] * 20
        assert ended(server)


def counts(server):
    """How many connections each worker has."""
    return [worker["connections"] for worker in server.status()["workers"]]
