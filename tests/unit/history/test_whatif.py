"""An exception on the history: what it changes, in which order, how sure that is, and which ones are proposed."""

from __future__ import annotations

import json

import pytest

from forkpolicy.commands.main import main
from forkpolicy.history.ingest import Ingester
from forkpolicy.history.store import Store
from forkpolicy.history.whatif.policies import lines_of
from tests.history_logs import NOON_S, begin, decision, line_of

DAY_S = 86400
POLICY = """\
acl from_us sender @example.com
acl signed_in authenticated
acl often rate {client_address} 2/1h
acl bad rbl bl.example.org
acl wl client_address 198.51.100.0/24
action prove_it REJECT 5.7.1 see {code}
action slow 450 slow down
action default DUNNO
access wl signed_in default
access from_us !signed_in prove_it
access often slow
access bad prove_it
"""
ASKS = "acl x sender a@example.com / acl asks"
LET_IN = "acl partner client_address 192.0.2.0/24 / action in DUNNO / access partner in"


@pytest.fixture
def site(tmp_path, capsys):
    """Settings, and functions that take decisions in and ask what if."""

    class Site:
        settings = tmp_path / "forkpolicy.toml"
        policy = tmp_path / "policy.conf"

        def take(self, *lines, decisions="all"):
            history = f'[history]\nlog = "log.json"\npath = "history"\ndecisions = "{decisions}"\n'
            self.settings.write_text(f'policy = "policy.conf"\n{history}[mail]\nrecipient_delimiter = "+"\n')
            (tmp_path / "log.json").write_bytes(begin() + b"".join(lines))
            ingester = Ingester(
                str(tmp_path / "log.json"), Store(str(tmp_path / "history")), 3650, print, lambda: NOON_S
            )
            ingester.turn()
            ingester.close()

        def ask(self, *words):
            status = main(["whatif", "-c", str(self.settings), *words])
            said = capsys.readouterr()
            return status, said.out, said.err

        def found(self, *words):
            status, out, _ = self.ask("--json", *words)
            return {**json.loads(out), "status": status}

    (tmp_path / "policy.conf").write_text(POLICY)
    return Site()


def answered(line, **answers):
    """With what ACLs answered then."""
    return json.dumps({**json.loads(line), "answers": answers}).encode() + b"\n"


NOT_OFTEN = {"often": {"holds": False}, "bad": {"holds": False}}


def test_says_exactly_what_changes(site):
    """By the pair of replies and rules; what the exception cannot touch is not even looked at."""
    site.take(
        decision(code="0000frgd0000", client_address="192.0.2.7", sender="a@example.com"),
        decision(client_address="203.0.113.9", sender="a@example.com"),
        answered(decision(client_address="192.0.2.8"), often={"holds": False}, bad={"holds": True}),
        answered(decision(client_address="203.0.113.9"), **NOT_OFTEN),
    )
    found = site.found("--except", LET_IN.replace("192.0.2.0/24", "192.0.2.7"), "0000frgd0000")
    assert (found["status"], found["exact"], found["looked_at"], found["changed"]) == (0, True, 1, 1)
    (change,) = found["changes"]
    assert (change["before"]["acls"], change["after"]["rule"]) == ("from_us !signed_in", "exception:3")
    assert (change["kind"], change["samples"][0]["id"]) == ("lets in", "0000frgd0000")
    assert found["decision"]["after"]["action"] == "DUNNO"
    status, out, _ = site.ask("see 0000FRGD0000", "--except", "acl x sender nobody@example.org / access x")
    assert status == 1
    assert out.startswith("0000frgd0000: stays REJECT 5.7.1")
    assert "changes none of the 0 past decisions that it can touch" in out


def test_the_riskiest_come_first(site):
    """Letting in before keeping out; forged senders, DNS lists, clients that several rules have refused; then time."""
    listed = {"often": {"holds": False}, "bad": {"holds": True}}
    refused = [decision(NOON_S - 9, client_address="192.0.2.3", rule=f"policy.conf:{line}") for line in range(7, 9)]
    site.take(
        answered(decision(NOON_S - 1, code="0000pln00000", client_address="192.0.2.1"), **listed),
        answered(decision(NOON_S - 3, code="0000rls00000", client_address="192.0.2.3"), **listed),
        decision(NOON_S - 2, code="0000frgd0000", client_address="192.0.2.2", sender="x@example.com"),
        *(answered(each, **NOT_OFTEN) for each in refused),
        answered(decision(code="0000sgnd0000", client_address="198.51.100.1", sasl_username="joe"), **NOT_OFTEN),
    )
    keep_out = " / acl joe sasl_username joe / action no REJECT / access joe no"
    changes = site.found("--except", LET_IN + keep_out)["changes"]
    assert [each["kind"] for each in changes] == ["lets in", "lets in", "keeps out"]
    assert [[sample["id"] for sample in each["samples"]] for each in changes] == [
        ["0000frgd0000"],
        ["0000rls00000", "0000pln00000"],
        ["0000sgnd0000"],
    ]
    assert changes[1]["samples"][0]["risks"] == ["was on a DNS list", "its client was refused by 2 rules"]
    assert "claims a domain of ours" in changes[0]["samples"][0]["risks"][0]


