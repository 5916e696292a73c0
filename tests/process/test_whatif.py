"""From a refused mail to the exception that lets it in: what was said it would change is what a replay says."""

from __future__ import annotations

import json

from loadtest.clients.policy_client import PolicyClient
from tests.process.conftest import FORGED, request
from tests.process.waiting import eventually

POLICY = """
table domains domain domains
acl from_us sender table:domains
acl signed_in authenticated
acl often rate {client_address} 3/1h count=requests
action prove_it REJECT 5.7.1 see {code}
action slow 450 slow
access from_us !signed_in prove_it
access often slow
"""


def test_an_exception_changes_what_it_said(make_server):
    """Proposed, tried on the history, written into the policy, and replayed: the same decisions change."""
    server = make_server(POLICY)
    text = server.settings.read_text()
    server.settings.write_text(f'{text}\n[history]\nlog = "history.json"\npath = "history"\ndecisions = "all"\n')
    server.start()
    log = server.directory / "history.json"
    with PolicyClient(server.socket_path) as client:
        replies = [client.ask(FORGED), client.ask(request("b@example.com", "c@example.com"))]
        replies += [client.ask(request("a@example.org", client_address="198.51.100.7")) for _ in range(5)]
    assert [each.partition(" ")[0] for each in replies] == ["REJECT"] * 2 + ["DUNNO"] * 3 + ["450"] * 2
    eventually(lambda: log.read_text().count('"event":"decision"') == len(replies))
    assert server.command("history", "ingest", "--once").returncode == 0
    refused = replies[0].rpartition(" ")[2]
    proposals = json.loads(server.command("whatif", refused, "--json").stdout)["proposals"]
    assert [each["changed"] for each in proposals[:2]] == [1, 1]
    statements = "acl partner client_address 198.51.100.0/24\nacl us sender table:domains\naccess us\naccess partner\n"
    exception = server.directory / "exception"
    exception.write_text(statements)
    found = server.command("whatif", "--except-file", str(exception), "--json")
    # Without the rate limit nothing would have been counted.
    tried = json.loads(found.stdout)
    assert (found.returncode, tried["changed"], [each["why"] for each in tried["doubts"]]) == (0, 4, ["counters"])
    (server.directory / "with.conf").write_text(POLICY.replace("access from_us", f"{statements}access from_us"))
    other = server.directory / "with.toml"
    other.write_text(server.settings.read_text().replace("policy.conf", "with.conf"))
    # The ingester has renamed the log; its lines are those that were taken in.
    files = [each for each in server.directory.glob("history.json*") if each.read_text().count('"decision"')]
    replayed = json.loads(
        server.command("replay", "--recorded", "--json", "--against", str(other), *map(str, files)).stdout
    )
    changes = {(each["before"]["action"], each["after"]["action"]): each["requests"] for each in replayed["changes"]}
    mine = {(each["before"]["action"], each["after"]["action"]): each["decisions"] for each in tried["changes"]}
    assert mine == changes
    wrong = server.command("whatif", "--except", "acl x sendr a@example.org / access x")
    assert (wrong.returncode, "exception:1:7:" in wrong.stderr) == (78, True)
