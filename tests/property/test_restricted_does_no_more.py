"""Whatever a restricted file says: mail that the rules before its include refuse stays refused, and no reply is one
that such a file may not give.
"""

from __future__ import annotations

import os
import re

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from forkpolicy.errors import ConfigError
from forkpolicy.protocol.layout import wanted_values
from tests.fakes import policy_of, request_of

TABLES = {"ours": {"example.com": "strict", "b.example.com": "7"}}
HEAD = """\
table ours domain ours
acl a0 sender @example.com
acl a1 recipient table:ours
acl a2 client_address 192.0.2.0/24
acl a3 any a0 !a2
acl a4 helo_name /^mail/
action no REJECT 5.7.1 no {sender_domain} {match.a1}
action slow DEFER slow down
action pass OK
action away REDIRECT anna@example.com
action copied BCC anna@example.com
action filtered FILTER smtp:[192.0.2.9]
action kept HOLD
action gone DISCARD
action marked PREPEND X-Seen: yes
action go DUNNO
action seen log seen
"""
OWN_ACLS = ["a0", "a1", "a2", "a3", "a4"]
OWN_ACTIONS = ["no", "slow", "pass", "away", "copied", "filtered", "kept", "gone", "marked", "go", "seen"]
# Also what is not allowed: most files are refused for it, and then nothing of them is used.
NAMES = ["x0", "x1", "x2", "x3", *OWN_ACLS, "no", "default", "ours"]
VALUES = [
    *("sender @example.com", "recipient table:ours", "client_address 0.0.0.0/0", "helo_name /./", "sender <>"),
    *("any a0 !a1", "any x0", "sender table:ours=strict", "size >0", "client_address {sender}", "sender /etc/hostname"),
    *("rate {sender} 1/1h", "service unix:/nowhere OK", "log", "recipient b@example.com silent", "unqualified sender"),
]
REPLIES = [
    *("REJECT", "DEFER_IF_PERMIT 4.7.1 {match.x0}", "DUNNO", "550 5.7.1 {recipient}", "450 4.7.1 x", "WARN w", "log l"),
    *(
        "OK",
        "PERMIT",
        "HOLD",
        "DISCARD",
        "BCC a@example.com",
        "REDIRECT a@example.com",
        "FILTER smtp:x",
        "PREPEND A: b",
    ),
    *(
        "permit_mynetworks",
        "INFO i",
        "score 5",
        "{match.a1}",
        "REJECT {match-text.x0}",
        "250 ok",
        "reject_rbl_client x",
    ),
]
ALLOWED = re.compile(r"(DUNNO|REJECT|DEFER(_IF_(REJECT|PERMIT))?|WARN|[45][0-9][0-9])( .*)?", re.DOTALL)
REFUSES = re.compile(r"(REJECT|DEFER(_IF_PERMIT)?|[45][0-9][0-9])( .*)?", re.DOTALL)


def rules(acls, actions):
    """One `access` statement."""
    signed = st.tuples(st.sampled_from(["", "!"]), st.sampled_from(acls)).map("".join)
    last = st.sampled_from(["", *actions])
    return st.tuples(st.lists(signed, min_size=1, max_size=3, unique=True), last).map(
        lambda words: " ".join(["access", *words[0], words[1]])
    )


own_rules = st.lists(rules(OWN_ACLS, OWN_ACTIONS), max_size=3)
defaults = st.sampled_from(["", "action default REJECT", "action default OK"])
statements = st.one_of(
    st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES)).map(lambda each: f"acl {each[0]} {each[1]}"),
    st.tuples(st.sampled_from(["y0", "y1", *NAMES]), st.sampled_from(REPLIES)).map(
        lambda each: f"action {each[0]} {each[1]}"
    ),
    rules([*OWN_ACLS, "x0", "x1"], [*OWN_ACTIONS, "y0", "y1"]),
    st.sampled_from(["include policy.conf", "table t domain ours", " a0", "access", "#", "acl x0 sender", "\ufeffacl"]),
)
# Of names of its own, which mostly loads.
fair = st.tuples(
    st.sampled_from(VALUES[:6]),
    st.sampled_from(VALUES[:7]),
    st.sampled_from(REPLIES[:7]),
    st.lists(rules([*OWN_ACLS, "x0", "x1"], ["y0", "no", "slow", "go"]), min_size=1, max_size=4),
).map(lambda each: [f"acl x0 {each[0]}", f"acl x1 {each[1]}", f"action y0 {each[2]}", *each[3]])
files = st.one_of(fair, st.tuples(fair, statements).map(lambda each: [*each[0], each[1]]), st.lists(statements))
requests = st.fixed_dictionaries(
    {
        "protocol_state": st.sampled_from(["CONNECT", "MAIL", "RCPT", "DATA"]),
        "sender": st.sampled_from(["a@example.com", "a@b.example.com", "x@example.net", ""]),
        "recipient": st.sampled_from(["b@example.com", "b@example.org", ""]),
        "client_address": st.sampled_from(["192.0.2.1", "198.51.100.1", "unknown"]),
        "helo_name": st.sampled_from(["mail.example.net", "x", ""]),
        "size": st.sampled_from(["0", "10"]),
    }
)


def answer(policy, request):
    """The rule that decides, and the reply."""
    values = wanted_values(request, policy.wanted)
    rule = policy.decide(values).rule
    policy.take_noted()
    return rule, policy.text(rule, values)


@settings(
    max_examples=int(os.environ.get("FORKPOLICY_EXAMPLES", "1000")),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(own_rules, own_rules, defaults, files, st.lists(requests, min_size=4, max_size=9))
def test_a_restricted_file_does_no_more(before, after, default, lines, asked):
    """Compared with the policy that does not include it."""
    front = "\n".join([HEAD, default, *before])
    behind = "\n".join(after)
    without = policy_of(f"{front}\n\n{behind}\n", TABLES)
    theirs = {"rules.conf": "\n".join(lines) + "\n"}
    try:
        policy = policy_of(f"{front}\ninclude rules.conf restricted\n{behind}\n", TABLES, files=theirs)
    except ConfigError:
        # A reload is refused.
        event("refused")
        return
    event("loaded")
    include = front.count("\n") + 2
    for attributes in asked:
        request = request_of(**attributes)
        own_rule, own_reply = answer(without, request)
        rule, reply = answer(policy, request)
        if own_rule.place and own_rule.place.line < include:
            assert (rule.place, reply) == (own_rule.place, own_reply)
            event("refused before the include" if REFUSES.fullmatch(reply) else "answered before the include")
        elif rule.place and rule.place.path == "rules.conf":
            assert ALLOWED.fullmatch(reply), reply
        else:
            # It let the request go on: the administrator's own rules behind it decided, or nothing did.
            assert reply == own_reply
