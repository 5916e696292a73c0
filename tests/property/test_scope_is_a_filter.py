"""A query within a scope finds what a plain filter leaves of the same query, and pages of it are its parts.

Some decisions are settled and others recent, of several days; addresses repeat as sender, recipient and login.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import replace
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from forkpolicy.history.ingest import Ingester
from forkpolicy.history.query import Query, query_of
from forkpolicy.history.scope import Confined, Scope
from forkpolicy.history.search import History
from forkpolicy.history.store import Store
from tests.history_logs import NOON_S, begin, decision

EXAMPLES = int(os.environ.get("FORKPOLICY_EXAMPLES", "1000")) // 5
ADDRESSES = st.sampled_from(
    ["anna@example.com", "Bert\x00@Example.com", "anna@example.org", "x@y@example.com", "example.com", "anna", "@", ""]
)
SCOPES = st.builds(
    Scope,
    st.frozensets(st.sampled_from(["example.com", "example.org", "nowhere.example", ""]), max_size=2),
    st.frozensets(st.sampled_from(["anna@example.com", "anna", "x@y@example.com", "no@example.net"]), max_size=2),
)
WORDS = st.lists(
    st.sampled_from(
        [
            *("to:anna@example.com", "anna@example.com", "from:@example.com", "login:anna", "anna*", "action:REJECT"),
            *("<>", "queue:Q1", "rule:policy.conf:7", "host:mx1", "~anna", "since:2026-11-29", "client:203.0.113.0/24"),
        ]
    ),
    max_size=2,
)
DECISIONS = st.lists(
    st.fixed_dictionaries(
        {
            "sender": ADDRESSES,
            "recipient": ADDRESSES,
            "sasl_username": ADDRESSES,
            "queue_id": st.sampled_from(["", "Q1"]),
            "rule": st.sampled_from(["policy.conf:7", "policy.conf:9"]),
            "after_s": st.sampled_from([0, 1, 50_000]),
        }
    ),
    max_size=25,
)


@settings(max_examples=EXAMPLES, deadline=None)
@given(decisions=DECISIONS, settled=st.integers(0, 25), scope=SCOPES, words=WORDS, size=st.integers(1, 4))
def test_a_scope_is_a_filter(decisions, settled, scope, words, size):
    """With any words, and read page by page."""
    with tempfile.TemporaryDirectory() as folder:
        history = filled(Path(folder), decisions, settled)
        query = query_of(words, NOON_S)
        expected = [each for each in history.find(query) if scope.has(each.recipient, each.login)]
        confined = Confined(history, scope)
        assert list(confined.find(query)) == expected
        assert list(pages(confined, query, size)) == expected
        assert list(pages(history, query, size)) == list(history.find(query))


def pages(history, query, size):
    """All decisions, a few at a time."""
    while page := list(history.find(query, size)):
        yield from page
        query = replace(query, before=page[-1].cursor)


def filled(folder, decisions, settled):
    """A history in which the first decisions have their places in the indexes."""
    at_s, directory = NOON_S, str(folder / "history")
    log = folder / "log.json"
    lines = [begin()]
    for each in decisions:
        fields = dict(each)
        at_s += fields.pop("after_s")
        lines.append(decision(at_s, instance=fields["queue_id"] and "1.2", **fields))
    store = Store(directory)
    ingester = Ingester(str(log), store, 3650, print, lambda: NOON_S)
    log.write_bytes(b"".join(lines[: settled + 1]))
    ingester.turn()
    for day in store._days.values():
        day.settle()
    log.write_bytes(b"".join(lines))
    ingester.turn()
    assert not ingester.odd
    ingester.close()
    history = History(directory, lambda: NOON_S)
    assert len(list(history.find(Query()))) == len(decisions)
    return history
