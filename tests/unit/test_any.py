"""ACLs of type `any`: others, asked from left to right up to the first term that is met."""

from __future__ import annotations

import pytest

from forkpolicy.policy.checks.find import find_warnings
from forkpolicy.policy.plan.index import COSTS_US, guarded
from forkpolicy.protocol.layout import wanted_values
from tests.fakes import decide, diagnostics_of, policy_of, request_of
from tests.unit.test_remembering import Server, messages

TRUSTED = """\
table partners cidr list
table torn domain list
acl inside client_address 10.0.0.0/8
acl signed_in authenticated
acl partner client_address table:partners
acl broken sender table:torn
acl small size <1000
acl trusted any inside signed_in partner
acl stranger any !trusted
acl mended any broken inside
acl sized any small inside
action y OK
"""
ROWS = {"partners": {"192.0.2.1": "gold", "10.0.0.1": "inner"}, "torn": None}


@pytest.mark.parametrize(
    ("attributes", "rule", "reply"),
    [
        ({"client_address": "10.1.2.3"}, "trusted y", "OK"),
        ({"sasl_username": "anna"}, "trusted y", "OK"),
        ({"client_address": "192.0.2.1"}, "trusted y", "OK"),
        ({}, "trusted y", "DUNNO"),
        ({}, "!trusted y", "OK"),
        ({}, "stranger y", "OK"),
        ({"client_address": "10.1.2.3"}, "stranger y", "DUNNO"),
        ({"client_address": "10.1.2.3"}, "!stranger y", "OK"),
        # A term that fails is not met, and the next is asked.
        ({"client_address": "10.1.2.3"}, "mended y", "OK"),
        ({}, "mended y", "DEFER_IF_PERMIT 4.3.0 Policy temporarily unavailable"),
        ({}, "!mended y", "DEFER_IF_PERMIT 4.3.0 Policy temporarily unavailable"),
        # Neither does one that cannot be known keep another from being met.
        ({"client_address": "10.1.2.3"}, "sized y", "OK"),
        ({"size": "10"}, "sized y", "OK"),
        ({"size": "0"}, "sized y", "DUNNO"),
        ({"size": "0"}, "!sized y", "DUNNO"),
        ({"size": "2000"}, "!sized y", "OK"),
    ],
)
def test_the_first_term_that_is_met_decides(attributes, rule, reply):
    """None is: it fails if one failed, else cannot be known if one cannot, else does not hold."""
    assert decide(policy_of(f"{TRUSTED}access {rule}\n", ROWS), **attributes) == reply


def test_statements_of_one_name_add_up():
    """Also where a rule stands between them."""
    policy = policy_of(
        "acl a helo_name a.example\nacl b helo_name b.example\naction y OK\nacl x any a\naccess x y\nacl x any b\n"
    )
    assert decide(policy, helo_name="b.example") == "OK"


def test_a_term_is_asked_when_its_turn_comes_and_once():
    """A limit counts only what comes to it, and one that several ask counts a request once."""
    server = Server(
        "acl inside client_address 10.0.0.0/8\nacl busy rate {client_address} 1/1h\nacl wild rate {sender} 9/1h\n"
        "acl much any inside busy wild\nacl also any busy wild\naccess much slow\naccess also busy slow\n"
    )
    assert messages(server, 2, client_address="10.1.2.3") == ["450 4.7.1 slow"] * 2
    assert server.records == {}
    assert messages(server, 3) == ["DUNNO", "450 4.7.1 slow", "450 4.7.1 slow"]
    # The last term comes to its turn only where the limit in front of it does not hold.
    assert server.policy.answered == {
        ("rate", "busy", "under"): 1,
        ("rate", "busy", "over"): 2,
        ("rate", "wild", "under"): 1,
    }


def test_right_of_a_term_that_failed_it_is_not_asked():
    """As any ACL that remembers: what the rest says decides between on_error and the next rule."""
    server = Server(
        "table torn domain x\nacl torn sender table:torn\nacl busy rate {client_address} 1/1h\n"
        "acl us recipient @example.com\nacl much any us busy\naccess torn much slow\n",
        {"torn": None},
    )
    assert server.ask().startswith("DEFER_IF_PERMIT")
    assert server.records == {}


