"""The compiled policy, the exact evaluation and a slow reference say the same about random policies and requests."""

from __future__ import annotations

import itertools
import os
from datetime import datetime
from unittest import mock

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from forkpolicy.errors import TableError
from forkpolicy.policy.matchers import types
from forkpolicy.policy.matchers.context import AclType
from forkpolicy.policy.matchers.matcher import Asking, Finding, Matcher
from forkpolicy.postfix.addresses import Rewriting
from forkpolicy.protocol.layout import wanted_values
from forkpolicy.protocol.request import Request
from tests import reference
from tests.fakes import ALWAYS, NEVER, policy_of, request_of

DOMAINS = ["example.com", "a.example.com", "example.net", "com"]
LOCALS = ["u", "U", "abuse", "x+y"]
ADDRESSES = [f"{local}@{domain}" for local in LOCALS for domain in DOMAINS] + ["", "a@b@example.net"]
ADDRESSES += [*reference.REWRITTEN, "u@example.org", "u@"]
VIEWS = Rewriting(myorigin="example.com", local_domains=["example.com"]).views
HOSTS = ["example.com", "mail.example.com", "Mail.Example.COM.", "unknown", "", "192.0.2.1"]
CLIENTS = ["192.0.2.1", "192.0.2.200", "198.51.100.7", "2001:db8::1", "::ffff:192.0.2.1", "unknown", ""]
DAYS = ["2026-12-23", "2026-12-24", "2026-12-25", "2027-01-06", "2027-01-07"]
SIZES = ["", "0", "1", "100", "5000", "many"]

requests = st.fixed_dictionaries(
    {
        "protocol_state": st.sampled_from(reference.STATES),
        "client_address": st.sampled_from(CLIENTS),
        "client_name": st.sampled_from(HOSTS),
        "helo_name": st.sampled_from(HOSTS),
        "sender": st.sampled_from(ADDRESSES),
        "recipient": st.sampled_from(ADDRESSES),
        "sasl_username": st.sampled_from(["", "u", "U"]),
        "sasl_method": st.sampled_from(["", "PLAIN", "LOGIN"]),
        "encryption_protocol": st.sampled_from(["", "TLSv1.3"]),
        "policy_context": st.sampled_from(["", "submission"]),
        "size": st.sampled_from(SIZES),
    }
)

ADDRESS_VALUES = [
    "@example.com",
    "example.net",
    ".com",
    ".example.com",
    "u@",
    "u@example.com",
    "<>",
    "(abuse|x)",
    "table:d",
]
VALUES = {
    "sender": [*ADDRESS_VALUES, "{recipient}", "table:broken"],
    "recipient": ADDRESS_VALUES,
    "client_address": ["192.0.2.0/24", "192.0.2.1", "192.0.2.1-198.51.100.7", "2001:db8::/32", "0.0.0.0/0"],
    "client_name": ["mail.example.com", ".example.com", "^unknown$", "{helo_name}"],
    "helo_name": ["example.com", ".com", r"^[0-9.]+$"],
    "sasl_method": ["PLAIN", "(PLAIN|LOGIN)"],
    "sasl_username": ["u", "table:k"],
    "policy_context": ["submission", "^$"],
    "date": ["2026-12-24", "2026-12-24..2027-01-06", "12-24..01-06", "12-25", "01-01..12-24"],
    "size": ["10", ">=100", "<100", "<=100", "=0", "1-200"],
}
acls = st.one_of(
    st.sampled_from(sorted(VALUES)).flatmap(
        lambda kind: st.tuples(
            st.just(kind), st.lists(st.sampled_from(VALUES[kind]), min_size=1, max_size=3, unique=True)
        )
    ),
    st.tuples(st.just("unqualified"), st.sampled_from([["sender"], ["recipient"]])),
    st.tuples(st.sampled_from(["authenticated", "encrypted", "null_sender"]), st.just([])),
    st.tuples(st.just("score"), st.sampled_from([[">=0"], [">=1"], [">=2.5"]])),
    st.tuples(st.just("counted"), st.sampled_from([["yes"], ["no"], ["fails"]])),
)
ACTIONS = ["reject", "dunno", "ok", "log1", "log2", "score1", "score2", "score-1"]


