"""What a listing of the queue comes to, however long it is."""

from __future__ import annotations

import pytest

from forkpolicy.console.queue.figures import MOST_GROUPS, MOST_OF_GROUP, OTHERS, Figures, peer_of, reason_of
from forkpolicy.postfix.queued_mail import QueuedMail, Waiting

NOW_S = 1_800_000_000


def mail(age_s=0, *recipients, queue="deferred", queue_id="4F2A0C1B2D"):
    """One that came so long ago; `recipients`: pairs of an address and a reason."""
    waiting = tuple(Waiting(*each) for each in recipients or [("a@example.com", "later")])
    return QueuedMail(queue, queue_id, NOW_S - age_s, 300, "news@example.org", waiting)


def figures(*mails):
    """Of these."""
    found = Figures(NOW_S)
    for each in mails:
        found.add(each)
    return found


def test_recipients_are_counted_by_age():
    """Ten minutes, an hour and a day are bounds; what came in the future is new."""
    ages_s = (-5, 0, 599, 600, 3599, 3600, 86_399, 86_400, 10**7)
    found = figures(*(mail(age_s) for age_s in ages_s))
    assert found.whole.ages == [3, 2, 2, 2]
    assert found.whole.oldest_s == NOW_S - 10**7


def test_domains_are_folded_and_a_mail_counts_once_in_each():
    """Also of recipients without a domain."""
    found = figures(mail(0, ("a@Example.COM", "x"), ("b@example.com.", "x"), ("root", "x")))
    assert {name: (each.mails, each.recipients) for name, each in found.domains.items()} == {
        "example.com": (1, 2),
        "": (1, 1),
    }


def test_so_many_groups_and_mails_are_kept_and_no_more():
    """The oldest mails; what has no group of its own is counted together."""
    every = [
        mail(number, (f"a@d{number}.example", f"reason {'x' * (number % 150)}")) for number in range(MOST_GROUPS + 9)
    ]
    found = figures(*every)
    assert len(found.domains) == MOST_GROUPS + 1
    assert found.domains[OTHERS].recipients == 9
    assert len(found.whole.reasons) == MOST_OF_GROUP + 1
    assert [each.arrived_s for each in found.whole.rows] == [
        NOW_S - MOST_GROUPS - 8 + place for place in range(MOST_OF_GROUP)
    ]


@pytest.mark.parametrize(
    ("queue", "text", "reason"),
    [
        (
            "deferred",
            "connect to mx[192.0.2.1]:25: Connection refused",
            "connect to mx[192.0.2.1]:25: Connection refused",
        ),
        ("deferred", "450 4.1.1 <anna@example.com>: unknown", "450 4.1.1 <...>: unknown"),
        ("deferred", "451 try later (id 4F2A0C1B2DZ)", "451 try later (id ...)"),
        ("deferred", "x" * 500, "x" * 200),
        ("deferred", "", "not tried yet"),
        ("active", "", "being delivered"),
        ("hold", "", "put on hold"),
    ],
)
def test_a_reason_has_nothing_of_one_mail(queue, text, reason):
    """So that mails with the same reason are in one group."""
    assert reason_of(mail(queue=queue), Waiting("a@example.com", text)) == reason


@pytest.mark.parametrize(
    ("text", "peer"),
    [
        ("connect to 192.0.2.5[192.0.2.5]:25: Connection refused", "192.0.2.5[192.0.2.5]:25"),
        ("host mx.example.com[2001:db8::1] said: 450 no", "mx.example.com[2001:db8::1]"),
        ("lost connection with mx.example.com[192.0.2.1] while", "mx.example.com[192.0.2.1]"),
        ("conversation with mx.example.com[192.0.2.1] timed out", "mx.example.com[192.0.2.1]"),
        ("Host or domain name not found", ""),
        ("", ""),
    ],
)
def test_the_server_is_found_in_a_reason(text, peer):
    """By what Postfix writes in front of it."""
    assert peer_of(text) == peer
