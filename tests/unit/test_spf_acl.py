"""The ACL type `spf`: its values, when it is known, what is asked, and what a reply may put in."""

from __future__ import annotations

import sys

import pytest

from forkpolicy.errors import WorldError
from forkpolicy.policy.answers import NOT_ASKED, Mode
from forkpolicy.policy.checks.find import find_warnings
from forkpolicy.policy.evaluate import Answer
from forkpolicy.postfix.addresses import Rewriting
from forkpolicy.protocol.layout import wanted_values
from forkpolicy.protocol.reply import parse_reply
from forkpolicy.world.spf import RESULTS, Spf, SpfAnswer, check
from tests.fakes import diagnostics_of, policy_of, request_of

FORGED = "acl forged spf fail softfail\naction no REJECT\naccess forged no\n"
CLIENT = "203.0.113.5"


class Asked:
    """A policy whose questions to the world get this result, or fail with an exception. `questions`: what was asked."""

    def __init__(self, text, result="fail", **more):
        self.policy = policy_of(text, **more)
        self.result, self.questions = result, []
        self.policy.answer_with(Mode(self.answer, self.answer))
        self.policy.indexed.answer_with(Mode(self.answer, self.answer))

    def answer(self, question):
        self.questions.append(question)
        if isinstance(self.result, Exception):
            raise self.result
        return SpfAnswer(self.result, f"{self.result} (header)", "why")

    def decide(self, **attributes):
        """The text of the reply: of the plan, with and without an index, and of the exact evaluation."""
        values = wanted_values(request_of(**attributes), self.policy.wanted)
        rule = self.policy.decide(values).rule
        assert self.policy.indexed.decide(values).rule.number == rule.number
        mode = Mode(self.answer, self.answer)
        assert self.policy.trace(values, mode).outcome is rule
        return self.policy.text(rule, values)

    def looked(self, mode=None, **attributes):
        """What the exact evaluation finds of the first ACL."""
        values = wanted_values(request_of(**attributes), self.policy.wanted)
        trace = self.policy.trace(values, mode or Mode(self.answer, self.answer))
        return trace.tried[0].looked[0][0]


@pytest.mark.parametrize("result", RESULTS)
def test_it_holds_for_its_results(result):
    """And for no other; temperror cannot be known unless it is one of them."""
    decided = "REJECT" if result in ("fail", "softfail") else "DUNNO"
    assert Asked(FORGED, result).decide() == decided
    assert Asked(FORGED.replace("fail softfail", result.upper()), result).decide() == "REJECT"


@pytest.mark.parametrize("result", RESULTS)
def test_its_negation(result):
    """`!` holds for all other results, but not where nobody knows."""
    decided = "DUNNO" if result in ("pass", "temperror") else "REJECT"
    assert Asked("acl ok spf pass\naction no REJECT\naccess !ok no\n", result).decide() == decided


def test_a_dns_that_does_not_answer_leaves_it_unknown():
    """With the reason; what is no failure of the world is one of the request."""
    for failure in ("temperror", WorldError("too late")):
        asked = Asked("acl ok spf pass\naction no REJECT\naccess !ok no\naccess ok no\n", failure)
        assert asked.decide() == "DUNNO"
        looked = asked.looked()
        assert looked.answer is Answer.UNKNOWN
        assert looked.reason in ("temperror: why", "too late")
    assert Asked(FORGED, ValueError("a bug")).decide().startswith("DEFER_IF_PERMIT")


@pytest.mark.parametrize(
    ("state", "asked"),
    [
        ("CONNECT", 0),
        ("EHLO", 0),
        ("HELO", 0),
        ("MAIL", 1),
        ("RCPT", 1),
        ("DATA", 1),
        ("END-OF-MESSAGE", 1),
        ("VRFY", 0),
        ("ETRN", 0),
    ],
)
def test_it_is_known_from_mail_on(state, asked):
    """Nobody is asked before, and neither it nor its negation fires."""
    both = Asked("acl bad spf fail\naction no REJECT\naccess bad no\naccess !bad no\n")
    assert both.decide(protocol_state=state) == ("REJECT" if asked else "DUNNO")
    assert bool(both.questions) is bool(asked)


@pytest.mark.parametrize(
    ("attributes", "question"),
    [
        ({}, Spf(CLIENT, "a@example.com", "mail.example.org")),
        ({"sender": ""}, Spf(CLIENT, "", "mail.example.org")),
        ({"sender": "Anna@EXAMPLE.com."}, Spf(CLIENT, "Anna@example.com", "mail.example.org")),
        ({"sender": "a@bücher.example"}, Spf(CLIENT, "a@xn--bcher-kva.example", "mail.example.org")),
        ({"sender": "x@y@example.com"}, Spf(CLIENT, "x@y@example.com", "mail.example.org")),
        ({"sender": "anna"}, Spf(CLIENT, "anna", "mail.example.org")),
        ({"helo_name": "MX.Example.ORG."}, Spf(CLIENT, "a@example.com", "mx.example.org")),
        ({"helo_name": ""}, Spf(CLIENT, "a@example.com", "")),
        ({"client_address": "unknown"}, Spf("unknown", "a@example.com", "mail.example.org")),
    ],
)
def test_what_is_asked(attributes, question):
    """Equal messages are equal questions: domains are folded, local parts are the sender's own."""
    asked = Asked(FORGED)
    asked.decide(**attributes)
    assert set(asked.questions) == {question}


