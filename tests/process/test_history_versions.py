"""A decision of a policy and tables that are gone is explained with them: server, ingester and `show`."""

from __future__ import annotations

import json
import subprocess

import pytest

from loadtest.clients.policy_client import PolicyClient
from tests.process.conftest import request
from tests.process.waiting import eventually

POLICY = """
table domains domain domains
table local cidr networks
acl from_us sender table:domains
acl inside client_address table:local
acl often rate {client_address} 1/1h
action prove_it REJECT 5.7.1 see {code}
access from_us !inside often prove_it
"""


@pytest.fixture
def server(make_server):
    """A server with a history and two tables."""
    server = make_server("")
    server.write_source("networks", "192.0.2.0/24\n")
    server.write_policy(POLICY)
    server.compile()
    server.settings.write_text(f'{server.settings.read_text()}\n[history]\nlog = "history.json"\npath = "history"\n')
    server.start()
    return server


def refused(server, number=1):
    """Ask until it is refused; the id in the reply, which is in the log by then."""
    with PolicyClient(server.socket_path) as client:
        client.ask(request())
        code = client.ask(request()).split()[-1]
    eventually(lambda: (server.directory / "history.json").read_text().count('"event":"decision"') == number)
    return code


def ingest(server):
    """Take in what is there; nothing goes wrong."""
    done = server.command("history", "ingest", "--once")
    assert (done.returncode, done.stderr) == (0, "")


def show(server, code, *more):
    """What `show` prints."""
    done = server.command("history", "show", *more, code)
    assert done.returncode == 0, done
    return done.stdout


def test_a_decision_is_explained_with_what_decided_it(server):
    """Every term with its entry, the recorded answer of the limit; and the entry that makes the difference now."""
    code = refused(server)
    ingest(server)
    before = show(server, code)
    assert before.endswith("now replies: the same (often answered as then)\n")
    folder = server.directory
    server.write_source("networks", "192.0.2.0/24\n203.0.113.0/24\n")
    server.write_source("domains", "elsewhere.example\n")
    server.write_policy(f"# longer\n{POLICY.replace('!inside often', 'often !inside')}")
    server.compile()
    assert server.reload().returncode == 0
    after = show(server, code)
    explained = after[
        after.index("with the policy and tables of then:") : after.index("the policy that is in the files")
    ]
    assert explained == before[before.index("with the policy") : before.index("the policy that is in the files")]
    assert f"{folder}/policy.conf:8: access from_us !inside often prove_it  <- decided" in explained
    assert f"from_us  yes  sender=a@example.com: example.com in table domains ({folder}/domains:1)" in explained
    assert "often    yes  as it was answered then: 3" in explained
    assert after.endswith(
        "the policy that is in the files now replies: DUNNO by default\n"
        f"  the rule of then is not in the policy now: {folder}/policy.conf:8: access from_us !inside often prove_it\n"
    )
    server.write_policy(POLICY)
    assert show(server, code).endswith(
        f"  table domains: example.com was an entry of {folder}/domains:1 and is not one now\n"
    )


def test_json_has_the_same(server):
    """The fields of the manual, next to those of the log's line."""
    code = refused(server)
    ingest(server)
    server.write_source("domains", "elsewhere.example\n")
    server.compile()
    shown = json.loads(show(server, code, "--json"))
    assert (shown["id"], shown["then_missing"]) == (code, "")
    assert shown["then"]["action"] == shown["action"] == f"REJECT 5.7.1 see {code}"
    assert [each["name"] for each in shown["then"]["lines"][0]["acls"]] == ["from_us", "inside", "often"]
    assert (shown["now"], shown["now_rule"], shown["now_but"]) == ("DUNNO", "default", [])
    assert shown["now_explained"]["lines"][0]["acls"][0]["met"] == "no"
    (difference,) = shown["differences"]
    assert (difference["acl"], difference["table"]) == ("from_us", "domains")


def test_without_the_version_it_says_why(server):
    """A policy that was changed before the ingester came: what the line has explains, and the reason is named."""
    code = refused(server)
    server.write_policy(f"{POLICY}# changed\n")
    done = server.command("history", "ingest", "--once")
    why = f"{server.directory}/policy.conf (with what it includes) has changed before it was kept"
    assert done.stderr == f"what is in force is not kept for history show, tried again each minute: {why}\n"
    shown = show(server, code)
    assert f"are not at hand, and the above is what the log recorded: {why}\n" in shown
    assert f"from_us: example.com ({server.directory}/domains:1, table domains)" in shown
    assert json.loads(show(server, code, "--json"))["then"] is None


def test_a_reload_of_settings_is_a_version_of_its_own(server):
    """recipient_delimiter decides, too: the decision is explained with that of then."""
    server.write_source("domains", "example.com\n")
    first = refused(server)
    ingest(server)
    text = server.settings.read_text()
    server.settings.write_text(text.replace('recipient_delimiter = ""', 'recipient_delimiter = "+"'))
    assert server.reload().returncode == 0
    with PolicyClient(server.socket_path) as client:
        second = client.ask(request()).split()[-1]
    eventually(lambda: (server.directory / "history.json").read_text().count('"event":"decision"') == 2)
    ingest(server)
    versions = [json.loads(path.read_text()) for path in (server.directory / "history" / "versions").glob("*.json")]
    assert len({each["settings"] for each in versions}) == len(versions) == 2
    assert all("with the policy and tables of then" in show(server, code) for code in (first, second))


def test_a_full_disk_costs_the_version_alone(server):
    """Where there is room for the decisions and none for the tables, they are found, and it is said once."""
    versions = server.directory / "history" / "versions"
    versions.mkdir(parents=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", versions], check=False).returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        code = refused(server)
        done = server.command("history", "ingest", "--once")
        assert done.stderr.count("\n") == 1
        assert "are not kept, tried again each minute: " in done.stderr
        assert "No space left on device" in done.stderr
        assert "are not at hand" in show(server, code)
        subprocess.run(["mount", "-o", "remount,size=10m", versions], check=True)
        ingest(server)
        assert "with the policy and tables of then" in show(server, code)
    finally:
        subprocess.run(["umount", versions], check=True)