@pytest.mark.parametrize(
    ("attributes", "text"),
    [
        ({"client_address": "192.0.2.1"}, "gold"),
        ({"client_address": "10.0.0.1"}, ""),
        ({"client_address": "192.0.2.1", "sender": "a@example.net"}, "listed"),
    ],
)
def test_what_is_put_in_is_that_of_the_term_that_was_met(attributes, text):
    """In the order of the terms, whatever others would have found."""
    policy = policy_of(
        "table t domain x\ntable p cidr x\nacl inside client_address 10.0.0.0/8\nacl known sender table:t\n"
        "acl partner client_address table:p\nacl deep any known partner\nacl x any inside deep\n"
        "action y REJECT no {match.x}\naccess x y\n",
        {"t": {"example.net": "listed"}, "p": {"192.0.2.1": "gold", "10.0.0.1": "inner"}},
    )
    assert decide(policy, **attributes) == f"REJECT no {text}"


def test_the_seconds_of_the_limit_that_held_are_put_in():
    """An ACL that is asked once is not asked for them."""
    server = Server(
        "acl busy rate {client_address} 1/1h\nacl wild rate {sender} 9/1h\nacl much any wild busy\n"
        "action wait 450 4.7.1 wait {match.much} s\naccess much wait\n"
    )
    assert messages(server, 2) == ["DUNNO", "450 4.7.1 wait 3700 s"]
    assert server.used("wild") == [2]


MISTAKES = [
    ("acl x any", "2:7", "any needs a value", ""),
    ("acl x any nobody", "2:11", 'unknown acl "nobody"', "declare it before"),
    ("acl x any insid", "2:11", 'unknown acl "insid"', 'did you mean "inside"?'),
    ("acl x any inside x", "2:18", 'acl "x" cannot ask itself', ""),
    ("acl x any inside !", "2:18", 'a "!" alone', ""),
    ("acl x any !!inside", "2:11", 'a double "!"', 'did you mean "inside"?'),
    (
        "action no REJECT\nacl x any inside no",
        "3:18",
        '"no" is an action, and any asks ACLs',
        "stands at the end of an",
    ),
    (
        "acl x any late\nacl late sender a@b.example",
        "2:11",
        'acl "late" is declared later, in line 3',
        "above the first",
    ),
    (
        "acl x any inside\nacl late sender a@b.example\nacl x any late",
        "4:11",
        'acl "late" is declared later, in line 3',
        'above the first statement of "x", line 2',
    ),
    ("acl l log\nacl x any inside l", "3:18", 'acl "l" of type log always holds', "it belongs into an access"),
    ("acl x any inside\naction inside REJECT", "3:8", '"inside" is an acl already', ""),
    ("acl x any inside\naction y REJECT {match.x}", "3:10", 'acl "x" asks no table and remembers nothing', ""),
    ("acl x any inside\nacl r rate {match.x} 1/1h", "3:12", 'acl "x" is of type any: expected an acl that asks', ""),
    (
        "table t key f\nacl s score >1\nacl k sender table:t\nacl x any s k\naction y REJECT {match.x}",
        "6:10",
        'acl "x" has a term of type score',
        "a rule for the score of its own",
    ),
]


@pytest.mark.parametrize(("text", "place", "message", "hint"), MISTAKES, ids=[row[0][:40] for row in MISTAKES])
def test_a_mistake_is_told_with_its_place(text, place, message, hint):
    """What is wrong, where, and what was meant."""
    told = diagnostics_of(f"acl inside client_address 10.0.0.0/8\n{text}\n")
    assert any(each.startswith(f"policy.conf:{place}: ") and message in each and hint in each for each in told), told


def warnings_of(text):
    return [f"{each.line}: {each.message} ({each.hint})" for each in find_warnings(policy_of(text).model, {})]


HEAD = """\
acl inside client_address 10.0.0.0/8
acl office client_address 10.1.0.0/16
acl signed_in authenticated
acl trusted any inside signed_in
acl same any signed_in inside
acl busy rate {client_address} 9/1h
action y DUNNO
action n REJECT no
"""


