"""The good table is the service's: a worker that starts after it was damaged, by any planned change, serves it."""

from __future__ import annotations

import json
import os
import signal

import pytest

from forkpolicy.tables import format as layout
from loadtest.clients.policy_client import PolicyClient
from loadtest.servers.server import FORKPOLICY
from tests.process.conftest import FORGED, POLICY, REJECT, alive, request
from tests.process.test_change import open_fds, table_versions
from tests.process.waiting import ended, eventually

REFUSED = "DEFER_IF_PERMIT 4.3.0 Policy temporarily unavailable"


def table_of(server):
    return server.directory / "compiled" / "domains.lmdb"


def replace(path, content):
    """Replaces the file by a move, as an operator does."""
    new = path.with_suffix(".new")
    new.write_bytes(content)
    new.rename(path)


def flip(path):
    damaged = bytearray(path.read_bytes())
    damaged[5000] ^= 1
    replace(path, damaged)


def of_another_format(path):
    content = path.read_bytes()
    replace(path, content.replace(layout.MAGIC + b"\0\0\0\x03", layout.MAGIC + b"\0\0\0\x63"))


DAMAGE = {
    "flipped": flip,
    "cut": lambda path: replace(path, path.read_bytes()[:5000]),
    "empty": lambda path: replace(path, b""),
    "format": of_another_format,
    "gone": lambda path: path.unlink(),
    "directory-gone": lambda path: path.parent.rename(path.parent.with_name("elsewhere")),
    "pipe": lambda path: (path.unlink(), os.mkfifo(path)),
}


def damage(server, how):
    """Damage the table, and wait until every worker has seen it."""
    DAMAGE[how](table_of(server))
    eventually(lambda: refusals(server) and all(refusals(server)))


def refusals(server):
    return [table["refused"] for worker in server.status()["workers"] for table in worker["tables"]]


def ready_pids(server):
    workers = server.status()["workers"]
    return {worker["pid"] for worker in workers} if all(worker["ready"] for worker in workers) else set()


def answers(server, count=12):
    """What so many new connections are answered: every worker has some of them."""
    clients = [PolicyClient(server.socket_path) for _ in range(count)]
    try:
        return {client.ask(FORGED) for client in clients}
    finally:
        for client in clients:
            client.close()


def kill_all(server):
    for pid in ready_pids(server):
        os.kill(pid, signal.SIGKILL)


def retire_all(server):
    for pid in ready_pids(server):
        os.kill(pid, signal.SIGTERM)


@pytest.mark.parametrize("how", DAMAGE)
def test_whoever_is_born_after_the_damage_serves_the_good_table(server, how):
    """Killed, retired, scaled: replies stay those of the good table, and status says why nothing newer comes."""
    good = table_versions(server)
    damage(server, how)
    for change in (kill_all, retire_all):
        before = ready_pids(server)
        change(server)
        eventually(lambda before=before: (now := ready_pids(server)) and not now & before and len(now) == 2)
        assert answers(server) == {REJECT}
        assert table_versions(server) == good
        assert all(refusals(server))
    assert server.obey("scale", workers=5)["ok"]
    eventually(lambda: len(ready_pids(server)) == 5)
    assert answers(server, 30) == {REJECT}
    assert "event=evaluation" not in server.said()


def test_recycling_goes_on_with_the_good_table(make_server):
    """max_requests replaces workers by others that serve the same."""
    server = make_server(workers=2, extra="max_requests = 50")
    server.start()
    damage(server, "flipped")
    first = ready_pids(server)
    with PolicyClient(server.socket_path) as client:

        def asked():
            assert {client.ask(FORGED) for _ in range(20)} == {REJECT}
            assert answers(server) == {REJECT}
            return not ready_pids(server) & first

        eventually(asked, 60)


def test_a_mended_table_is_taken_up_and_kept(server):
    """A table compiled after the damage serves, also in workers that start after the next; the old one is closed."""
    damage(server, "flipped")
    kill_all(server)
    eventually(lambda: len(ready_pids(server)) == 2 and answers(server) == {REJECT})
    before = table_versions(server)
    server.write_source("domains", "example.com\nelsewhere.example\n")
    server.compile()
    eventually(
        lambda: not any(refusals(server)) and len(table_versions(server)) == 1 and table_versions(server) != before
    )
    mended = table_versions(server)
    damage(server, "cut")
    before = ready_pids(server)
    kill_all(server)
    eventually(lambda: (now := ready_pids(server)) and not now & before and len(now) == 2)
    assert table_versions(server) == mended
    with PolicyClient(server.socket_path) as client:
        assert client.ask(request("x@elsewhere.example")) == REJECT


