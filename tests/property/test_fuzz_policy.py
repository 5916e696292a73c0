"""A policy file of any content is a policy that answers every request, or a ConfigError with places; nothing else."""

from __future__ import annotations

import json
import os

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from forkpolicy.errors import ConfigError, Diagnostic
from forkpolicy.files import Files
from forkpolicy.policy.load import load_policy
from forkpolicy.protocol.attributes import ATTRIBUTES, STATES
from tests.fakes import DictTable

EXAMPLES = settings(
    max_examples=int(os.environ.get("FORKPOLICY_EXAMPLES", "600")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
GOOD = """\
# comment
table  nets  cidr    list
table  doms  domain  list
table  pairs key     list
acl    net   client_address  table:nets 192.0.2.0/24 2001:db8::1-2001:db8::9
acl    us    sender          table:doms @example.com .example.net u@ <>
acl    re    recipient       /^news-[0-9]+@/ (sales|contact)@bar.com
acl    who   sasl_method     (PLAIN|LOGIN) silent
acl    big   size            10M 1-200 >=5
acl    when  time            22:00-06:00 tz=UTC
acl    days  day             Monday tue-fri mtw
acl    same  helo_name       {client_name}
acl    pair  table:pairs     {sender} {client_address}
acl    in    authenticated
acl    bad   score           >=2
acl    some  any             net !us in
acl    dom   table:doms      {helo_domain}
acl    part  client_name     {sender_domain}
action no    REJECT 5.7.1 not as {sender_domain} {match.us} {{}}
action more  score +2.5
action note  log saw {helo_name}
action hdr   PREPEND X-Seen: yes
include other.conf
access net !us no
access re who
  big !in more
access bad no
access same pair when days note
access some !dom part no
access in
"""
WORDS = sorted(
    {
        *GOOD.split(),
        *ATTRIBUTES,
        "!",
        "!!us",
        "{",
        "}",
        "{nothing}",
        "/(/",
        "(",
        "*",
        "default",
        "0",
        "é",
        "/x",
        "table:",
    }
)


class SealedFiles(Files):
    """A policy and a file that it may include; nothing else is there."""

    def __init__(self, policy):
        super().__init__()
        self.snapshot = {"policy.conf": policy, "other.conf": b"acl other helo_name x\n"}

    def read(self, path):
        if str(path) not in self.snapshot:
            raise ConfigError([Diagnostic(str(path), 0, 0, "cannot be read")])
        return self.snapshot[str(path)]

    def glob(self, pattern):
        return [path for path in self.snapshot if path.startswith(pattern.partition("*")[0])]


def load(raw):
    """The policy, or the diagnostics."""
    files = SealedFiles(raw)
    try:
        policy, warnings = load_policy(
            "policy.conf", lambda each: DictTable(each.name, each.kind, {"example.com": "v"}), files=files
        )
    except ConfigError as error:
        return None, error.diagnostics, files
    return policy, warnings, files


def check(raw):
    """The contract."""
    policy, diagnostics, files = load(raw)
    assert policy or any(each.severity == "error" for each in diagnostics)
    for each in diagnostics:
        assert each.path in files.snapshot
        lines = (
            files.snapshot[each.path]
            .decode("utf-8-sig", "replace")
            .replace("\r\n", "\n")
            .replace("\r", "\n")
            .split("\n")
        )
        assert 0 <= each.line <= len(lines)
        assert each.line or not each.column
        assert 0 <= each.column <= len(lines[each.line - 1]) + 1
        assert each.message
        json.dumps(each.as_json())
        shown = str(each).split("\n")
        assert len(shown) <= 4, shown
    if policy:
        answers(policy)


def answers(policy):
    """Whatever loads answers, and explains the same."""
    for state in STATES:
        for value in ("", "u@example.com", "192.0.2.1", "x" * 300):
            values = tuple(state if name == "protocol_state" else value for name in policy.wanted)
            rule = policy.decide(values).rule
            assert policy.trace(values).outcome is rule
            reply = policy.reply(rule, values)
            assert reply.startswith(b"action=")
            assert reply.endswith(b"\n\n")
            assert reply.count(b"\n") == 2
            policy.take_noted()


@EXAMPLES
@given(st.binary(max_size=400))
@example(b"\xef\xbb\xbfacl a sender x\r\n")
@example(b"include policy.conf\n")
@example(b"include *\n")
@example(b"\0")
def test_any_bytes(raw):
    """Bytes that nobody meant as a policy."""
    check(raw)


lines = st.lists(st.sampled_from(WORDS), min_size=1, max_size=7).map(" ".join)
statements = st.one_of(
    lines,
    st.tuples(st.sampled_from(["acl", "action", "access", "table", "include", " ", "ACL"]), lines).map(" ".join),
    st.tuples(
        st.just("acl n"), st.sampled_from([*ATTRIBUTES, "day", "time", "score", "authenticated"]), st.text(max_size=20)
    ).map(" ".join),
    st.tuples(st.just("action n"), st.text(max_size=30)).map(" ".join),
    st.sampled_from(GOOD.splitlines()),
)


@EXAMPLES
@given(st.lists(statements, max_size=12))
def test_any_words(several):
    """Lines of the language's own words in any order, and values of any text."""
    check("\n".join(several).encode("utf-8", "surrogatepass"))


@EXAMPLES
@given(
    st.lists(
        st.tuples(
            st.integers(0, len(GOOD)), st.integers(0, 30), st.one_of(st.text(max_size=5), st.sampled_from(WORDS))
        ),
        min_size=1,
        max_size=3,
    )
)
@example([(0, 0, "")])
def test_a_good_policy_with_slips(slips):
    """A policy that loads, with a few places overwritten."""
    text = GOOD
    for at, length, instead in slips:
        text = text[:at] + instead + text[at + length :]
    check(text.encode("utf-8", "surrogatepass"))


def test_the_good_policy_is_good():
    """What the slips are made in does load: else they would prove nothing."""
    policy, diagnostics, _ = load(GOOD.encode())
    assert policy, diagnostics
