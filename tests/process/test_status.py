"""What `forkpolicy status` and the metrics say of a real server: version, age, and what fails behind its back."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time

import pytest

from forkpolicy import __version__
from forkpolicy.compile_failures import failures
from forkpolicy.worker.implementation import C
from loadtest.clients.policy_client import PolicyClient
from loadtest.servers.server import COMPILE
from tests.process.conftest import FORGED, POLICY, REJECT
from tests.process.test_metrics import fetch
from tests.process.waiting import eventually


@pytest.fixture
def measured(make_server):
    """A server with the metrics process."""
    server = make_server(workers=1)
    server.settings.write_text(server.settings.read_text() + '[metrics]\nlisten = "unix:metrics"\n')
    server.start()
    return server


def test_version_and_age(make_server):
    """The running program's version, how long it has been up, how long the policy has served; text and JSON."""
    server = make_server(workers=1)
    before_s = time.monotonic()
    server.start()
    found = server.status()
    assert found["version"] == __version__
    assert 0 <= found["generation_age_s"] <= time.monotonic() - before_s
    assert found["uptime_s"] <= found["generation_age_s"] + 60
    assert re.search(
        rf"^forkpolicy {re.escape(__version__)}  master \d+  up 00:0\d:\d\d  /", server.command("status").stdout
    )


@pytest.mark.parametrize(("pure", "name"), [("0", "c"), ("1", "python")])
def test_what_serves_connections_is_shown(make_server, pure, name):
    """In C where that is built, and in Python where the environment wants it; in the log, too. Both serve."""
    if C is None and name == "c":
        pytest.skip("no C compiler, or no headers of Python: apt-get install gcc python3-dev")
    server = make_server(workers=1, environment={"FORKPOLICY_PURE": pure})
    server.start()
    with PolicyClient(server.socket_path) as client:
        assert [client.ask(FORGED) for _ in range(3)] == [REJECT] * 3
    assert server.status()["turn"] == name
    assert f", connections in {name.capitalize()}\n" in server.command("status").stdout
    eventually(lambda: f" turn={name} " in server.said())


def test_counters_say_since_when_they_count(server):
    """A reload sets back the hits of lines and the policy's age, and neither requests nor the uptime."""
    with PolicyClient(server.socket_path) as client:
        assert client.ask(FORGED) == REJECT
        eventually(lambda: sum(line["hits"] for line in server.status()["lines"]) == 1)
        before = server.status()
        eventually(lambda: server.status()["generation_age_s"] > 1)
        assert server.reload().returncode == 0
        found = server.status()
    assert found["generation_age_s"] < before["generation_age_s"] + found["uptime_s"] - before["uptime_s"]
    assert sum(line["hits"] for line in found["lines"]) == 0
    assert sum(worker["requests"] for worker in found["workers"]) == 1
    assert (found["counted_since"]["workers"], found["counted_since"]["lines"]) == ("start", "generation")
    text = server.command("status").stdout
    assert re.search(r"^requests and actions since the start, [\d:]+ ago", text, re.MULTILINE)
    assert re.search(r"^hits of rules since the last reload, [\d:]+ ago", text, re.MULTILINE)


def test_a_failing_compile_shows_until_one_succeeds(measured):
    """Whichever user ran it: the table, when and why, in the text, in JSON and in the metrics."""
    server = measured
    assert server.status()["failed_compiles"] == {}
    server.write_source("domains", "exa_mple..com\n")
    assert run_compile(server) == 78
    (name, failure), *_ = server.status()["failed_compiles"].items()
    assert name == "domains"
    assert abs(failure["at"] - time.time()) < 60
    assert f"{server.directory}/domains:1" in failure["reason"]
    assert re.search(
        r"^compile  domains FAILED 00:00:\d\d ago: .*domains:1", server.command("status").stdout, re.MULTILINE
    )
    assert 'forkpolicy_compile_failed_timestamp_seconds{table="domains"} 1' in fetch(server)[1]
    # A look that writes nothing changes nothing.
    server.write_source("domains", "example.com\n")
    assert run_compile(server, "--dry-run") == 0
    assert server.status()["failed_compiles"]
    assert run_compile(server) == 0
    assert server.status()["failed_compiles"] == {}
    assert "forkpolicy_compile_failed_timestamp_seconds{" not in fetch(server)[1]


def run_compile(server, *words):
    return subprocess.run([*COMPILE, "-c", str(server.settings), *words], capture_output=True, check=False).returncode


def test_a_table_that_is_gone_from_the_policy_is_not_reported(server):
    """Its list of failures may stay in the directory for ever."""
    noted = server.directory / "compiled" / ".failures"
    noted.write_text(json.dumps({"old": {"at": 1.0, "reason": "x"}, "domains": {"at": 1.0, "reason": "y"}}))
    assert list(server.status()["failed_compiles"]) == ["domains"]
    for broken in ("[]", "{", '{"domains": 1}', '{"domains": {"at": "x"}}', ""):
        noted.write_text(broken)
        assert server.status()["failed_compiles"] == {}


def test_a_helper_that_ended_shows(measured):
    """How often and how; which one is there now."""
    helpers = {each["name"]: each for each in measured.status()["helpers"]}
    assert sorted(helpers) == ["log", "metrics"]
    assert all(each["pid"] and not each["ended"] for each in helpers.values())
    assert "helper " not in measured.command("status").stdout
    os.kill(helpers["metrics"]["pid"], signal.SIGKILL)
    again = eventually(lambda: find(measured, "metrics", lambda each: each["ended"] == 1 and each["pid"] and each))
    assert again["how"] == "signal SIGKILL"
    assert again["pid"] != helpers["metrics"]["pid"]
    expected = rf"^helper   metrics: process {again['pid']}, ended 1 times since the start, last by signal SIGKILL$"
    assert re.search(expected, measured.command("status").stdout, re.MULTILINE)
    assert 'forkpolicy_helper_ended_total{helper="metrics"} 1\n' in fetch(measured)[1]


def find(server, name, wanted):
    return next((wanted(each) for each in server.status()["helpers"] if each["name"] == name), None)


def test_networks_that_cannot_be_listed_leave_a_note(server):
    """What the watcher of networks compiles fails in the same words, and shows in the same place."""
    server.write_policy(POLICY + "table nets cidr interfaces:nosuch0\nacl inside client_address table:nets\n")
    assert run_compile(server, "nets") == 78
    assert "nosuch0" in failures(server.directory / "compiled")["nets"].reason