@pytest.mark.parametrize(
    ("lines", "statements", "why"),
    [
        ([decision(client_address="192.0.2.1")], LET_IN, ["counters", "not asked", "not asked"]),
        ([answered(decision(client_address="192.0.2.1"), often={"holds": True})], LET_IN, ["counters"]),
        ([line_of("log lines dropped", NOON_S, count=3, reason="full")], LET_IN, ["gaps"]),
        ([decision(NOON_S - 2 * DAY_S), decision(client_address="203.0.113.1")], LET_IN, ["missing"]),
        ([json.dumps({**json.loads(decision()), "cut": "line too long"}).encode() + b"\n"], LET_IN, ["cut"]),
        ([json.dumps({**json.loads(decision()), "cut": "values at 300"}).encode() + b"\n"], LET_IN, []),
        (
            [decision(sender="a@example.com")],
            "acl x sender a@example.com / acl l listed x {sender} / access x l",
            ["not asked"],
        ),
    ],
)
def test_doubts_are_named(site, lines, statements, why):
    """Each by a word; a cut line that the exception surely does not touch leaves none."""
    site.take(*lines)
    assert [each["why"] for each in site.found("--except", statements)["doubts"]] == why


def test_acted_decisions_and_damage_leave_doubts(site, tmp_path):
    """A day that cannot be read is left out, and the others are not."""
    site.take(
        decision(NOON_S - DAY_S, client_address="192.0.2.1", sender="a@example.com"),
        decision(client_address="192.0.2.1", sender="a@example.com"),
        decisions="acted",
    )
    (tmp_path / "history/2026-11-28.sqlite").write_bytes(b"no database" * 1000)
    found = site.found("--except", LET_IN)
    assert [each["why"] for each in found["doubts"]] == ["acted", "damaged"]
    assert (found["changed"], found["exact"]) == (1, False)


def test_too_many_are_not_replayed(site, monkeypatch):
    """The newest are."""
    monkeypatch.setattr("forkpolicy.history.whatif.judging.MOST_CANDIDATES", 2)
    senders = [decision(NOON_S + number, code=f"00000000000{number}", sender="a@example.com") for number in range(5)]
    site.take(*senders)
    found = site.found("--except", "acl x helo_name /./ / acl y sender /a@/ / action in DUNNO / access y in")
    assert [each["why"] for each in found["doubts"]] == ["too many"]
    assert [each["id"] for each in found["changes"][0]["samples"]] == ["000000000004", "000000000003"]


@pytest.mark.parametrize(
    ("statements", "place"),
    [
        ("acl x sendr a@example.com / access x", 'exception:1:7: unknown type of ACL "sendr"'),
        ("acl x sender a@b.example / access y", 'exception:2:8: unknown acl or action "y"'),
        ("acl prove_it stress / access prove_it", 'exception:1:5: "prove_it" is an action of the policy'),
        ("action from_us OK", 'exception:1:8: "from_us" is an acl of the policy'),
        ("action slow OK", 'exception:1:8: "slow" is an action of the policy'),
        ("acl wl sender a@example.com", 'exception:1:5: "wl" is an acl of type client_address of the policy'),
        ("acl often rate {sender} 1/1h", 'exception:1:5: "often" is an acl of type rate of the policy'),
        ("table t domain x", "exception:1:7: a table cannot be declared here"),
        ("access wl # not now", "exception:1:11: a comment stands on a line of its own"),
    ],
)
def test_mistakes_are_at_the_word_that_is_new(site, statements, place):
    """Never at a word of the policy."""
    site.take(decision())
    status, out, err = site.ask("--except", statements)
    assert (status, out) == (78, "")
    assert place in err
    assert "policy.conf:" not in err.replace(f"({site.policy}:", "(")


def test_values_are_added_to_an_acl_of_the_policy(site):
    """As they would be in the file: rules that ask it change."""
    site.take(decision(client_address="192.0.2.1", sender="a@example.com", sasl_username="joe"))
    site.policy.write_text(POLICY.replace("access wl signed_in default", "access wl prove_it"))
    found = site.found("--except", "acl wl client_address 192.0.2.1")
    assert [each["after"]["acls"] for each in found["changes"]] == ["wl"]


def test_proposals_can_be_pasted(site):
    """From the narrowest to the widest, for good and until a day; each lets the decision's mail in where it stands in
    the policy.
    """
    site.take(
        decision(
            code="0000frgd0000", client_address="192.0.2.7", sender="A(x)@Example.com", recipient="b+x@example.net"
        ),
        decision(client_address="192.0.2.8", sender="c@example.com"),
    )
    found = site.found("0000frgd0000", "--until", "2027-01-31")
    proposals = found["proposals"]
    assert [(each["changed"], each["until"]) for each in proposals] == [
        (count, until) for count in (1, 1, 2, 2) for until in (None, "2027-01-31")
    ]
    for each in proposals:
        site.policy.write_text(POLICY.replace("access wl", f"{each['exception']}access wl", 1))
        again = site.found("0000frgd0000", "--except", "acl never stress / access never")
        assert again["decision"]["before"]["action"] == "DUNNO"
    assert site.ask("0000frgd0000", "--until", "soon")[0] == 2


def test_one_line_is_several_statements():
    """But not within quotes."""
    assert lines_of("acl x sender /a/ / access x") == "acl x sender /a/\naccess x\n"
    assert lines_of('action x REJECT "a / b" c / access x') == 'action x REJECT "a / b" c\naccess x\n'
    assert lines_of('action x REJECT 5" / access x') == 'action x REJECT 5"\naccess x\n'


@pytest.mark.parametrize(
    "words", ["", "nonsense", "--except access --since soon", "--except-file no", "--most 0 --except access"]
)
def test_wrong_usage_is_named(site, words):
    """Without a traceback."""
    site.take(decision())
    assert site.ask(*words.split())[0] == 2
    assert site.ask("000000000000")[0] == 1