def test_descriptors_of_the_master_do_not_grow(server):
    """One a table, however many were compiled; none of a table that is declared no more; and no child holds one."""
    (server.directory / "other").write_text("x.example\n")
    eventually(lambda: open_tables_of(server.process.pid) == 1)
    server.write_policy(POLICY + "table other domain other\nacl o sender table:other\naccess o prove_it\n")
    server.compile()
    assert server.obey("reload", 60)["ok"]
    eventually(lambda: open_tables_of(server.process.pid) == 2)
    for number in range(5):
        before = table_versions(server)
        server.write_source("domains", f"example.com\nx{number}.example\n")
        server.compile()
        eventually(lambda before=before: table_versions(server) != before and len(table_versions(server)) == 2)
    assert open_tables_of(server.process.pid) == 2
    server.write_policy(POLICY)
    assert server.obey("reload", 60)["ok"]
    eventually(lambda: open_tables_of(server.process.pid) == 1)
    before, fds = ready_pids(server), {open_fds(pid) for pid in ready_pids(server)}
    kill_all(server)
    eventually(lambda: (now := ready_pids(server)) and not now & before and len(now) == 2)
    eventually(lambda: {open_fds(pid) for pid in ready_pids(server)} == fds)
    others = set(server.process_ids()) - ready_pids(server) - {server.process.pid}
    assert [open_tables_of(pid) for pid in others] == [0] * len(others)


def open_tables_of(pid):
    links = []
    for fd in os.listdir(f"/proc/{pid}/fd"):  # noqa: PTH208
        try:
            links.append(os.readlink(f"/proc/{pid}/fd/{fd}"))  # noqa: PTH115
        except FileNotFoundError:
            continue
    return sum(".lmdb" in link for link in links)


# Upgrades


@pytest.fixture
def upgradable(make_server):
    """A running server; whichever master is the last is ended."""
    server = make_server(workers=2)
    server.start()
    yield server
    if server.process is None or server.process.poll() is not None:
        server.process = None
        server.command("stop")


def upgrade(server):
    old = server.status()["pid"]
    os.kill(old, signal.SIGUSR2)
    eventually(lambda: server.command("status").returncode == 0 and server.status()["pid"] != old, 30)
    eventually(lambda: not alive(old) or server.process.poll() is not None)


@pytest.mark.parametrize("how", ["flipped", "gone"])
def test_an_upgrade_goes_on_with_the_good_table(upgradable, how):
    """It is passed on, and again: each master's workers, and those born later, serve what was good."""
    server = upgradable
    good = table_versions(server)
    damage(server, how)
    for _ in range(2):
        upgrade(server)
        eventually(lambda: len(ready_pids(server)) == 2)
        assert answers(server) == {REJECT}
        assert table_versions(server) == good
    before = ready_pids(server)
    kill_all(server)
    eventually(lambda: (now := ready_pids(server)) and not now & before and len(now) == 2)
    assert answers(server) == {REJECT}


OTHER_RELEASE = """
import sys
from forkpolicy.tables import format as layout
layout.READABLE_VERSIONS = (98, 99)
from forkpolicy.commands import main
sys.exit(main())
"""


def test_a_release_that_reads_no_table_is_a_failed_upgrade(make_server, monkeypatch):
    """It says which table and why, has served nobody, and everything goes on: sockets, workers, a later upgrade."""
    server = make_server(workers=2)
    program = server.directory / "program.py"
    this_release = "import sys\nfrom forkpolicy.commands import main\nsys.exit(main())\n"
    program.write_text(this_release)
    monkeypatch.setattr("loadtest.servers.server.FORKPOLICY", (FORKPOLICY[0], str(program)))
    server.start()
    inode = server.socket_path.stat().st_ino
    program.write_text(OTHER_RELEASE)
    with PolicyClient(server.socket_path) as client:
        assert client.ask(FORGED) == REJECT
        pid, workers = server.process.pid, ready_pids(server)
        server.process.send_signal(signal.SIGUSR2)
        eventually(lambda: "upgrade failed" in server.said(), 30)
        program.write_text(this_release)
        assert "the new master cannot serve" in server.said()
        assert "has format 3, this forkpolicy reads 98 and 99" in server.said()
        assert client.ask(FORGED) == REJECT
    assert (server.status()["pid"], ready_pids(server)) == (pid, workers)
    assert answers(server) == {REJECT}
    assert server.socket_path.stat().st_ino == inode
    assert REFUSED not in server.said()
    eventually(lambda: len(server.process_ids()) == 4)
    upgrade(server)
    assert answers(server) == {REJECT}
    assert server.process.wait(30) == 0
    server.process = None
    assert server.command("stop").returncode == 0


def test_a_stop_of_the_new_master_leaves_the_old_one_its_sockets(upgradable):
    """TERM to it before it serves: they share what they listen on, and the old one goes on."""
    server = upgradable
    server.process.send_signal(signal.SIGUSR2)
    line = eventually(lambda: next((line for line in server.said().splitlines() if "upgrade started" in line), None))
    new = int(line.rpartition("new_pid=")[2].split()[0])
    os.kill(new, signal.SIGTERM)
    ended(new)
    eventually(lambda: "upgrade failed" in server.said() or "upgraded" in server.said())
    if "upgrade failed" in server.said():
        assert answers(server) == {REJECT}
        assert json.loads(server.command("status", "--json").stdout)["pid"] == server.process.pid
