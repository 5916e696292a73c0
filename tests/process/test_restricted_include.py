"""A file that the policy includes with `restricted`, at reloads and at starts: its mistakes stop neither."""

from __future__ import annotations

import os

import pytest

from loadtest.clients.policy_client import PolicyClient
from tests.process.conftest import FINE, FORGED, POLICY, REJECT

INCLUDING = POLICY.replace("action prove_it", "include theirs/rules.conf restricted\naction prove_it")
LET_IN = "acl friend sender a@example.com\naction pass_on DUNNO\naccess friend pass_on\n"
WRONG = "acl from_us sender @elsewhere.example\n"


@pytest.fixture
def server(make_server):
    """A server whose policy includes such a file, which is not there yet."""
    server = make_server(policy=INCLUDING)
    (server.directory / "theirs").mkdir()
    server.rules = server.directory / "theirs" / "rules.conf"
    server.start()
    return server


def test_a_file_that_is_not_there_changes_nothing(server):
    """And one that comes counts from the next reload on."""
    with PolicyClient(server.socket_path) as client:
        assert client.ask(FORGED) == REJECT
        server.rules.write_text(LET_IN)
        assert server.reload().returncode == 0
        assert client.ask(FORGED) == "DUNNO"
        server.rules.unlink()
        assert server.reload().returncode == 0
        assert client.ask(FORGED) == REJECT


def test_a_mistake_in_it_keeps_what_serves(server):
    """At a reload, with the reason; `check` finds it, too."""
    server.rules.write_text(LET_IN)
    assert server.reload().returncode == 0
    server.rules.write_text(WRONG)
    refused = server.reload()
    assert refused.returncode == 1
    assert '"from_us" is a name of the policy' in refused.stderr
    assert server.command("check", "--postfix", "none").returncode == 1
    with PolicyClient(server.socket_path) as client:
        assert client.ask(FORGED) == "DUNNO"


@pytest.mark.parametrize("mistake", [WRONG.encode(), b"\xff", b"x" * 300_000, "pipe", "link"])
def test_a_start_uses_its_last_good_copy(server, mistake):
    """Whatever stands there by then; the log, `status` and standard error say so, and a good file ends it."""
    server.rules.write_text(LET_IN)
    assert server.reload().returncode == 0
    server.stop()
    server.rules.unlink()
    if mistake == "pipe":
        os.mkfifo(server.rules)
    elif mistake == "link":
        server.rules.symlink_to("/etc/hostname")
    else:
        server.rules.write_bytes(mistake)
    server.start()
    with PolicyClient(server.socket_path) as client:
        assert client.ask(FORGED) == "DUNNO"
        assert client.ask(FINE) == "DUNNO"
    said = "rules.conf has mistakes: its last good copy is used"
    assert said in server.said()
    assert said in server.command("status").stdout
    server.rules.unlink()
    server.rules.write_text("")
    assert server.reload().returncode == 0
    assert said not in server.command("status").stdout
    with PolicyClient(server.socket_path) as client:
        assert client.ask(FORGED) == REJECT


def test_a_first_start_with_a_mistake_goes_by_the_other_rules(make_server):
    """There is no good copy: the administrator's own rules decide."""
    server = make_server(policy=INCLUDING)
    (server.directory / "theirs").mkdir()
    (server.directory / "theirs" / "rules.conf").write_text(WRONG)
    server.start()
    with PolicyClient(server.socket_path) as client:
        assert client.ask(FORGED) == REJECT
    assert "nothing of it is used, as there is no good copy" in server.said()


def test_a_mistake_elsewhere_still_stops_a_start(make_server):
    """The administrator's policy is not replaced by anything."""
    server = make_server(policy=INCLUDING)
    server.write_policy(INCLUDING + "nonsense\n")
    (server.directory / "theirs").mkdir()
    (server.directory / "theirs" / "rules.conf").write_text(WRONG)
    refused = server.command("serve")
    assert refused.returncode == 78
    assert 'unknown statement "nonsense"' in refused.stderr