class Counted(Matcher):
    """Stands for the ACL types that remember: it counts how often it is asked. Its value says what it answers."""

    attributes = ("sasl_username",)
    asking = Asking.COUNTS

    def __init__(self, word):
        self.word, self.asked = word, 0

    def find(self, *_values):
        self.asked += 1
        if self.word.text == "fails":
            raise TableError("it fails")
        return Finding(self.word.text, self.word.place) if self.word.text == "yes" else None


@pytest.fixture(scope="module", autouse=True)
def counted_type():
    """There is a type of ACL that counts."""
    types.TYPES["counted"] = AclType(lambda _type_word, words, _context: [Counted(word) for word in words])
    yield
    del types.TYPES["counted"]


def asked_of(policy):
    """The counting ACLs that were asked since the last time; each once, or this says how often."""
    counted = {acl.name: acl.matchers[0] for acl in policy.model.acls.values() if acl.type_name == "counted"}
    asked = {name: matcher.asked for name, matcher in counted.items() if matcher.asked}
    for matcher in counted.values():
        matcher.asked = 0
    assert set(asked.values()) <= {1}, asked
    return set(asked)


@st.composite
def policies(draw):
    """A policy as data, in which every ACL is declared before any line."""
    named = {f"acl{number}": acl for number, acl in enumerate(draw(st.lists(acls, min_size=1, max_size=6)))}
    clause = st.tuples(st.booleans(), st.sampled_from(sorted(named)))
    line = st.tuples(st.lists(clause, min_size=1, max_size=4), st.sampled_from(ACTIONS))
    tables = {"d": {"example.com"}, "k": {"u"}, "broken": None}
    lines = draw(st.lists(line, min_size=1, max_size=8))
    return {"acls": named, "lines": lines, "tables": tables, "now": draw(st.sampled_from(DAYS))}


def as_text(policy):
    """The same as a policy file."""
    lines = ["table d domain x", "table k key x", "table broken domain x"]
    for name, (kind, values) in policy["acls"].items():
        lines.append(f"acl {name} {kind} {' '.join(values)}{' tz=UTC' * (kind == 'date')}")
    for action in ACTIONS:
        reply = (
            f"score {action[5:]}" if action.startswith("score") else "log it" if action.startswith("log") else action
        )
        lines.append(f"action {action} {reply}")
    for clauses, action in policy["lines"]:
        words = [f"{'!' if negated else ''}{name}" for negated, name in clauses]
        lines.append(f"access {' '.join(words)} {action}")
    return "\n".join(lines) + "\n"


BEHIND_A_FAILURE = {
    "acls": {
        "fails": ("sender", ["table:broken"]),
        "counts": ("counted", ["no"]),
        "to_us": ("recipient", ["@example.com"]),
    },
    "lines": [([(False, "fails"), (False, "counts"), (False, "to_us")], "reject")],
    "tables": {"d": set(), "k": set(), "broken": None},
    "now": DAYS[0],
}


# The nightly size is FORKPOLICY_EXAMPLES=100000.
@settings(
    max_examples=int(os.environ.get("FORKPOLICY_EXAMPLES", "1000")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(policies(), st.lists(requests, min_size=1, max_size=6))
@example(BEHIND_A_FAILURE, [request_of(sender="u@example.com", recipient=f"u@{to}").attributes for to in DOMAINS])
def test_compiled_exact_and_reference_agree(data, several):
    """Whatever the policy and the request, with an index or without: one decision, one list of log lines from all, and
    the same ACLs asked that count.
    """
    rows = {name: None if keys is None else dict.fromkeys(keys) for name, keys in data["tables"].items()}
    noon = datetime.fromisoformat(f"{data['now']}T12:00+00:00").timestamp()
    for costs_us, attributes in itertools.product((ALWAYS, NEVER), several):
        policy = policy_of(as_text(data), rows, index_costs_us=costs_us, views=VIEWS, clock=lambda: noon)
        values = wanted_values(Request(attributes, None), policy.wanted)
        exactly = mock.Mock(wraps=policy._decide_exactly)
        policy._decide_exactly = exactly
        rule = policy.decide(values).rule
        noted = [each.rule.action.name for each in policy.take_noted()]
        asked = asked_of(policy)
        trace = policy.trace(values)
        assert (rule.action.name, noted, asked) == reference.decide(data, attributes)
        assert asked_of(policy) == asked
        assert trace.outcome is rule
        # Only what fails may leave a decision to the exact evaluation.
        assert not exactly.called or any(word in as_text(data).partition("acl")[2] for word in ("broken", "fails"))
        assert [each.action.name for each in trace.noted] == noted
