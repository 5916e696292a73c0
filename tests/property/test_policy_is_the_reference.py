"""The compiled policy, the exact evaluation and a slow reference say the same about random policies and requests."""

from __future__ import annotations

import os
import re
from collections import Counter
from datetime import datetime
from unittest import mock

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from forkpolicy.errors import StateError
from forkpolicy.policy.answers import MustWait, live
from forkpolicy.postfix.addresses import Rewriting
from forkpolicy.protocol.layout import wanted_values
from forkpolicy.protocol.request import Request
from forkpolicy.state.memory import MemoryStore
from tests import reference
from tests.fakes import ALWAYS, NEVER, policy_of, request_of

DOMAINS = ["example.com", "a.example.com", "example.net", "com"]
LOCALS = ["u", "U", "abuse", "x+y"]
ADDRESSES = [f"{local}@{domain}" for local in LOCALS for domain in DOMAINS] + ["", "a@b@example.net"]
ADDRESSES += [*reference.REWRITTEN, "u@example.org", "u@"]
VIEWS = Rewriting(myorigin="example.com", local_domains=["example.com"]).views
HOSTS = ["example.com", "mail.example.com", "a.b.example.com", "Mail.Example.COM.", "unknown", "", "192.0.2.1"]
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
        "policy_context": st.sampled_from(["", "submission", "held-spam"]),
        "size": st.sampled_from(SIZES),
        "instance": st.sampled_from(["", "a", "b"]),
        "recipient_count": st.sampled_from(["0", "1", "3"]),
    }
)

ANY = {
    **request_of().attributes,
    "encryption_protocol": "",
    "policy_context": "",
    "instance": "a",
    "recipient_count": "0",
}
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
    "table:v=strict",
    "table:v=7",
    "table:v!=Strict",
    "table:v>=7",
]
VALUES = {
    "sender": [
        *ADDRESS_VALUES,
        *("{recipient}", "{recipient_domain}", "{recipient_localpart}"),
        *("table:broken", "table:broken!=x", "table:v<7.5"),
    ],
    "recipient": ADDRESS_VALUES,
    "client_address": ["192.0.2.0/24", "192.0.2.1", "192.0.2.1-198.51.100.7", "2001:db8::/32", "0.0.0.0/0"],
    "client_name": ["mail.example.com", ".example.com", "^unknown$", "{helo_name}", "{sender_domain}", "{helo_domain}"],
    "helo_name": ["example.com", ".com", r"^[0-9.]+$"],
    "sasl_method": ["PLAIN", "(PLAIN|LOGIN)"],
    "sasl_username": ["u", "table:k", "table:w=7", "table:w!=7", "table:w<=-1.5", "table:w", "{sender_localpart}"],
    "policy_context": ["submission", "^$"],
    "date": ["2026-12-24", "2026-12-24..2027-01-06", "12-24..01-06", "12-25", "01-01..12-24"],
    "size": ["10", ">=100", "<100", "<=100", "=0", "1-200"],
}
VALUES_OF = {"example.com": "Strict", "a.example.com": "7", "example.net": None, "com": "07"}
TOGETHER = {"u submission": "strict", "u ": "7", " ": None}
ROWS = {
    "m": {
        ("192.0.2.0/24", "example.com"): "strict",
        ("192.0.2.1", "*"): "7",
        ("192.0.2.0/24", ".com"): "07",
        ("2001:db8::/32", "<>"): None,
        ("*", "u@example.com"): "Strict",
        ("0.0.0.0/0", "u@"): "8",
    },
    "h": {
        ("example.com", "*", "u"): "strict",
        (".com", "u@", "*"): "7",
        ("*", "a.example.com", "*"): None,
        ("com", ".com", "x+y"): "6",
    },
}
ROWS_ASKED = {
    "m": [
        ["{client_address}", "{sender}"],
        ["{client_address}", "{recipient}"],
        ["{client_address}", "{sasl_username}"],
    ],
    "h": [
        ["{helo_name}", "{recipient}", "{sasl_username}"],
        ["{sender}", "{recipient}", "{sender_localpart}"],
        ["{recipient_domain}", "{sender}", "{recipient_localpart}"],
        ["{helo_domain}", "{sender}", "{sasl_method}"],
    ],
}
TOGETHER_ACLS = [f"table:q{wanted}" for wanted in ("", "=STRICT", "!=strict", ">6")]
ENTRIES = {"192.0.2.1": "AA", "198.51.100.7": "bb", "2001:db8::1": "64500"}
# Several of them in one policy share what they look up, or must not.
SHARING = [
    *(
        (name, [f"table:v{wanted}"])
        for name in ("sender", "recipient")
        for wanted in ("=strict", "=7", "!=strict", ">6")
    ),
    *(("sasl_username", [f"table:w{wanted}"]) for wanted in ("=7", "!=7", "<=-1.5")),
]
OF_ENTRIES = [
    ("country", ["table:n", "aa"]),
    ("country", ["table:n", "BB", "CC"]),
    ("asn", ["table:n", "AS64500", "7"]),
    ("asn", ["table:n", "64500"]),
    ("country", ["table:torn", "AA"]),
]
OF_PARTS = [
    ("table:d", ["{sender_domain}"]),
    ("table:d", ["{helo_domain}"]),
    ("table:k", ["{recipient_localpart}"]),
    ("table:k", ["{sender_domain}", "{recipient_localpart}"]),
    ("table:broken", ["{helo_domain}"]),
]
# Windows that nothing leaves while a policy is tried.
REMEMBERING = {
    "rate": [
        ["{sasl_username}", "0/30d"],
        ["{sasl_username}", "1/30d", "fail=skip"],
        ["{sasl_username}", "{client_address}", "2/30d", "count=recipients"],
        ["{client_address}", "2/30d", "count=requests"],
        ["{sender_domain}", "150/30d", "count=bytes"],
        ["{recipient_localpart}", "{helo_domain}", "1/30d", "count=requests"],
    ],
    "greylisting": [["delay=150s", "auto=0"], ["delay=150s", "auto=0", "training"]],
    "distinct": [["{client_address}", "{sender}", ">1/30d"], ["{sasl_username}", "{client_address}", ">2/30d"]],
    "listed": [["l", "{client_address}"]],
}
acls = st.one_of(
    st.sampled_from(sorted(VALUES)).flatmap(
        lambda kind: st.tuples(
            st.just(kind), st.lists(st.sampled_from(VALUES[kind]), min_size=1, max_size=3, unique=True)
        )
    ),
    st.sampled_from(OF_ENTRIES),
    st.sampled_from(SHARING),
    st.sampled_from(SHARING),
    st.tuples(st.sampled_from(TOGETHER_ACLS), st.just(["{sasl_username}", "{policy_context}"])),
    st.sampled_from(OF_PARTS),
    st.sampled_from(sorted(ROWS)).flatmap(
        lambda name: st.tuples(
            st.sampled_from([f"table:{name}{wanted}" for wanted in ("", "=Strict", "!=7", ">6")]),
            st.sampled_from(ROWS_ASKED[name]),
        )
    ),
    st.tuples(st.just("unqualified"), st.sampled_from([["sender"], ["recipient"]])),
    st.tuples(st.sampled_from(["authenticated", "encrypted", "null_sender", "log"]), st.just([])),
    st.tuples(st.just("score"), st.sampled_from([[">=0"], [">=1"], [">=2.5"]])),
    st.sampled_from(sorted(REMEMBERING)).flatmap(
        lambda kind: st.tuples(st.just(kind), st.sampled_from(REMEMBERING[kind]))
    ),
)
# Tables that cannot be read, and values that are not numbers.
FAILS = re.compile(r"^acl .*table:(broken|torn|\w+[<>])", re.MULTILINE)
ACTIONS = ["reject", "dunno", "ok", "log1", "log2", "score1", "score2", "score-1", "remember", "forget"]


