"""What the load test of a gateway rests on: a day that repeats, an oracle that is right, verdicts on what was seen."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest

from loadtest.traffic.gateway_day import HOURS, SHARES, GatewayDay, Lists, SiteMail, digest_of, text_of
from loadtest.traffic.gateway_oracle import (
    BLOCKED,
    DELIVERED,
    FORGED,
    HELD_POLICY,
    HELD_SPAM,
    UNKNOWN,
    GatewayOracle,
)
from loadtest.traffic.gateway_verdicts import Expected, Seen, verdict

DOMAINS = ("example.com", "example.net")
FRIEND = "friend.example.org"
ORACLE = GatewayOracle(("alice@example.com", "bob@example.net"), DOMAINS, FRIEND, "203.0.113.", "strange")
LISTS = Lists(
    frozenset({("alice@example.com", f"news@{FRIEND}"), ("example.net", f"all@{FRIEND}")}),
    frozenset({("alice@example.com", "pest@example.org"), ("example.net", "pest.example.edu")}),
)
MAIL = SiteMail(1, "plain", "198.51.100.1", "mail", "news@example.org", ("alice@example.com",))


def a_day(seed=1, mails=3000):
    """A day of a hundred mailboxes."""
    return GatewayDay(DOMAINS, FRIEND, 100, mails, seed)


@pytest.mark.parametrize(
    ("recipient", "change", "fate"),
    [
        ("alice@example.com", {}, DELIVERED),
        ("ALICE@Example.com", {}, DELIVERED),
        ("carol@example.com", {}, UNKNOWN),
        ("alice@example.com", {"sender": ""}, DELIVERED),
        ("alice@example.com", {"sender": "boss@example.net"}, FORGED),
        ("carol@example.com", {"sender": "boss@example.net"}, FORGED),
        ("alice@example.com", {"sender": "boss@example.net", "client": ""}, DELIVERED),
        ("alice@example.com", {"sender": "Pest@example.org"}, BLOCKED),
        ("bob@example.net", {"sender": "pest@example.org"}, DELIVERED),
        ("bob@example.net", {"sender": "x@pest.example.edu"}, BLOCKED),
        ("alice@example.com", {"sender": "x@pest.example.edu"}, DELIVERED),
        ("alice@example.com", {"is_spam": True}, HELD_SPAM),
        ("alice@example.com", {"is_spam": True, "helo": "strange"}, HELD_SPAM),
        ("alice@example.com", {"helo": "strange"}, HELD_POLICY),
        ("alice@example.com", {"is_spam": True, "sender": f"news@{FRIEND}"}, HELD_SPAM),
        ("alice@example.com", {"is_spam": True, "sender": f"news@{FRIEND}", "client": "203.0.113.7"}, DELIVERED),
        ("bob@example.net", {"is_spam": True, "sender": f"news@{FRIEND}", "client": "203.0.113.7"}, HELD_SPAM),
        ("bob@example.net", {"is_spam": True, "sender": f"all@{FRIEND}", "client": "203.0.113.7"}, DELIVERED),
    ],
)
def test_the_oracle_knows_each_fate(recipient, change, fate):
    """Forged before blocked before unknown before content; a welcome only with SPF; lists of one or of a domain."""
    assert ORACLE.fate(MAIL._replace(**change), recipient, LISTS) == fate


def test_a_day_repeats_by_its_seed():
    """Mails, lists, wishes: the same again; another seed, another day."""
    days = [
        [(hour, [a_day(seed).wish(n, "x") for n in range(50)]) for hour in a_day(seed).hours()] for seed in (1, 1, 2)
    ]
    assert days[0] == days[1]
    assert days[0] != days[2]


def test_a_day_has_all_its_mails_and_kinds():
    """As many as were asked for, numbered once, each kind in its share, and both lists change each hour."""
    hours = list(a_day().hours())
    mails = [mail for hour in hours for mail in hour.mails]
    assert len(hours) == HOURS
    assert len(mails) == len({mail.number for mail in mails}) == 3000
    counts = Counter(mail.kind for mail in mails)
    for kind, percent in SHARES.items():
        assert counts[kind] == pytest.approx(percent * 30, abs=40 + percent), kind
    for before, after in itertools.pairwise(hours):
        assert before.lists.welcome != after.lists.welcome
        assert before.lists.block != after.lists.block
    assert all(len({each.lower() for each in mail.recipients}) == len(mail.recipients) for mail in mails)


def test_a_day_has_every_fate_and_mails_with_several():
    """Also recipients of one mail with three different ones."""
    day = a_day()
    oracle = GatewayOracle(day.people, DOMAINS, FRIEND, "203.0.113.", "pool-17.dynamic.example.org")
    fates = [
        {oracle.fate(mail, each, hour.lists) for each in mail.recipients} for hour in day.hours() for mail in hour.mails
    ]
    assert set().union(*fates) == {DELIVERED, BLOCKED, FORGED, UNKNOWN, HELD_POLICY, HELD_SPAM}
    assert {UNKNOWN, DELIVERED, HELD_SPAM} in fates


def test_a_mail_carries_the_digest_of_its_body():
    """Whatever becomes of its line ends on the way; spam has the word, other mail has not."""
    raw = text_of(MAIL._replace(is_spam=True), 1, "the-word")
    head, _, body = raw.partition(b"\r\n\r\n")
    assert digest_of(body).encode() in head
    assert digest_of(body) == digest_of(body.replace(b"\r\n", b"\n"))
    assert b"the-word" in body
    assert b"the-word" not in text_of(MAIL, 1, "the-word")
    assert b"\r\n." not in raw


@pytest.mark.parametrize(
    ("fate", "wish", "seen", "kind"),
    [
        (DELIVERED, "", (250, 1, False, []), ""),
        (DELIVERED, "", (250, 1, False, ["delivered"]), ""),
        (DELIVERED, "", (250, 0, False, []), "lost"),
        (DELIVERED, "", (250, 2, False, []), "doubled"),
        (DELIVERED, "", (250, 1, True, []), "wrong"),
        (DELIVERED, "", (250, 0, False, ["held"]), "wrong"),
        (DELIVERED, "", (550, 0, False, []), "wrong"),
        (DELIVERED, "", (0, 0, False, []), "wrong"),
        (HELD_SPAM, "", (250, 0, False, ["held"]), ""),
        (HELD_SPAM, "", (250, 1, False, ["held"]), "wrong"),
        (HELD_SPAM, "", (250, 1, False, []), "wrong"),
        (HELD_SPAM, "", (250, 0, False, ["held", "held"]), "doubled"),
        (HELD_SPAM, "", (250, 0, False, ["expired"]), "wrong"),
        (HELD_SPAM, "release", (250, 1, False, ["delivered"]), ""),
        (HELD_SPAM, "release", (250, 0, False, ["delivered"]), "wrong"),
        (HELD_SPAM, "release", (250, 2, False, ["delivered"]), "doubled"),
        (HELD_POLICY, "delete", (250, 0, False, ["deleted"]), ""),
        (HELD_POLICY, "delete", (250, 0, False, ["held"]), "wrong"),
        (FORGED, "", (554, 0, False, []), ""),
        (FORGED, "", (550, 0, False, []), "wrong"),
        (UNKNOWN, "", (550, 0, False, []), ""),
        (UNKNOWN, "", (450, 0, False, []), "wrong"),
        (BLOCKED, "", (554, 1, False, []), "wrong"),
    ],
)
def test_a_verdict_sees_each_mistake(fate, wish, seen, kind):
    """Wrong, lost or doubled, and nothing where all is well."""
    code, delivered, is_changed, states = seen
    expected = Expected(MAIL, "alice@example.com", fate, wish)
    assert verdict(expected, Seen(code, "", delivered, is_changed, states)) == kind
