"""A candidate policy and a real server: as its shadow while it serves, and against the log that it wrote."""

from __future__ import annotations

import json

from loadtest.clients.policy_client import PolicyClient
from tests.process.conftest import FINE, FORGED, POLICY, REJECT
from tests.process.waiting import eventually

CANDIDATE = POLICY.replace("REJECT 5.7.1 authenticate first", "450 4.7.1 later")


def shadowed(server, candidate):
    """The server's settings with this policy as its shadow."""
    (server.settings.parent / "candidate.conf").write_text(candidate)
    text = server.settings.read_text()
    if "shadow =" not in text:
        server.settings.write_text(f'shadow = "candidate.conf"\n{text}')


def test_a_shadow_shows_in_status_and_log_and_answers_nothing(server, client):
    """Loaded by a reload, counted over all workers, logged with both replies; a broken one is left out and reported."""
    shadowed(server, CANDIDATE)
    assert server.reload().returncode == 0
    for _ in range(3):
        assert client.ask(FORGED) == REJECT
        assert client.ask(FINE) == "DUNNO"
    status = eventually(
        lambda: (text := server.command("status").stdout) and "differently to 3 of 6 requests" in text and text
    )
    assert "policy.conf:7 -> " in status
    eventually(lambda: 'answered="REJECT 5.7.1 authenticate first" shadow="450 4.7.1 later"' in server.said())
    shadowed(server, "acces x\n")
    checked = server.command("check")
    assert (checked.returncode, "the shadow policy is left out" in checked.stdout) == (0, True)
    assert server.reload().returncode == 0
    assert "candidate.conf is left out: it failed to load" in server.command("status").stdout
    eventually(lambda: "is left out: it failed to load" in server.said())
    assert client.ask(FORGED) == REJECT


def test_the_log_of_a_day_against_a_candidate(make_server):
    """What a server has logged of all decisions says exactly what another policy would have changed."""
    server = make_server(workers=2)
    text = server.settings.read_text().replace("[log]\n", "")
    lines = [line for line in text.splitlines() if not line.startswith(("decisions", "format", "target"))]
    settings = "\n".join([*lines, "[log]", 'decisions = "all"', 'format = "json"', 'target = "decisions.log"', ""])
    server.settings.write_text(settings)
    server.start()
    with PolicyClient(server.socket_path) as client:
        for _ in range(5):
            assert client.ask(FORGED) == REJECT
            assert client.ask(FINE) == "DUNNO"
    log = server.settings.parent / "decisions.log"
    eventually(lambda: log.read_text().count('"event":"decision"') == 10)
    other = server.settings.parent / "other.toml"
    (server.settings.parent / "other.conf").write_text(CANDIDATE)
    other.write_text(settings.replace("policy.conf", "other.conf"))
    done = server.command("replay", "--against", str(other), "--json", str(log))
    assert done.returncode == 1, done.stderr
    report = json.loads(done.stdout)
    assert (report["requests"], report["changed"], report["left_out"]) == (10, 5, {})
    assert report["actions"] == {"REJECT": 5, "DUNNO": 5}
    assert [each["after"]["action"] for each in report["changes"]] == ["450 4.7.1 later"]