class Store:
    """A store in memory that fails for some ACLs."""

    def __init__(self, clock, failing):
        self.store, self.failing = MemoryStore(clock), failing

    def ask(self, question):
        if getattr(question, "acl", None) in self.failing:
            raise StateError("it fails")
        return self.store.ask(question)

    peek = None


@st.composite
def policies(draw):
    """A policy as data, in which every ACL is declared before any line."""
    named = {f"acl{number}": acl for number, acl in enumerate(draw(st.lists(acls, min_size=1, max_size=6)))}
    for number in range(draw(st.integers(0, 2))):
        asked = sorted(name for name, (kind, _) in named.items() if kind != "log")
        if asked:
            term = st.tuples(st.sampled_from(["", "!"]), st.sampled_from(asked)).map("".join)
            named[f"any{number}"] = ("any", draw(st.lists(term, min_size=1, max_size=4)))
    clause = st.tuples(st.booleans(), st.sampled_from(sorted(named)))
    line = st.tuples(st.lists(clause, min_size=1, max_size=4), st.sampled_from(ACTIONS))
    tables = {"d": {"example.com"}, "k": {"u", "example.com u"}, "broken": None, "n": ENTRIES, "torn": None}
    tables |= {"v": VALUES_OF, "w": {"u": draw(st.sampled_from([None, "7", "-1.5"]))}, "q": TOGETHER, **ROWS}
    lines = draw(st.lists(line, min_size=1, max_size=8))
    failing = draw(st.sets(st.sampled_from(sorted(named)), max_size=1))
    failing = {name for name in failing if named[name][0] in reference.REMEMBERING and named[name][0] != "listed"}
    return {"acls": named, "lines": lines, "tables": tables, "now": draw(st.sampled_from(DAYS)), "failing": failing}


