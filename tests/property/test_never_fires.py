"""What check calls a line that never fires never fires, whatever is asked."""

from __future__ import annotations

import itertools
import re
from datetime import datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from forkpolicy.policy.checks.find import find_warnings
from forkpolicy.protocol.attributes import STATES
from forkpolicy.protocol.layout import wanted_values
from tests.fakes import policy_of, request_of

# Few values that have much to do with each other, in the policies and in the requests.
ADDRESSES = ["u@a.example", "u+x@a.example", "v@a.example", "u@b.a.example", "u@c.example", "", "u", "u@x.b.a.example"]
PATTERNS = ["u@a.example", "u+x@a.example", "@a.example", "b.a.example", ".a.example", ".example", "u@", "<>", "/^v/"]
NAMES = ["a.example", "b.a.example", "x.b.a.example", "c.example", "unknown", ""]
NAME_PATTERNS = ["a.example", ".a.example", ".b.a.example", "unknown", "/^x/", "{client_name}"]
CLIENTS = ["192.0.2.1", "192.0.2.9", "192.0.2.200", "198.51.100.1", "2001:db8::1", "unknown"]
NETWORKS = ["192.0.2.1", "192.0.2.0/24", "192.0.2.0/28", "192.0.2.5-192.0.2.210", "198.51.100.0/24", "2001:db8::/32"]
SIZES = ["0", "5", "10", "2000"]
COMPARISONS = ["5", ">=5", "<10", "=10", "1-9", ">1K"]
LOGINS = ["", "u", "v"]
# What a table says about logins: texts, and numbers, which fail where they are none.
ENTRIES = {"u": "a", "v": "5", "w": None, "x": "6"}
IN_TABLE = ["table:t", *(f"table:t{wanted}" for wanted in ("=a", "=A", "=5", "!=a", "!=5", ">=5", ">4", "<5", "<=6"))]
TYPES = {
    "sender": PATTERNS,
    "recipient": PATTERNS,
    "helo_name": NAME_PATTERNS,
    "client_address": NETWORKS,
    "size": COMPARISONS,
    "sasl_username": ["u", "v", "/u/", "table:t"],
    "protocol_state": list(STATES),
    "date": ["2026-12-24", "2026-12-20..2026-12-31", "12-24..01-06", "12-31", "01-01..06-30"],
    "day": ["mon-fri", "thu", "sat", "fri-mon"],
    "time": ["08:00-17:00", "22:00-06:00", "02:00-03:00", "12:00-24:00"],
}


def values_of(name, values):
    """ACLs of one type."""
    return st.lists(st.sampled_from(values), min_size=1, max_size=2).map(lambda v: f"{name} {' '.join(v)}")


def acls():
    typed = st.sampled_from(sorted(TYPES)).flatmap(lambda name: values_of(name, TYPES[name]))
    return st.lists(typed | st.sampled_from(["null_sender", "authenticated"]), min_size=3, max_size=6)


CLAUSES = st.lists(st.tuples(st.booleans(), st.integers(0, 7)), min_size=1, max_size=3, unique_by=str)
TERMS = st.lists(st.tuples(st.sampled_from(["", "", "!"]), st.integers(0, 7)), min_size=1, max_size=3)
ANYS = st.lists(TERMS, max_size=2)
LINES = st.lists(st.tuples(CLAUSES, st.sampled_from(["no", "yes", "note"])), min_size=2, max_size=8)
NOWS = [
    datetime.fromisoformat(f"{day}T{hour}:30")
    for day in ("2026-12-24", "2026-12-26", "2026-12-31", "2027-01-04", "2027-03-06")
    for hour in ("02", "05", "12", "23")
]
VALUES = {
    "protocol_state": STATES,
    "sender": ADDRESSES,
    "recipient": ADDRESSES,
    "helo_name": NAMES,
    "client_name": NAMES,
    "client_address": CLIENTS,
    "size": SIZES,
    "sasl_username": [*LOGINS, "w", "x"],
    "sasl_method": LOGINS,
}


def text_of(declared, anys, lines):
    declared = [*declared]
    for terms in anys:
        declared.append(f"any {' '.join(f'{mark}a{number % len(declared)}' for mark, number in terms)}")
    text = ["table t key x"]
    text += [f"acl a{number} {words}" for number, words in enumerate(declared)]
    text += ["action no REJECT", "action yes DUNNO", "action note log seen"]
    for clauses, action in lines:
        names = " ".join(f"{'!' * negated}a{number % len(declared)}" for negated, number in clauses)
        text.append(f"access {names} {action}")
    return "\n".join(text) + "\n"


# The requests may be ones that Postfix never sends, so what is said about states is left out.
SAYS_NEVER = re.compile(r"policy\.conf:(\d+):1: warning: this rule never fires: (?!what it asks for is never known)")


@settings(max_examples=200, deadline=None)
@given(
    declared=acls() | st.lists(values_of("sasl_username", IN_TABLE), min_size=3, max_size=6),
    anys=ANYS,
    lines=LINES,
    delimiter=st.sampled_from(["", "+"]),
)
def test_a_line_that_never_fires_never_fires(declared, anys, lines, delimiter):
    """Neither because an earlier one decides, nor because it contradicts itself: whatever it asks for is tried."""
    policy = policy_of(text_of(declared, anys, lines), {"t": ENTRIES}, delimiter=delimiter)
    told = "\n".join(str(each) for each in find_warnings(policy.model, {}))
    never = {int(line) for line in SAYS_NEVER.findall(told)}
    for line in policy.model.rules:
        if line.place.line in never:
            for _ in times_for(policy, line):
                assert not any(line.number in fired(policy, request) for request in requests_about(line))


def times_for(policy, line):
    """Put all clocks to every time that makes a difference; once for a line that asks none."""
    asks_clock = any(matcher.needs_clock for acl, _ in line.terms for matcher in acl.all_matchers)
    clocked = [each for acl in policy.model.acls.values() for each in acl.matchers if each.needs_clock]
    for now in NOWS if asks_clock else NOWS[:1]:
        for matcher in clocked:
            matcher.clock = now.timestamp
        yield


def requests_about(line):
    """Every combination of values of the attributes that a line asks for."""
    asked = sorted({"protocol_state", *(name for acl, _ in line.terms for name in acl.attributes)})
    for values in itertools.product(*(VALUES[name] for name in asked)):
        yield dict(zip(asked, values, strict=True))


def fired(policy, attributes):
    trace = policy.trace(wanted_values(request_of(**attributes), policy.wanted))
    return {tried.rule.number for tried in trace.tried if tried.fired}
