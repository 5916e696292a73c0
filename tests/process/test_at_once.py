"""Things that overlap: one reload and the next, a reload and who retires; no descriptors, a suspended machine."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import threading

from loadtest.clients.policy_client import PolicyClient
from loadtest.measure.processes import cpu_us
from loadtest.servers.fault_injection import limit_descriptors, starve
from loadtest.servers.pausing import pause
from tests.process.conftest import (
    FINE,
    FORGED,
    LONG_REQUESTS,
    POLICY,
    REJECT,
    TOO_LONG_BYTES,
    alive,
    request,
    unread_bytes,
)
from tests.process.waiting import ended, eventually

ENOUGH = 1024


@contextlib.contextmanager
def stopped(*pids):
    """Processes that do nothing meanwhile."""
    for pid in pids:
        pause(pid)
    try:
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


@contextlib.contextmanager
def operator(server):
    """A connection to the control socket: what is sent, and its answers as they come."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(15)
        sock.connect(str(server.directory / "control"))
        yield sock, sock.makefile()


def tell(sock, command):
    sock.sendall(json.dumps({"command": command}).encode() + b"\n")


def test_who_asks_for_a_reload_during_another_one_gets_his_own(server):
    """The answer comes when the files serve that he had written before he asked, not those of the reload before."""
    (worker, _) = server.worker_pids()
    with operator(server) as (first, answers_of_first), operator(server) as (second, answers_of_second):
        with stopped(worker):
            server.write_policy(POLICY.replace("5.7.1", "5.7.2"))
            tell(first, "reload")
            tell(first, "status")
            assert "settings" in json.loads(answers_of_first.readline()), "the reload is not under way"
            server.write_policy(POLICY.replace("5.7.1", "5.7.3"))
            tell(second, "reload")
            tell(second, "status")
            assert "settings" in json.loads(answers_of_second.readline())
        assert json.loads(answers_of_first.readline())["generation"] == 2
        answer = json.loads(answers_of_second.readline())
    assert (answer["ok"], answer["generation"]) == (True, 3)
    with PolicyClient(server.socket_path) as client:
        assert client.ask(FORGED) == "REJECT 5.7.3 authenticate first"


def test_a_worker_that_cannot_go_yet_takes_part_in_a_reload(make_server):
    """Its last connection has a request half here and too long to be handed over; it is decided by the new policy."""
    server = make_server(extra=LONG_REQUESTS)
    server.start()
    (worker,) = server.worker_pids()
    long = request(stress="x" * TOO_LONG_BYTES)
    with PolicyClient(server.socket_path) as client:
        assert client.ask(FINE) == "DUNNO"
        client.connect().sendall(long[:-10])
        eventually(lambda: unread_bytes(client.connect()) == 0)
        os.kill(worker, signal.SIGTERM)
        eventually(lambda: [w["retiring"] for w in server.status()["workers"] if w["ready"]] == [True, False])
        server.write_policy(POLICY.replace("5.7.1", "5.7.2"))
        assert server.reload().returncode == 0
        assert alive(worker)
        assert client.ask(long[-10:]) == "REJECT 5.7.2 authenticate first"


def test_a_client_that_does_not_read_keeps_nobody(make_server):
    """A worker that retires hands it over with the reply that it has not taken; it gets every reply, in order."""
    server = make_server(policy="acl all sender example.com\naction no 450 4.7.1 {recipient}\naccess all no\n")
    server.start()
    (worker,) = server.worker_pids()
    count = 20_000
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(server.socket_path))
        requests = b"".join(request(recipient=f"{number}@example.com") for number in range(count))
        sender = threading.Thread(target=client.sendall, args=(requests,))
        sender.start()
        # Nobody reads from it any more: the server cannot send.
        eventually(lambda: not select.select([], [client], [], 0)[1])
        os.kill(worker, signal.SIGTERM)
        ended(worker)
        with client.makefile("rb") as replies:
            for number in range(count):
                assert replies.readline() + replies.readline() == b"action=450 4.7.1 %d@example.com\n\n" % number
        sender.join()


def test_the_farewell_of_a_worker_that_has_gone_is_heard(make_server):
    """A worker that is ended at once after its start, while the master is busy, did not die at its start."""
    server = make_server(workers=2)
    server.start()
    worker, _ = server.worker_pids()
    with stopped(server.process.pid):
        os.kill(worker, signal.SIGTERM)
        ended(worker)
    eventually(lambda: len(pids := server.worker_pids()) == 2 and worker not in pids)
    assert 'event="worker ended"' in server.said()
    assert "worker died" not in server.said()


def test_nobody_has_hung_on_a_machine_that_was_suspended(make_server):
    """Master and workers were stopped for longer than hang_timeout; the master wakes first and may look twice."""
    server = make_server(extra="hang_timeout = 2", workers=2)
    server.start()
    workers = server.worker_pids()
    with stopped(*workers):
        with stopped(server.process.pid):
            # Time has to pass: nothing else makes a beat old.
            threading.Event().wait(2.6)
        for _ in range(3):
            assert len(server.obey("status")["workers"]) == 2
        assert "worker hangs" not in server.said()
    with PolicyClient(server.socket_path) as client:
        assert client.ask(FORGED) == REJECT
    assert server.worker_pids() == workers


def test_a_worker_without_descriptors_takes_nothing_over(make_server):
    """Its limit was lowered while it ran: connections go to a sibling that has some, and none is lost."""
    server = make_server(workers=2)
    server.start()
    clients = [PolicyClient(server.socket_path) for _ in range(40)]
    assert {client.ask(FINE) for client in clients} == {"DUNNO"}
    poor, rich = server.worker_pids()
    starve(poor)
    os.kill(rich, signal.SIGTERM)
    ended(rich)
    assert {client.ask(FORGED) for client in clients} == {REJECT}
    limit_descriptors(poor, ENOUGH)
    for client in clients:
        client.close()


def test_a_master_without_descriptors_waits(server, client):
    """Who asks for something waits, costs nothing meanwhile, and is answered when there are some again."""
    master = server.process.pid
    starve(master)
    with operator(server) as (sock, answers):
        tell(sock, "status")
        before_us = cpu_us([master])
        threading.Event().wait(1.0)
        assert cpu_us([master]) - before_us < 200_000
        assert client.ask(FORGED) == REJECT
        limit_descriptors(master, ENOUGH)
        assert json.loads(answers.readline())["ok"]