def test_a_sender_is_the_one_that_postfix_will_answer_to():
    """As in every other ACL: a bare local part is one of the site, whose record decides."""
    asked = Asked(FORGED, views=Rewriting(myorigin="example.net").views)
    asked.decide(sender="boss")
    assert asked.questions[0].sender == "boss@example.net"


def test_it_is_asked_only_where_the_rest_left_of_it_is_met():
    """Nobody asks the DNS about those who have signed in."""
    asked = Asked("acl in authenticated\nacl bad spf fail\naction no REJECT\naccess !in bad no\n")
    signed_in = {"sasl_method": "PLAIN", "sasl_username": "anna"}
    assert asked.decide(**signed_in) == "DUNNO"
    assert not asked.questions
    assert asked.decide() == "REJECT"


def test_statements_add_up():
    """As those of every type that does not remember."""
    assert (
        Asked("acl bad spf fail\nacl bad spf softfail\naction no REJECT\naccess bad no\n", "softfail").decide()
        == "REJECT"
    )


HEADER = """
acl any_result spf pass fail softfail neutral none permerror temperror
action mark PREPEND Received-SPF: {match.any_result}
access any_result mark
"""


def test_the_header_is_put_in_whole():
    """Up to its 400 bytes, as one valid reply; empty where it does not hold."""
    asked = Asked(HEADER)
    long = check(Spf(CLIENT, "b" * 90 + "@example.com", "mx"), lambda *_: [b"v=spf1 -all"], "mx.example.net")
    assert 380 <= len(long.header) <= 400, len(long.header)
    asked.policy.answer_with(Mode(asked.answer, lambda _: long))
    values = wanted_values(request_of(), asked.policy.wanted)
    text = asked.policy.text(asked.policy.decide(values).rule, values)
    assert text == f"PREPEND Received-SPF: {long.header}"
    parse_reply(text)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("", "spf needs a value"),
        (
            "fial",
            '"fial" is not a result of SPF: expected pass, fail, softfail, neutral, none, permerror, temperror; did',
        ),
        ("pass table:x", '"table:x" is not a result of SPF'),
    ],
)
def test_mistakes(values, message):
    """What is not a result is an error at its word."""
    found = diagnostics_of(f"acl bad spf {values}\naction no REJECT\naccess bad no\n")
    assert len(found) == 1
    assert message in found[0]


def test_a_missing_package_is_an_error_with_what_to_install(monkeypatch):
    """Whoever loads such a policy must know before the first mail comes."""
    monkeypatch.setitem(sys.modules, "spf", None)
    monkeypatch.delitem(sys.modules, "forkpolicy.world.pyspf", raising=False)
    found = diagnostics_of(FORGED)
    assert len(found) == 1
    assert "policy.conf:1:12: spf needs " in found[0]
    assert "pip install 'forkpolicy[dns]'" in found[0]


def test_what_explain_shows():
    """Who sends for whom, and the result; `not asked` where nobody was asked."""
    asked = Asked(FORGED)
    looked = asked.looked(sender="")
    assert looked.answer is Answer.HOLDS
    assert looked.acl.asks.in_words(looked.given.question, looked.given.answer) == (
        "203.0.113.5 for the null sender of mail.example.org: fail (why)"
    )
    assert asked.looked(NOT_ASKED).answer is Answer.NOT_ASKED


@pytest.mark.parametrize(
    ("rules", "warning"),
    [
        ("access worse no\naccess bad no\n", "this rule never fires: it is shadowed by"),
        ("access bad good no\n", "bad and good have no value in common"),
        ("access bad no\naccess worse no\n", ""),
    ],
)
def test_rules_about_results_are_compared(rules, warning):
    """`check` finds what never fires: a message has one result."""
    acls = "acl bad spf fail\nacl worse spf fail softfail\nacl good spf pass\naction no REJECT\n"
    found = [str(each) for each in find_warnings(policy_of(acls + rules).model, {}) if each.line > 4]
    assert [warning in each for each in found] == [True] * bool(warning)


@pytest.mark.parametrize("action", ["FILTER {match.bad}", "REDIRECT {match.bad}", "PREPEND {match.bad}: yes"])
def test_the_header_decides_neither_where_mail_goes_nor_which_header_it_is(action):
    """It has what the client calls itself."""
    found = diagnostics_of(f"acl bad spf fail\naction go {action}\naccess bad go\n")
    assert len(found) == 1
    assert "{match.bad}" in found[0]
