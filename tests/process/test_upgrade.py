"""USR2: another master takes over, on the same sockets, and the connections with them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
from pathlib import Path

import pytest

import forkpolicy
from loadtest.clients.policy_client import PolicyClient, readable
from loadtest.errors import SetupError
from tests.process.conftest import (
    FORGED,
    LONG_REQUESTS,
    POLICY,
    REJECT,
    TOO_LONG_BYTES,
    request,
    unread_bytes,
)
from tests.process.waiting import ended, eventually

# The real program. Every signal that does not end it arrives while it reads its files.
SIGNALLED_WHILE_IT_LOADS = """
import os, signal, sys
from forkpolicy.commands import main
from forkpolicy.commands.serve import composition
load_at_start = composition.load_at_start

def signalled(*arguments):
    for name in ("HUP", "USR1", "USR2", "TTIN", "TTOU"):
        os.kill(os.getpid(), getattr(signal, f"SIG{name}"))
    return load_at_start(*arguments)

composition.load_at_start = signalled
sys.exit(main())
"""


@pytest.fixture
def upgradable(make_server):
    """A running server; whichever master is the last is ended."""
    server = make_server(workers=2, extra=LONG_REQUESTS)
    server.start()
    yield server
    if server.process is not None and server.process.poll() is None:
        return
    server.process = None
    server.command("stop")


def upgrade(server):
    """Upgrade and wait until the old master has gone; the new one's pid."""
    old = server.status()["pid"]
    os.kill(old, signal.SIGUSR2)
    new = eventually(lambda: (pid := server.status()["pid"]) != old and pid)
    if server.process is not None and server.process.pid == old:
        assert server.process.wait(30) == 0
    else:
        ended(old)
    return new


def test_connections_go_to_the_new_master(upgradable):
    """No connection is closed, the socket file stays the same, the generation goes on, stop still ends it all."""
    server = upgradable
    inode = server.socket_path.stat().st_ino
    clients = [PolicyClient(server.socket_path) for _ in range(50)]
    assert {client.ask(FORGED) for client in clients} == {REJECT}
    half = PolicyClient(server.socket_path)
    half._socket.sendall(FORGED[:70])
    for _ in range(3):
        upgrade(server)
        assert {client.ask(FORGED) for client in clients} == {REJECT}
    assert half.ask(FORGED[70:]) == REJECT
    assert server.socket_path.stat().st_ino == inode
    assert server.status()["generation"] == 4
    for client in (*clients, half):
        client.close()
    assert server.command("stop").returncode == 0
    assert not server.socket_path.exists()


def test_the_new_master_has_the_new_settings(upgradable):
    """An upgrade applies what a reload cannot: another socket next to the old one."""
    server = upgradable
    other = server.directory / "other"
    text = server.settings.read_text()
    server.settings.write_text(
        text.replace(f'"unix:{server.socket_path}"', f'"unix:{server.socket_path}", "unix:other"')
    )
    assert "server.listen has changed" in server.reload().stderr
    upgrade(server)
    for path in (server.socket_path, other):
        with PolicyClient(path) as client:
            assert client.ask(FORGED) == REJECT
    server.settings.write_text(text)
    upgrade(server)
    assert not other.exists()
    assert server.socket_path.exists()


def test_a_new_master_that_does_not_come_up_changes_nothing(upgradable):
    """Broken settings: the old master says so and goes on with everything; a later upgrade works."""
    server = upgradable
    with PolicyClient(server.socket_path) as client:
        assert client.ask(FORGED) == REJECT
        server.write_policy(POLICY + "nonsense\n")
        old = server.status()["pid"]
        server.process.send_signal(signal.SIGUSR2)
        eventually(lambda: "upgrade failed" in server.said())
        assert "unknown statement" in server.said()
        assert server.status()["pid"] == old
        assert len(server.worker_pids()) == 2
        assert client.ask(FORGED) == REJECT
        server.write_policy(POLICY)
        assert server.reload().returncode == 0
        upgrade(server)
        assert client.ask(FORGED) == REJECT


@pytest.mark.parametrize(
    ("file", "constant"), [("master/sockets/inherited.py", "STATE_VERSION"), ("worker/handover.py", "HANDOVER_VERSION")]
)
def test_a_release_of_another_version_takes_nothing(folder, make_server, file, constant):
    """The program on disk is replaced by one whose state or hand-over has another version: it refuses before it takes
    anything, the old master goes on with every connection, a request that has begun included, and the previous
    program can still take over.
    """
    program = folder / "program"
    shutil.copytree(Path(forkpolicy.__file__).parent, program / "forkpolicy", ignore=shutil.ignore_patterns("__pyc*"))
    server = make_server(workers=2, environment={"PYTHONPATH": str(program), "PYTHONSAFEPATH": "1"})
    server.start()
    old = server.status()["pid"]
    source = program / "forkpolicy" / file
    text = source.read_text()
    clients = [PolicyClient(server.socket_path) for _ in range(20)]
    assert {client.ask(FORGED) for client in clients} == {REJECT}
    half = clients.pop()
    half.connect().sendall(FORGED[:70])
    source.write_text(text.replace(f"\n{constant} = ", f"\n{constant} = 1 + "))
    server.process.send_signal(signal.SIGUSR2)
    eventually(lambda: "upgrade failed" in server.said())
    assert "the running master passes state" in server.said()
    assert "this release knows state" in server.said()
    assert (server.status()["pid"], len(server.worker_pids())) == (old, 2)
    assert {client.ask(FORGED) for client in clients} == {REJECT}
    source.write_text(text)
    upgrade(server)
    assert {client.ask(FORGED) for client in clients} == {REJECT}
    assert half.ask(FORGED[70:]) == REJECT
    for client in (*clients, half):
        client.close()
    server.process = None
    assert server.command("stop").returncode == 0