def as_text(policy):
    """The same as a policy file."""
    kinds = {"d": "domain", "k": "key", "broken": "domain", "n": "cidr", "torn": "cidr", "v": "domain"}
    kinds |= {name: f"pair:{','.join(columns)}" for name, columns in reference.COLUMNS.items()}
    lines = [f"table {name} {kinds.get(name, 'key')} x" for name in policy["tables"]]
    for name, (kind, values) in policy["acls"].items():
        lines.append(f"acl {name} {kind} {' '.join(values)}{' tz=UTC' * (kind == 'date')}")
    for action in ACTIONS:
        if action in ("remember", "forget"):
            lines.append(f"action {action} {action} l {{client_address}}{' 30d' * (action == 'remember')}")
            continue
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
        "counts": ("rate", ["{client_address}", "2/30d", "count=requests"]),
        "to_us": ("recipient", ["@example.com"]),
    },
    "lines": [([(False, "fails"), (False, "counts"), (False, "to_us")], "reject")],
    "tables": {"d": set(), "k": set(), "broken": None, "n": {}, "torn": None},
    "now": DAYS[0],
    "failing": set(),
}


class Run:
    """One policy with a memory of its own, evaluated in one way."""

    def __init__(self, data, rows, noon, *, late=False, **more):
        self.now_s = noon
        self.store = Store(lambda: self.now_s, data["failing"])
        self.policy = policy_of(as_text(data), rows, views=VIEWS, clock=lambda: noon, store=self.store, **more)
        if late:
            self.policy.answer_with(live(self.store)._replace(ask=self.wait))
        self.exactly = mock.Mock(wraps=self.policy._decide_exactly)
        self.policy._decide_exactly = self.exactly

    def decide(self, attributes, now_s, *, exactly):
        """What the reference says, too."""
        self.now_s = now_s
        policy, values = self.policy, wanted_values(Request(attributes, None), self.policy.wanted)
        policy.answered.clear()
        rule = self.decided(values, exactly=exactly).rule
        noted = [each.rule.action.name for each in policy.take_noted()]
        return rule.action.name, noted, Counter(policy.answered)

    def decided(self, values, *, exactly):
        """Decided again with each answer that came late."""
        policy = self.policy
        while True:
            if exactly:
                policy._answers.begin()
            try:
                return (policy._decide_exactly if exactly else policy.decide)(values)
            except MustWait as wait:
                memo = policy.detach()
                policy.receive(memo, wait, self.answer(wait.question))
                policy.resume(memo)

    def wait(self, _question):
        """A store whose answers come late."""
        raise MustWait

    def answer(self, question):
        """What it says then."""
        try:
            return self.store.ask(question)
        except Exception as error:  # noqa: BLE001 - it is an answer, too
            return error

    @property
    def records(self):
        """All that is remembered."""
        return self.store.store.walk(b"", b"", 10**6)


# The nightly size is FORKPOLICY_EXAMPLES=100000.
@settings(
    max_examples=int(os.environ.get("FORKPOLICY_EXAMPLES", "1000")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(policies(), st.lists(requests, min_size=1, max_size=6))
@example(BEHIND_A_FAILURE, [{**ANY, "sender": "u@example.com", "recipient": f"u@{to}"} for to in DOMAINS])
def test_compiled_exact_and_reference_agree(data, several):
    """Whatever the policy and the requests, with an index or without, with answers at once or late: one decision, one
    list of log lines from all, the same questions to the store, and the same records in it at the end.
    """
    rows = {name: dict.fromkeys(keys) if isinstance(keys, set) else keys for name, keys in data["tables"].items()}
    noon = datetime.fromisoformat(f"{data['now']}T12:00+00:00").timestamp()
    planned = [
        Run(data, rows, noon, late=late, index_costs_us=costs_us)
        for costs_us in (ALWAYS, NEVER)
        for late in (False, True)
    ]
    exact, memory = [Run(data, rows, noon, late=late) for late in (False, True)], reference.Memory()
    fails = data["failing"] or FAILS.search(as_text(data))
    for number, attributes in enumerate(several):
        memory.now_s = noon + 100 * number
        decision = reference.decide(data, attributes, memory)
        for run in planned:
            run.exactly.reset_mock()
            assert run.decide(attributes, memory.now_s, exactly=False) == decision
            # Only what fails may leave a decision to the exact evaluation.
            assert not run.exactly.called or fails
        for run in exact:
            assert run.decide(attributes, memory.now_s, exactly=True) == decision
    assert len({tuple(run.records) for run in (*planned, *exact)}) == 1
