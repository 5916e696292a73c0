"""A server whose store is an engine: it makes no map, and what other hosts remember is what it remembers."""

from __future__ import annotations

import json
import os
import re

import pytest

from loadtest.errors import SetupError
from tests.process.test_state import COUNTING, FORGETFUL, passed, processes
from tests.process.test_upgrade import upgrade
from tests.process.waiting import eventually
from tests.redis_servers import RedisServer, needs_redis

pytestmark = needs_redis


@pytest.fixture
def engine(folder):
    server = RedisServer(folder / "engine")
    yield server
    server.stop()


@pytest.fixture
def sharing(make_server, engine):
    """Starts servers that ask one engine."""

    def start(name, policy=COUNTING, url=engine.url, state=""):
        server = make_server(policy, name, workers=2)
        text = server.settings.read_text()
        server.settings.write_text(text.replace("[state]\n", f'[state]\nurl = "{url}"\n{state}\n'))
        server.start()
        return server

    return start


def test_hosts_count_together_and_make_no_map(sharing):
    """Whichever server and worker is asked; there is no state process, and no map on this machine."""
    servers = [sharing("one"), sharing("other")]
    assert [passed(servers[number % 2], [number]) for number in range(8)] == [1, 1, 1, 1, 1, 0, 0, 0]
    for server in servers:
        assert processes(server, "forkpolicy: state") == []
        assert not (server.directory / "live").exists()
        assert not (server.directory / "kept").exists()


def test_a_policy_that_remembers_from_a_reload_on(sharing):
    """It needs nothing but the engine; one that forgets again needs nothing at all."""
    server = sharing("one", FORGETFUL)
    assert passed(server, range(3)) == 3
    server.write_policy(COUNTING)
    assert server.command("reload").returncode == 0
    assert passed(server, range(10, 17)) == 5
    server.write_policy(FORGETFUL)
    assert server.command("reload").returncode == 0
    assert passed(server, [20]) == 1


def test_status_and_metrics_have_the_engine(sharing, engine):
    """Its URL without secrets, whether it can be reached, and no map."""
    server = sharing("one")
    assert passed(server, range(7)) == 5
    state = server.status()["state"]
    assert (state["engine"], state["up"], state["live"]) == (engine.url, True, "")
    assert f"state    {engine.url}" in server.command("status").stdout
    engine.stop()
    # A question, and what a worker sees at once of a socket that has ended.
    eventually(lambda: passed(server, [50]) is not None and not server.status()["state"]["up"])
    assert "DOWN: a worker cannot reach the engine" in server.command("status").stdout
    assert "s3cret" not in json.dumps(server.status())


def test_commands_ask_the_engine(sharing):
    """`state` needs no server; the control socket says where to ask."""
    server = sharing("one")
    assert passed(server, range(7)) == 5
    assert "5 in 1h" in server.command("state", "list").stdout
    # Its counter, and what each message has counted.
    assert server.command("state", "reset", "busy").stdout == "6 records forgotten\n"
    assert passed(server, range(10, 17)) == 5
    server.stop()
    assert "5 in 1h" in server.command("state", "show", "busy", "a@example.com").stdout


def test_an_upgrade_moves_from_the_maps_to_an_engine(make_server, engine):
    """Without a closed connection: the state process of the previous master ends, and the engine counts."""
    server = make_server(COUNTING, workers=1)
    server.start()
    assert passed(server, range(7)) == 5
    assert processes(server, "forkpolicy: state")
    text = server.settings.read_text()
    server.settings.write_text(text.replace("[state]\n", f'[state]\nurl = "{engine.url}"\n'))
    # A reload does not: all workers go on with the map, and the notes of the reload say so.
    assert "state.url has changed: it takes effect with a restart or an upgrade" in server.reload().stderr
    assert passed(server, [8]) == 0
    upgrade(server)
    server.process = None
    try:
        assert processes(server, "forkpolicy: state") == []
        assert passed(server, range(10, 17)) == 5
    finally:
        server.command("stop")


def test_hosts_are_shown_side_by_side(sharing, engine):
    """Each server writes what it runs; a reload is there in seconds, and what differs is named."""
    policy = f"table domains domain domains\nacl us sender table:domains\n{COUNTING}access us\n"
    one, other = sharing("one", policy), sharing("other", policy)

    def hosts():
        done = one.command("status", "--hosts", "--json")
        assert done.stderr == ""
        return json.loads(done.stdout)["hosts"]

    def policies():
        return {host["report"]["policy"] for host in hosts()}

    eventually(lambda: len(hosts()) == 2)
    names = [host["name"] for host in hosts()]
    assert names == sorted(f"{os.uname().nodename}:{server.settings}" for server in (one, other))
    assert len(policies()) == 1
    text = one.command("status", "--hosts").stdout
    assert "DIFFERS" not in text
    assert re.search(r"^table    domains [0-9a-f]{12}$", text, re.MULTILINE)
    other.write_policy(f"{policy}access busy slow\n")
    assert other.command("reload").returncode == 0
    eventually(lambda: len(policies()) == 2)
    assert f"DIFFERS on {names[0]}" in one.command("status", "--hosts").stdout
    eventually(lambda: one.status()["state"]["figures"]["entries"] >= 1)
    assert re.search(r" \d+ keys?  \d+ KiB$", one.command("status").stdout, re.MULTILINE)


def test_a_start_needs_the_files_that_it_names(make_server, sharing, engine):
    """Each mistake is named with its path, before anything runs."""
    with pytest.raises(SetupError, match=r"password_file: .*/none: No such file or directory"):
        sharing("one", url=f'{engine.url}"\npassword_file = "none')
