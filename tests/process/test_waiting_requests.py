"""Requests that wait while their worker reloads, retires, is replaced or stops: each gets its one reply, the one that
it would have had, and nobody is asked twice.
"""

from __future__ import annotations

import os
import signal
import socket
from contextlib import ExitStack, contextmanager

import pytest

from tests.policy_servers import LateServer
from tests.process.conftest import request
from tests.process.waiting import eventually
from tests.redis_servers import RedisServer, needs_redis

ASKING = """
acl slow service unix:{path} HOLD timeout=60s
action wait 450 4.7.1 {{match.slow}}
access slow wait
"""
COUNTING = """
acl slow service unix:{path} HOLD timeout=60s
acl busy rate {{sender}} 2/1h
action wait 450 4.7.1 busy
access slow busy wait
"""
REPLY = b"action=450 4.7.1 HOLD\n\n"
BUSY = b"action=450 4.7.1 busy\n\n"
PASSED = b"action=DUNNO\n\n"


@pytest.fixture
def late(folder):
    server = LateServer(folder / "late")
    yield server
    server.stop()


@pytest.fixture
def serving(make_server, late):
    """Starts servers that ask the late one."""

    def start(policy=ASKING, state="", **more):
        server = make_server(policy.format(path=late.path), **more)
        text = server.settings.read_text()
        server.settings.write_text(text.replace("[state]\n", f"[state]\nbudget = 60\n{state}"))
        server.start()
        return server

    return start


@contextmanager
def connected(server, count):
    """So many connections, each of which has sent one request that waits."""
    with ExitStack() as stack:
        clients = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(count)]
        for number, client in enumerate(clients):
            client.settimeout(20)
            client.connect(str(server.socket_path))
            client.sendall(request(instance=f"i{number}"))
        yield clients


def reply_to_all(late, count):
    """As they come: some wait until others have their reply."""
    for _ in range(count):
        eventually(lambda: late.waiting)
        late.reply("HOLD")


@needs_redis
def test_an_engine_is_asked_by_the_policy_that_has_begun(serving, late, folder):
    """Reloads meanwhile, to a policy that asks the same engine and to one that asks none: what waits for the service
    then asks its engine, and after the last of it nobody is connected to that.
    """
    engine = RedisServer(folder / "engine")
    try:
        server = serving(COUNTING, f'url = "{engine.url}"\n')
        with connected(server, 3) as clients:
            eventually(lambda: late.waiting == 3)
            server.write_policy(COUNTING.format(path=late.path) + "action default REJECT new\n")
            assert server.command("reload").returncode == 0
            server.write_policy("action default REJECT newer\n")
            assert server.command("reload").returncode == 0
            reply_to_all(late, 3)
            assert sorted(client.recv(4096) for client in clients) == sorted([PASSED, PASSED, BUSY])
            clients[0].sendall(request())
            assert clients[0].recv(4096) == b"action=REJECT newer\n\n"
        eventually(lambda: engine_clients(engine) == 1)
    finally:
        engine.stop()


def engine_clients(engine):
    """How many are connected to it, who asks included."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(engine.socket)
        sock.sendall(b"CLIENT LIST\r\n")
        return sock.recv(65536).count(b" addr=")


def test_the_map_is_there_for_the_policy_that_has_begun(serving, late):
    """The same with a map: a reload to a policy that remembers nothing does not close it."""
    server = serving(COUNTING)
    with connected(server, 3) as clients:
        eventually(lambda: late.waiting == 3)
        server.write_policy("action default REJECT new\n")
        assert server.command("reload").returncode == 0
        beat_twice(server)
        reply_to_all(late, 3)
        assert sorted(client.recv(4096) for client in clients) == sorted([PASSED, PASSED, BUSY])


def beat_twice(server):
    """Until the worker's loop has beaten twice, and has seen to what the policy remembers."""
    for _ in range(2):
        before = server.status()["workers"][0]["counters"]["sampled"]
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(server.socket_path))

            def sampled(sock=sock, before=before):
                sock.sendall(request("x@elsewhere.example"))
                assert sock.recv(4096)
                return server.status()["workers"][0]["counters"]["sampled"] > before

            eventually(sampled)


def test_who_waits_is_answered_before_a_worker_leaves(serving, late):
    """TERM to the worker: another one takes what does not wait, and this one ends with the last reply."""
    server = serving()
    (worker,) = server.worker_pids()
    with connected(server, 30) as clients:
        eventually(lambda: late.waiting == 20)
        os.kill(worker, signal.SIGTERM)
        eventually(lambda: len(server.worker_pids()) == 2)
        reply_to_all(late, 30)
        assert [client.recv(4096) for client in clients] == [REPLY] * 30
        eventually(lambda: worker not in server.worker_pids())
        for client in clients:
            client.sendall(request())
        reply_to_all(late, 30)
        assert [client.recv(4096) for client in clients] == [REPLY] * 30
    assert len(late.asked) == 60


def test_who_waits_is_answered_before_a_master_is_replaced(serving, late):
    """An upgrade in place."""
    server = serving()
    old = server.process
    with connected(server, 30) as clients:
        eventually(lambda: late.waiting == 20)
        old.send_signal(signal.SIGUSR2)
        eventually(lambda: "event=upgraded" in server.said())
        reply_to_all(late, 30)
        assert [client.recv(4096) for client in clients] == [REPLY] * 30
        assert old.wait(20) == 0
        for client in clients:
            client.sendall(request())
        reply_to_all(late, 30)
        assert [client.recv(4096) for client in clients] == [REPLY] * 30
    server.process = None
    assert server.command("stop").returncode == 0
    assert len(late.asked) == 60


def test_who_waits_is_answered_before_a_stop(serving, late):
    """What comes in time is the reply."""
    server = serving()
    with connected(server, 30) as clients:
        eventually(lambda: late.waiting == 20)
        server.process.send_signal(signal.SIGTERM)
        eventually(lambda: "event=stopping" in server.said())
        reply_to_all(late, 30)
        assert [client.recv(4096) for client in clients] == [REPLY] * 30
        assert [client.recv(4096) for client in clients] == [b""] * 30
    assert server.process.wait(20) == 0
    server.process = None
    assert "killing workers" not in server.said()


def test_a_stop_waits_no_longer_than_it_may(serving, late):
    """What nobody answers is decided without, also the requests behind it on the same connection."""
    server = serving()
    with connected(server, 30) as clients:
        eventually(lambda: late.waiting == 20)
        for client in clients:
            client.sendall(request(instance="more"))
        server.process.send_signal(signal.SIGTERM)
        assert [read_to_end(client) for client in clients] == [PASSED * 2] * 30
    assert server.process.wait(20) == 0
    server.process = None
    assert "killing workers" not in server.said()


def read_to_end(client):
    read = b""
    while data := client.recv(4096):
        read += data
    return read
