"""Whatever text stands in whatever attribute, a decision takes time in proportion to its length."""

from __future__ import annotations

import time

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from forkpolicy.explaining.as_object import as_object
from forkpolicy.loading import load_everything
from forkpolicy.log import PRIORITY
from forkpolicy.log_formats import LineFormat
from forkpolicy.protocol.reader import RequestReader
from forkpolicy.protocol.request import Request
from forkpolicy.worker.engine import Engine
from forkpolicy.worker.table_refresh import TableRefresh
from tests.compiling import Compiler

# Every kind of look-up: all table kinds, exact values, expressions of the kind that explode elsewhere, comparisons,
# texts with everything put in.
POLICY = """\
table nets cidr nets
table doms domain doms
table adrs address adrs
table keys key keys
acl net client_address table:nets 192.0.2.0/24
acl us sender table:doms @x.example .y.example u@ <> /^(a+)+$/ (a|aa)+b
acl sad sender table:adrs
acl to recipient table:adrs table:doms u@x.example .y.example
acl cname client_name table:doms .x.example mail.x.example
acl helo helo_name table:doms .x.example /([a-z.]+)+$/
acl user sasl_username table:keys bob
acl size size >10M
acl same helo_name {client_name}
acl pair table:keys {sender} {client_address}
acl cert ccert_subject /.*x.*y.*z/ (.*a){20}
acl many score >=1
action no REJECT {sender} {recipient_domain} {helo_name} {client_name} {sasl_username} {sender_localpart} {match.sad}
action note log {sender} {match.us}
action more score +1
access net no
access us note
access sad no
access to note
access cname no
access helo more
access user no
access size no
access same note
access pair no
access cert no
access !cert many no
"""
SOURCES = {
    "nets": "192.0.2.0/24 a\n2001:db8::/32 b\n",
    "doms": "x.example\n.z.example v\n",
    "adrs": "u@x.example v\nz.example\n.q.example\nw@\n<>\n",
    "keys": "alice\n",
}
USUAL = {
    "request": "smtpd_access_policy",
    "protocol_state": "RCPT",
    "client_address": "203.0.113.5",
    "sender": "a@b.example",
    "recipient": "c@d.example",
    "helo_name": "h.example",
    "client_name": "h.example",
}
ATTRIBUTES = [*USUAL, "sasl_username", "size", "ccert_subject", "brand_new"][2:]
SHORT_CHARS, TIMES = 4000, 8
# Three times as much as proportion would have it, and what a busy machine adds.
SLACK, NOISE_S = 3, 0.01


class Log:
    def event(self, *_, **__):
        """Nothing."""

    def writer(self, level, event, fields, arguments):
        """A real one: a line is a part of the way."""
        return LineFormat("logfmt", PRIORITY[level], {"event": event, **fields}, arguments).writer(str, self.event)


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    """A worker's engine with real tables."""
    folder = tmp_path_factory.mktemp("linear")
    compiler = Compiler(folder)
    compiler.policy(POLICY)
    for name, text in SOURCES.items():
        compiler.source(name, text)
    compiler.settings.write_text(
        'policy = "policy.conf"\ntables = "tables"\n[mail]\nrecipient_delimiter = "+-"\n[log]\ndecisions = "all"\n'
    )
    from forkpolicy.compile.command import main

    assert main(["-c", str(compiler.settings)]) == 0
    engine = Engine(load_everything(compiler.settings), 1, Log())
    TableRefresh(engine, Log()).open({})
    assert all(table.table for table in engine.loaded.tables.values())
    yield engine
    for table in engine.loaded.tables.values():
        table.close()


def whole_way_s(engine, attributes):
    """CPU time of a request from its bytes to its reply, its layout learnt and used, and of its explanation."""
    text = "".join(f"{name}={value}\n" for name, value in attributes.items()) + "\n"
    raw = text.encode("utf-8", "surrogateescape")
    began_s = time.process_time()
    reader = RequestReader(1 << 20)
    reader.feed(raw)
    request = Request.parse(reader.next_request())
    values = engine.values_of(request)
    assert engine.layout_of(request).values(raw) == values
    engine.serving.finish(engine.decide(values), values, raw, 1)
    as_object(engine.policy.trace(values), "", request, engine.policy.model)
    return time.process_time() - began_s


def is_linear(engine, name, before, unit, after):
    def cost_s(chars):
        return whole_way_s(engine, {**USUAL, name: before + unit * (chars // len(unit)) + after})

    short_s = min(cost_s(SHORT_CHARS) for _ in range(3))
    # The machine may be busy: quadratic stays quadratic however often it is measured.
    return any(cost_s(SHORT_CHARS * TIMES) < short_s * TIMES * SLACK + NOISE_S for _ in range(6))


# A character of any kind, and those that mean something to some part of the way.
units = st.one_of(
    st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), min_size=1, max_size=4),
    st.sampled_from(
        [*".@+-:[]%<>{}\"'\\= 9aAüß", "a.", "ü.", "1.", "a@", "xn--", "xn--a.", "\udce4", "א.", "。", "e\u0301"]
    ),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(ATTRIBUTES),
    st.sampled_from(["", "x@", "a.", "x@a"]),
    units,
    st.sampled_from(["", "@x.example", ".q.example", "b"]),
)
@example("sender", "x@", "ü.", "")
@example("helo_name", "", ".", "")
@example("client_name", "", "a.", ".q.example")
@example("recipient", "x@", "xn--", "")
@example("recipient", "", "+", "@x.example")
@example("sender", "", "a", "")
@example("sender", "x@a", " ", "b")
@example("recipient", "x@a.", "\t", "b.example")
@example("sender", "", "@", "")
@example("client_address", "[", "f:", "")
@example("ccert_subject", "", "xay", "")
@example("size", "", "9", "")
def test_time_is_in_proportion_to_length(engine, name, before, unit, after):
    """Eight times the text, eight times the time: look-ups, expressions, templates, log, explanation."""
    assert is_linear(engine, name, before, unit, after)


def test_many_requests_in_one_read_cost_what_each_costs():
    """A hundred times the requests at once, a hundred times the time; with CR LF, too."""

    def cost_s(count, end):
        reader = RequestReader(1 << 24)
        reader.feed(
            b"".join(f"{name}={value}".encode() + end for name, value in USUAL.items()).join([b"", end]) * count
        )
        began_s = time.process_time()
        while reader.next_request() is not None:
            pass
        return time.process_time() - began_s

    for end in (b"\n", b"\r\n"):
        short_s = min(cost_s(100, end) for _ in range(3))
        assert any(cost_s(5000, end) < short_s * 50 * SLACK + NOISE_S for _ in range(5))
