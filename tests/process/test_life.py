"""Births and deaths: of workers, of the master, of the socket between them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from loadtest.clients.policy_client import LostReplyError, PolicyClient
from loadtest.servers.pausing import pause
from loadtest.servers.server import FORKPOLICY
from tests.process.conftest import FINE, FORGED, REJECT, alive, request
from tests.process.waiting import ended, eventually


def test_serve_says_what_it_serves(server, client):
    """One line at start with sockets, workers, policy and tables with their versions; then it answers."""
    assert client.ask(FORGED) == REJECT
    assert client.ask(FINE) == "DUNNO"
    (line,) = [line for line in server.said().splitlines() if "event=started" in line]
    for part in (f"sockets=unix:{server.socket_path}", "workers=2", "policy=", "tables=domains@", "generation=1"):
        assert part in line


def test_a_stale_socket_is_taken_over_and_the_master_takes_its_workers_with_it(make_server):
    """kill -9 of the master: workers and logger end within a second; the next start finds the socket stale."""
    server = make_server(workers=2)
    server.start()
    pids = server.process_ids()
    assert len(pids) == 4
    server.kill()
    for pid in pids:
        ended(pid, 3)
    assert server.socket_path.is_socket()
    server.start()
    with PolicyClient(server.socket_path) as client:
        assert client.ask(FORGED) == REJECT


def test_a_live_socket_is_left_alone(server, client, make_server):
    """A second master refuses with status 73 and a message; the first never notices."""
    second = make_server(name="second", socket_path=server.socket_path)
    identity = server.socket_path.stat().st_ino
    done = subprocess.run(
        [*FORKPOLICY, "serve", "-c", str(second.settings)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 73
    assert "another server listens there" in done.stderr
    assert server.socket_path.stat().st_ino == identity
    assert client.ask(FORGED) == REJECT


def test_of_two_starters_at_once_exactly_one_wins(make_server):
    """The race between probing and binding has one winner, whose socket stays."""
    first = make_server(name="first")
    second = make_server(name="second", socket_path=first.socket_path)
    starts = [
        subprocess.Popen([*FORKPOLICY, "serve", "-c", str(each.settings)], stderr=subprocess.DEVNULL)
        for each in (first, second)
    ]
    try:
        loser = eventually(lambda: next((each for each in starts if each.poll() is not None), None))
        assert loser.returncode == 73
        (winner,) = [each for each in starts if each is not loser]
        with PolicyClient(first.socket_path) as client:
            assert client.ask(FORGED) == REJECT
        assert winner.poll() is None
    finally:
        for each in starts:
            if each.poll() is None:
                each.terminate()
            each.wait(30)


def test_a_killed_worker_is_replaced_and_its_siblings_go_on(server):
    """kill -9: another takes the slot at once; a client of the dead one learns by the end of its connection."""
    clients = [PolicyClient(server.socket_path) for _ in range(8)]
    assert [client.ask(FINE) for client in clients] == ["DUNNO"] * 8
    # One may have accepted all of them while the other had no core: it gives some away.
    eventually(lambda: all(worker["counters"]["connections"] for worker in server.obey("status")["workers"]))
    victim, sibling = server.worker_pids()
    os.kill(victim, signal.SIGKILL)
    new = eventually(lambda: [pid for pid in server.worker_pids() if pid != victim and len(server.worker_pids()) == 2])
    assert sibling in new
    answered = 0
    for client in clients:
        try:
            assert client.ask(FORGED) == REJECT
            answered += 1
        except LostReplyError:
            pass
        client.close()
    assert 0 < answered < 8
    assert "SIGKILL" in server.said()


@pytest.mark.timeout(300)
def test_a_hundred_deaths_are_a_hundred_burials(server):
    """A storm of deaths: no zombie stays, the workers come back, answers come."""

    def both_serve(killed):
        """Two that were not killed. One that is killed before it serves would be replaced later and later."""
        ready = {worker["pid"] for worker in server.status()["workers"] if worker["ready"]}
        return len(ready - killed) == 2 and ready - killed

    killed = set()
    for _ in range(50):
        killed = eventually(lambda: both_serve(killed))  # noqa: B023 - called now
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
    eventually(lambda: both_serve(killed))
    with PolicyClient(server.socket_path) as client:
        assert client.ask(FORGED) == REJECT
    assert len(server.process_ids()) == 4


def test_a_hung_worker_is_killed_and_replaced(make_server):
    """A worker whose loop does not turn for hang_timeout: a line in the log, and another in its place."""
    server = make_server(extra="hang_timeout = 2")
    server.start()
    (victim,) = server.worker_pids()
    pause(victim)
    eventually(lambda: server.worker_pids() not in ([victim], []))
    assert "worker hangs" in server.said()
    assert not alive(victim)
    with PolicyClient(server.socket_path) as client:
        assert client.ask(FORGED) == REJECT


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_answers_what_is_in_hand(server, client, signum):
    """What was sent before the signal is answered, then the connection ends; status 0, no socket left behind."""
    assert client.ask(FINE) == "DUNNO"
    client._socket.sendall(FORGED)
    server.process.send_signal(signum)
    read = b""
    while data := client._socket.recv(4096):
        read += data
    assert read == f"action={REJECT}\n\n".encode()
    assert server.process.wait(30) == 0
    server.process = None
    assert not server.socket_path.exists()
    assert "event=stopped" in server.said()


def test_int_twice_is_now(server, client):
    """A second INT does not wait for a worker that cannot stop."""
    for pid in server.worker_pids():
        pause(pid)
    server.process.send_signal(signal.SIGINT)
    eventually(lambda: "event=stopping" in server.said())
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(5) == 0
    server.process = None


def test_the_command_stop_waits_for_the_end(server):
    """`forkpolicy stop` returns when the master has gone; after that, status 69 says that nobody is there."""
    assert server.command("stop").returncode == 0
    assert server.process.wait(5) == 0
    server.process = None
    done = server.command("status")
    assert done.returncode == 69
    assert "no master is running" in done.stderr


def test_a_new_socket_of_another_server_is_not_removed(make_server):
    """At its end a master removes only the file that it made."""
    server = make_server()
    server.start()
    server.socket_path.unlink()
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(server.socket_path))
        server.stop()
        assert server.socket_path.is_socket()


@pytest.mark.parametrize(
    ("change", "told", "status"),
    [
        (("unix:", "unix:" + "x" * 120), "bytes: the path of a socket may have 107", 78),
        (("[server]", "[server]\nworkesr = 4"), 'did you mean "workers"?', 78),
        (('group = "', 'group = "no-such-'), "does not exist on this machine", 78),
        (('policy = "', 'policy = "no-such-'), "cannot be read", 78),
        (('target = "', 'target = "/no/such/'), "does not exist: create it", 78),
    ],
    ids=["long-path", "unknown-key", "unknown-group", "no-policy", "no-log-directory"],
)
def test_a_start_that_cannot_be_says_why(make_server, change, told, status):
    """The operator's mistakes end the start with a message and a status, never with a traceback."""
    if "group" in change[0] and os.geteuid() != 0:
        pytest.skip("owners change as root only")
    server = make_server()
    server.settings.write_text(server.settings.read_text().replace(*change, 1))
    done = subprocess.run(
        [*FORKPOLICY, "serve", "-c", str(server.settings)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, "Traceback" in done.stderr) == (status, False), done.stderr
    assert told in done.stderr


def test_a_table_that_is_not_compiled_fails_softly_until_it_is(make_server):
    """The server starts, what needs the table is answered with on_error, and heals by itself within a second."""
    server = make_server()
    table = server.directory / "compiled" / "domains.lmdb"
    table.unlink()
    server.start()
    with PolicyClient(server.socket_path) as client:
        assert client.ask(FORGED) == "DEFER_IF_PERMIT 4.3.0 Policy temporarily unavailable"
        assert client.ask(request(sasl_username="alice", sasl_method="PLAIN")) == "DUNNO"
        server.compile()
        eventually(lambda: client.ask(FORGED) == REJECT)
    assert server.said().count("evaluation failed") == 1
    assert "table refused" in server.said()


STRANGER = """
import os, socket, sys
os.setresuid(65534, 65534, 65534)
with socket.socket(socket.AF_UNIX) as control:
    control.connect(sys.argv[1])
    control.settimeout(5)
    try:
        control.sendall(b'{"command": "stop"}\\n')
        sys.exit(1 if control.recv(10) else 0)
    except OSError:
        sys.exit(0)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="another user is needed, and only root can become one")
def test_a_reload_says_which_table_is_damaged_or_gone(make_server):
    """`check` and `reload` give one verdict; the table before goes on serving, and so does the policy before."""
    server = make_server("table ours domain domains\nacl us sender table:ours\naction no REJECT\naccess us no\n")
    server.start()
    table = server.directory / "compiled" / "ours.lmdb"
    whole = table.read_bytes()
    aside = table.with_name("aside")
    with PolicyClient(server.socket_path) as client:
        for content, told in (
            (whole[:8192], "is damaged or not a forkpolicy table"),
            (None, "does not exist: compile it with forkpolicy-compile"),
        ):
            if content is None:
                table.unlink()
            else:
                aside.write_bytes(content)
                aside.rename(table)
            refused = server.reload()
            assert refused.returncode == 1
            assert told in refused.stdout + refused.stderr
            assert server.command("check").returncode == 1
            assert client.ask(request(sender="a@example.com")) == "REJECT"
    aside.write_bytes(whole)
    aside.rename(table)
    assert server.reload().returncode == 0


def test_the_control_socket_is_for_its_owner_and_root(server):
    """Mode 0600; another user is refused even if the mode were changed."""
    path = server.directory / "control"
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o666)
    assert subprocess.run([sys.executable, "-c", STRANGER, str(path)], check=False).returncode == 0
    assert server.process.poll() is None


def test_nonsense_on_the_control_socket_costs_only_its_sender(server):
    """Neither bad JSON nor endless bytes nor silence disturb the master."""
    with socket.socket(socket.AF_UNIX) as mute, socket.socket(socket.AF_UNIX) as loud:
        for each in (mute, loud):
            each.connect(str(server.directory / "control"))
        loud.sendall(b"{nonsense\n")
        assert loud.recv(10) == b""
        for wrong in ("0", "-1", "257", "9" * 30, "two", "1.5"):
            assert server.command("scale", wrong).returncode == 2
        assert json.loads(server.command("status", "--json").stdout)["wanted_workers"] == 2