@pytest.mark.parametrize(
    ("rules", "line", "message"),
    [
        ("access trusted y\naccess office n", 10, "shadowed by line 9"),
        ("access trusted y\naccess same n", 10, "shadowed by line 9"),
        ("access !inside y\naccess !trusted n", 10, None),
        ("access office !trusted y", 9, "trusted holds whenever office does"),
        ("access trusted !inside y", 9, None),
        ("acl out any !inside\naccess out inside y", 10, None),
        (
            "acl a sender @a.example\nacl b sender @b.example\nacl ab any a b\nacl c sender c.example\naccess ab c n",
            13,
            "have no value",
        ),
        ("acl much any busy inside\naccess much n", 9, "busy counts requests for which much holds anyway"),
        ("acl much any inside busy\naccess much n", 9, None),
        ("acl much any signed_in busy\naccess much office n", 10, "much counts requests that the rest of the rule"),
        ("acl much any inside busy\naccess much n\naccess office n", 10, "counts mail that a later rule may refuse"),
        (
            "acl early protocol_state MAIL\nacl late any early\nacl rcpt protocol_state RCPT\naccess late rcpt n",
            12,
            "never",
        ),
        (
            "acl wait greylisting\nacl later any wait busy\naction d 450 4.7.1 later\naccess later d",
            12,
            "greylisting makes",
        ),
        ("acl wait greylisting\nacl later any wait\naction d 450 4.7.1 later\naccess !trusted later d", 12, None),
    ],
)
def test_what_check_says(rules, line, message):
    """As about rules: what never fires, what counts too much, whom greylisting meets."""
    told = [each for each in warnings_of(f"{HEAD}{rules}\n") if each.startswith(f"{line}: ")]
    assert any(message in each for each in told) if message else told == []


def test_terms_are_used():
    """Of an ACL that a rule asks, at any depth; else neither is."""
    told = warnings_of(f"{HEAD}acl deep any trusted busy\nacl idle any office\naccess deep same n\n")
    assert [each.split(" (")[0] for each in told if "never used" in each] == [
        '2: acl "office" is never used',
        '7: action "y" is never used',
        '10: acl "idle" is never used',
    ]


def test_rules_are_found_by_an_index_of_their_terms():
    """A thousand rules with such ACLs cost a look-up in each index; a `!` or a term without an index has none."""
    acls = "".join(
        f"acl r{at} recipient u{at}@a.example\nacl c{at} client_address 192.0.2.{at}\nacl x{at} any r{at} c{at}\n"
        for at in range(100)
    )
    rules = "".join(f"access x{at} n\n" for at in range(100))
    indexes = guarded(policy_of(f"action n REJECT\n{acls}{rules}").model.rules, COSTS_US)
    assert [len(each) for each in indexes] == [100, 100]
    for terms in ("!r{at} c{at}", "r{at} login"):
        other = acls.replace("acl r0", "acl login authenticated\nacl r0", 1)
        for at in range(100):
            other = other.replace(f"any r{at} c{at}", f"any {terms.format(at=at)}")
        assert guarded(policy_of(f"action n REJECT\n{other}{rules}").model.rules, COSTS_US) == []


def test_the_reply_of_the_service_that_was_met_is_passed_on():
    """Where all terms are services; else the action itself must be written out."""
    services = "acl one service unix:a REJECT\nacl two service unix:b DEFER\nacl us sender @example.com\n"
    policy = policy_of(f"{services}acl x any one two\naction pass {{match.x}}\naccess x pass\n")
    (rule,) = policy.model.rules
    assert rule.action.passes_on == {"REJECT", "DEFER"}
    told = diagnostics_of(f"{services}acl x any one us\naction pass {{match.x}}\naccess x pass\n")
    assert any("the action itself is written out" in each for each in told)


def test_a_score_is_compared_in_each_rule():
    """The one answer that changes within a request."""
    policy = policy_of(
        "acl heavy score >=2\nacl us sender @us.example\nacl x any us heavy\nacl all helo_name /./\n"
        "action w score +1\naction one REJECT one\naction two REJECT two\n"
        "access all w\naccess x one\naccess all w\naccess x two\n"
    )
    assert decide(policy) == "REJECT two"
    assert decide(policy, sender="a@us.example") == "REJECT one"


def test_a_term_that_nobody_asks_leaves_it_open():
    """`explain` asks no service: it may hold."""
    policy = policy_of("acl one service unix:a REJECT\nacl us sender @us.example\nacl x any us one\naccess x\n")
    (tried,) = policy.trace(wanted_values(request_of(), policy.wanted)).tried
    ((looked, _),) = tried.looked
    assert (looked.answer.value, looked.reason) == ("not asked", "one was not asked")