@pytest.mark.parametrize("state", ["", "[]", "{}", '{"version": 1}', "no JSON"])
def test_a_state_that_is_not_one_is_refused_in_words(make_server, state):
    """Whatever the variable holds: exit status 78 and a reason, no traceback."""
    server = make_server(environment={"FORKPOLICY_UPGRADE": state})
    with pytest.raises(SetupError, match=r"upgrade: the running master passes .*, this release knows") as refused:
        server.start()
    assert "Traceback" not in str(refused.value)


def test_upgrades_under_load_lose_nothing(upgradable):
    """Clients that ask without a pause, upgrades, scaling and reloads meanwhile: each request is answered once."""
    server = upgradable
    stop = threading.Event()
    asked = [0] * 8
    trouble = []

    def ask(number):
        try:
            with PolicyClient(server.socket_path) as client:
                while not stop.is_set():
                    assert client.ask(FORGED) == REJECT
                    asked[number] += 1
        except Exception as error:  # noqa: BLE001 - of a thread: passed to the test
            trouble.append(error)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    try:
        for count in (3, 1, 2):
            upgrade(server)
            assert server.command("scale", str(count)).returncode == 0
            assert server.reload().returncode == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not trouble
    assert min(asked) > 20


def test_signals_during_a_start_wait_for_its_end(make_server, monkeypatch):
    """What operators and logrotate send to a master that still loads, the first one or the next: nobody dies of it or
    is stopped; it is done when the master serves, and an upgrade is refused.
    """
    monkeypatch.setattr("loadtest.servers.server.FORKPOLICY", (sys.executable, "-c", SIGNALLED_WHILE_IT_LOADS))
    server = make_server(workers=2)
    server.start()
    with PolicyClient(server.socket_path) as client:
        assert client.ask(FORGED) == REJECT
        for generation in (2, 4):
            eventually(lambda generation=generation: server.obey("status")["generation"] == generation)
            master = server.obey("status")["pid"]
            said = [line for line in server.said().splitlines() if f"pid={master} " in line]
            for event in ("scaled", "reloaded", "upgrade refused"):
                assert any(f'event="{event}"' in line or f"event={event} " in line for line in said), (event, said)
            assert server.said().count("log target reopened") == generation // 2
            assert client.ask(FORGED) == REJECT
            if generation == 2:
                upgrade(server)
    server.process = None
    assert server.command("stop").returncode == 0


def test_a_stop_ends_an_upgrade_under_way(upgradable):
    """TERM just after USR2: both masters end, nothing stays behind."""
    server = upgradable
    server.process.send_signal(signal.SIGUSR2)
    line = eventually(lambda: next((line for line in server.said().splitlines() if "upgrade started" in line), None))
    new = int(line.rpartition("new_pid=")[2].split()[0])
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(30) == 0
    ended(new)
    assert not server.socket_path.exists()


def test_a_reload_waits_for_the_workers_of_before(upgradable):
    """A worker that cannot go yet answers by what it serves; no reload ends before it has, and the next request is
    decided by the new policy.
    """
    server = upgradable
    long = request(stress="x" * TOO_LONG_BYTES)
    with PolicyClient(server.socket_path) as client:
        assert client.ask(FORGED) == REJECT
        client.connect().sendall(long[:-10])
        eventually(lambda: unread_bytes(client.connect()) == 0)
        old = server.status()["pid"]
        os.kill(old, signal.SIGUSR2)
        # Both may take commands before that, and the old one hangs up.
        eventually(lambda: "event=upgraded" in server.said())
        server.write_policy(POLICY.replace("5.7.1", "5.7.2"))
        with PolicyClient(server.directory / "control") as operator:
            control = operator.connect()
            control.sendall(b'{"command": "reload"}\n')
            threading.Event().wait(1.0)
            assert not readable(control), "a reload has ended while an old worker was alive"
            assert client.ask(long[-10:]) == REJECT
            assert json.loads(control.recv(65536))["ok"]
        assert client.ask(FORGED) == "REJECT 5.7.2 authenticate first"
