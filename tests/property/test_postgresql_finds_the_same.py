"""A history in PostgreSQL and one in files find the same decisions, in the same order, with the same lines."""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from forkpolicy.history.ingest import Ingester
from forkpolicy.history.opening import open_history, open_store
from forkpolicy.history.query import query_of
from forkpolicy.history.scope import Scope
from forkpolicy.history_settings import HistorySettings
from tests.history_logs import NOON_S, begin, decision, line_of, new_id
from tests.postgresql_servers import Cluster, needs_postgresql

psycopg = pytest.importorskip("psycopg")

NAMES = ["anna", "Anna", "an_na", "a%", "straße", "postmaster", "x\x00y", "\\xff", "\U0010ffff"]
DOMAINS = ["example.com", "EXAMPLE.com", "example.org", "sub.example.com", "bücher.example", "d" * 60 + ".example"]
WITH_DOMAIN = st.builds("{}@{}".format, st.sampled_from(NAMES), st.sampled_from(DOMAINS))
GIVEN = st.one_of(WITH_DOMAIN, st.sampled_from([*NAMES, "example.com", "@example.com", "a@b@example.com"]))
ADDRESSES = st.one_of(st.just(""), GIVEN)
ADDRESSED = [
    "203.0.113.5",
    "203.0.113.250",
    "203.0.114.1",
    "::ffff:203.0.113.5",
    "2001:db8::1",
    "2001:db8:1::",
    "::1.2.3.4",
]
CLIENTS = st.sampled_from([*ADDRESSED, "unknown"])
RULES = st.sampled_from(
    ["/etc/forkpolicy/policy.conf:7", "policy.conf:7", "/x/POLICY.conf:17", "p%.conf:1", "p_.conf:1"]
)
ACTIONS = st.sampled_from(["REJECT no", "reject 5.7.1 no", "450 4.7.1 later", "451", "4511", "DUNNO", "OK"])
# Each makes tables, which takes a second.
EXAMPLES = int(os.environ.get("FORKPOLICY_EXAMPLES", "1000")) // 40
DECISIONS = st.fixed_dictionaries(
    {
        "rule": RULES,
        "action": ACTIONS,
        "client_address": CLIENTS,
        "sender": ADDRESSES,
        "recipient": ADDRESSES,
        "sasl_username": ADDRESSES,
        "protocol_state": st.sampled_from(["CONNECT", "RCPT", "END-OF-MESSAGE"]),
        "mail": st.integers(0, 5),
        "queued": st.booleans(),
        "after_s": st.sampled_from([0, 0.001, 1, 20_000, 90_000]),
        "host": st.sampled_from(["mx1", "MX2", "mü"]),
    }
)
NAMED = st.builds("{}:{}".format, st.sampled_from(["to", "from", "login"]), GIVEN)
WORDS = st.one_of(
    NAMED,
    st.builds("{}*".format, st.one_of(NAMED, st.sampled_from(NAMES))),
    st.builds("{}:@{}".format, st.sampled_from(["to", "from", "login"]), st.sampled_from(DOMAINS)),
    WITH_DOMAIN,
    st.sampled_from([*DOMAINS, "<>", "from:<>", "203.0.113.0/24", "2001:db8::/32", "0.0.0.0/0", "::/0"]),
    st.sampled_from(ADDRESSED).map("client:{}".format),
    st.one_of(RULES, st.sampled_from(["policy.conf:7", "conf:7", "p%.conf:1", "%"])).map("rule:{}".format),
    st.sampled_from(["REJECT", "Reject", "4NN", "45x", "4xx", "DUNNO", "%", "_K"]).map("action:{}".format),
    st.integers(0, 6).map("queue:Q{}".format),
    st.sampled_from(
        [
            "host:mx1",
            "host:MX1",
            "host:mx2",
            "host:MÜ",
            "~anna@",
            "~POLICY",
            "since:2026-11-29",
            "until:2026-11-30T12:00",
            "since:1h",
        ]
    ),
)


@pytest.fixture(scope="module")
def url():
    """An empty database."""
    cluster = Cluster()
    cluster.make("history", "")
    yield cluster.url("history")
    cluster.stop()


def log_of(decisions):
    """The file with them, in order of time."""
    lines, at_s = [begin()], NOON_S
    for each in decisions:
        fields = dict(each)
        at_s += fields.pop("after_s")
        mail, host = fields.pop("mail"), fields.pop("host")
        queue = f"Q{mail}" if fields.pop("queued") else ""
        line = decision(at_s, queue_id=queue, instance=f"{at_s // 86400}.{mail}", code=new_id(), **fields)
        lines.append(line.replace(b'"host": "mx1"', f'"host": "{host}"'.encode()))
    return b"".join([*lines, line_of("log lines lost", NOON_S, count=2), line_of("log lines lost", at_s, count=1)])


def filled(places, log):
    """Take the log in everywhere."""
    for place in places:
        ingester = Ingester(str(log), open_store(place), 3650, print, lambda: NOON_S)
        ingester.turn()
        assert not ingester.odd
        ingester.close()


@needs_postgresql
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    # A smaller example would take minutes to find.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(
    decisions=st.lists(DECISIONS, min_size=1, max_size=30),
    queries=st.lists(st.lists(WORDS, max_size=3), min_size=10, max_size=20),
    most=st.sampled_from([1, 2, 1 << 62]),
)
def test_both_find_the_same(url, decisions, queries, most):
    """Whatever strangers chose; every word of `find`."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS forkpolicy CASCADE")
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log.json"
        log.write_bytes(log_of(decisions))
        files, server = places = HistorySettings(path=f"{folder}/history"), HistorySettings(url=url)
        filled(places, log)
        of_files, of_server = open_history(files), open_history(server)
        for words in [[], *queries]:
            try:
                query = query_of(words, NOON_S)
            except ValueError:
                continue
            query.odd = len(words) == 3
            expected, found = list(of_files.find(query, most)), list(of_server.find(query, most))
            assert [comparable(each) for each in found] == [comparable(each) for each in expected], words
            assert list(map(of_server.raw, found)) == list(map(of_files.raw, expected))
            assert of_server.gaps(query) == of_files.gaps(query)
            names = of_server.beginnings("AN", 3)
            assert names == sorted(names)[:3]
            assert all(each.startswith("an") for each in names)
            query.scope = Scope(frozenset({"example.com", "xn--bcher-kva.example"}), frozenset({"anna@example.org"}))
            assert all(query.scope.has_address(each) for each in of_server.beginnings("an", 3, query.scope))
            whole, part = (list(each.find(query)) for each in (of_files, of_server))
            assert [comparable(each) for each in part] == [comparable(each) for each in whole], words
            for expected_last, found_last in zip(whole, part, strict=True):
                behind = [
                    [comparable(each) for each in place.find(replace(query, before=last.cursor), 2)]
                    for place, last in ((of_files, expected_last), (of_server, found_last))
                ]
                assert behind[0] == behind[1], words


def comparable(found):
    """Without the place of its line, and as PostgreSQL can keep it."""
    kept = {name: shortened(getattr(found, name)) for name in ("sender", "recipient", "login")}
    return replace(found, block=0, line=0, cursor="", **kept)


def shortened(text):
    return text and text.replace("\0", "\\x00")[:2600]
