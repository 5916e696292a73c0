"""Answers of a hostile name server: the right answer, or none with the reason; and no other question pays for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from forkpolicy.world.dns.answers import NODATA, NXDOMAIN, Status
from forkpolicy.world.dns.channels import NOT_ASKED, REASONS
from loadtest.servers.names.behaviours import (
    fails,
    formerr_to_edns,
    has,
    in_turn,
    late,
    listed,
    malformed,
    malformed_first,
    never,
    not_mine_first,
    nxdomain,
    only_header,
    sends,
    truncated,
)
from loadtest.servers.names.messages import REFUSED, SERVFAIL, Record
from loadtest.servers.names.server import NameServer
from tests.resolving import asking

LISTED = ("127.0.0.2",)
LONG = "x" * 5000
NAME = "2.0.0.127.list.example"
OTHER = "other.example.net"


@pytest.fixture
def ask():
    """Asks a server with one behaviour; the answer and the server."""

    def asked(behaviour, rrtype="A", timeout_s=1.0, **options):
        with NameServer({NAME: behaviour}, **options) as server, asking(server.address, timeout_s=timeout_s) as client:
            return client.ask(NAME, rrtype), server.asked[NAME, rrtype]

    return asked


def test_no_such_name_and_no_such_record_are_different_answers(ask):
    """NXDOMAIN and NODATA, both kept for a minute."""
    assert ask(nxdomain("list.example"))[0] == NXDOMAIN
    assert ask(has(Record("MX", "10 mx.example.com")))[0] == NODATA


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (fails(SERVFAIL), "SERVFAIL"),
        (fails(REFUSED), "REFUSED"),
        (malformed(), "malformed answer"),
        (only_header(), "malformed answer"),
        (sends(Record("A", "127.0.0.2", name=OTHER)), "the answer was for another name"),
        (never(), "no answer in 0.6 s"),
    ],
)
def test_a_server_that_fails_leaves_it_unknown_with_the_reason(ask, behaviour, reason):
    """Nothing is known, and nothing is made of what came."""
    answer, _ = ask(behaviour, timeout_s=0.3)
    assert (answer.status, answer.records, answer.reason) == (Status.FAILED, (), reason)


@pytest.mark.parametrize(
    "behaviour",
    [
        formerr_to_edns(listed()),
        malformed_first(listed()),
        not_mine_first(listed()),
        in_turn(never(), listed()),
        late(0.3, listed()),
        has(Record("A", "127.0.0.2"), Record("A", "127.0.0.9", name=OTHER)),
    ],
    ids=["no EDNS", "malformed at first", "replies that do not fit first", "one lost", "late", "records of others"],
)
def test_the_right_answer_is_found_among_wrong_ones(ask, behaviour):
    """What does not fit the question is not its answer."""
    assert ask(behaviour)[0].records == LISTED


def test_a_truncated_answer_is_fetched_by_tcp(ask):
    """5 KB of text."""
    answer, asked = ask(truncated(has(Record("TXT", LONG))), "TXT")
    assert (answer.records, asked) == ((LONG.encode(),), 2)


def test_a_truncated_answer_without_tcp_fails(ask):
    """Refused: at once; a connection that is never answered: within two time-outs."""
    assert ask(truncated(has(Record("TXT", LONG))), "TXT", tcp=False)[0].reason == "the name server cannot be reached"
    assert ask(truncated(never()), "TXT", 0.3)[0].reason == "no answer in 0.6 s"


def test_aliases_are_followed_to_their_end(ask):
    """However they are ordered; the lowest TTL counts."""
    chain = (
        Record("A", "127.0.0.2", 900, name="c.example"),
        Record("CNAME", "c.example", 200, name="B.Example"),
        Record("CNAME", "b.example", 800),
    )
    answer, _ = ask(sends(*chain))
    assert (answer.records, answer.ttl_s) == (LISTED, 200)
    assert ask(sends(*chain[1:]))[0] == NODATA


def test_a_circle_of_aliases_fails(ask):
    """It is no answer, and it ends."""
    circle = sends(Record("CNAME", "b.example"), Record("CNAME", NAME, name="b.example"))
    assert ask(circle)[0].reason == "its CNAME records lead in a circle or too far"


@pytest.mark.parametrize(("ttl_s", "kept_s"), [(0, 60), (59, 60), (61, 61), (3601, 3600), (2**31 - 1, 3600)])
def test_answers_are_kept_for_a_minute_at_least_and_an_hour_at_most(ask, ttl_s, kept_s):
    """Whatever TTL the server gives."""
    assert ask(listed(ttl_s=ttl_s))[0].ttl_s == kept_s


def test_one_malformed_answer_fails_nobody_else():
    """Of 100 questions in flight at once on the sockets of the resolver, 99 are answered."""
    names = [f"n{number}.example" for number in range(99)]
    zones = {name: late(0.2, listed()) for name in names}
    with NameServer({"bad.example": late(0.1, malformed()), **zones}) as server, asking(server.address) as client:
        answers = [client.begin(name) for name in [*names[:50], "bad.example", *names[50:]]]
        client.wait()
    assert [answer.records for (answer,) in answers].count(LISTED) == 99
    assert answers[50][0].reason == "malformed answer"


def test_operators_can_read_what_each_failure_means():
    """docs/operations.md has every reason, but for names that are asked for in another way (odd_names.py)."""
    text = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    missing = [reason for error, reason in REASONS.items() if error != NOT_ASKED and f"`{reason}`" not in text]
    assert missing == []
