"""The oracle of what is remembered finds each kind of wrong reply, and allows what clients cannot know."""

from __future__ import annotations

import pytest

from loadtest.traffic.remembered import (
    Event,
    triplet,
    wrong_greylisting,
    wrong_limits,
    wrong_lists,
    wrong_values,
)

LIMIT = [(2, 16.0)]
NOT, HOLDS = False, True


def events(*rows):
    """(when, value, whether it held), or when as a pair of question and reply; one key."""
    made = []
    for number, (when, value, holds) in enumerate(rows):
        asked_s, answered_s = when if isinstance(when, tuple) else (when, when + 0.01)
        made.append(Event("key", value, 1000 + asked_s, 1000 + answered_s, holds, f"#{number}"))
    return made


@pytest.mark.parametrize(
    ("rows", "wrong"),
    [
        ([(0, "a", NOT), (1, "b", NOT), (2, "c", HOLDS), (17.1, "d", NOT)], ""),
        ([(0, "a", NOT), (1, "b", NOT), (15.5, "c", NOT)], "3 passed within 16 s"),
        ([(0, "a", NOT), (1, "b", HOLDS)], "there was room"),
        # A place is free a sixteenth late at most.
        ([(0, "a", NOT), (1, "b", NOT), (16.5, "c", HOLDS)], ""),
        ([(0, "a", NOT), (1, "b", NOT), (17.1, "c", HOLDS)], "there was room"),
        # The same message again counts nothing and passes again.
        ([(0, "a", NOT), (1, "a", NOT), (2, "b", NOT), (3, "c", HOLDS)], ""),
        ([(0, "a", NOT), (1, "b", NOT), (2, "a", HOLDS)], "had passed before"),
        # Asked at the same time: whichever counted first.
        ([((0, 5), "a", NOT), ((0, 5), "b", NOT), ((0, 5), "c", HOLDS)], ""),
        ([((0, 5), "a", NOT), ((6, 7), "b", HOLDS), ((8, 9), "c", NOT)], "there was room"),
    ],
)
def test_limits(rows, wrong):
    """No window has more than two, and nothing waits for less."""
    found = list(wrong_limits(events(*rows), LIMIT))
    assert bool(found) == bool(wrong), found
    assert wrong in "".join(found)


@pytest.mark.parametrize(
    ("rows", "wrong"),
    [
        ([(0, "a", NOT), (1, "b", NOT), (2, "c", HOLDS), (3, "a", HOLDS)], ""),
        ([(0, "a", NOT), (1, "b", NOT), (2, "c", NOT)], "one of 3"),
        ([(0, "a", NOT), (1, "a", HOLDS)], "were 1"),
        ([(0, "a", NOT), (1, "b", NOT), (18, "c", NOT)], ""),
        ([(0, "a", NOT), (1, "b", NOT), (19, "c", HOLDS)], "were 1"),
        ([((0, 5), "a", NOT), ((0, 5), "b", NOT), ((0, 5), "c", HOLDS)], ""),
    ],
)
def test_different_values(rows, wrong):
    """More than two within 16 seconds hold."""
    found = list(wrong_values(events(*rows), 2, 16.0))
    assert bool(found) == bool(wrong), found
    assert wrong in "".join(found)


@pytest.mark.parametrize(
    ("rows", "wrong"),
    [
        ([(0, "", HOLDS), (1, "", HOLDS), (3, "", NOT), (4, "", NOT)], ""),
        ([(0, "", NOT)], "nobody had seen it"),
        ([(0, "", HOLDS), (1, "", NOT)], "seen 1 s before at most"),
        ([(0, "", HOLDS), (3, "", HOLDS)], "seen 3 s before at least"),
        ([(0, "", HOLDS), (3, "", NOT), (4, "", HOLDS)], "had passed before"),
        ([(0, "", HOLDS), (30, "", NOT)], "30 at least"),
        ([(0, "", HOLDS), (30, "", HOLDS), (33, "", NOT)], ""),
        ([(0, "", HOLDS), (30, "", HOLDS), (31, "", NOT)], "seen 1 s before at most"),
        ([((0, 9), "", HOLDS), ((8, 9.5), "", NOT)], ""),
    ],
)
def test_greylisting(rows, wrong):
    """A delay of three seconds, a window of twenty."""
    found = list(wrong_greylisting(events(*rows), 3, 20))
    assert bool(found) == bool(wrong), found
    assert wrong in "".join(found)


@pytest.mark.parametrize(
    ("rows", "wrong"),
    [
        ([(1, "", HOLDS), (4, "", HOLDS), (7, "", NOT)], ""),
        ([(1, "", NOT)], "it was on the list"),
        ([(7, "", HOLDS)], "it was not on the list"),
        ([((-1, 2), "", NOT)], ""),
    ],
)
def test_lists(rows, wrong):
    """Remembered for five seconds."""
    put = [Event("key", "", 1000, 1000.01, holds=True, words="put")]
    found = list(wrong_lists(events(*rows), put, 5.0))
    assert bool(found) == bool(wrong), found
    assert wrong in "".join(found)


def test_what_a_request_remembers_it_finds():
    """`remember` comes before a later `listed`."""
    event = Event("key", "", 1000, 1000.01, holds=False, words="the same request")
    assert list(wrong_lists([event], [event], 5.0)) == ["the same request: it was on the list"]


@pytest.mark.parametrize(
    ("sender", "same_as"),
    [
        ("Bounce+17@lists.example.org", "bounce@lists.example.org"),
        ("news-20261128-7@example.org", "news-1-2@example.org"),
        ("prvs=0123456789=anna@example.org", "anna@example.org"),
        ("", "<>"),
    ],
)
def test_what_changes_from_mail_to_mail_is_no_part_of_a_triplet(sender, same_as):
    """Extensions, whole numbers, BATV."""
    assert triplet("192.0.2.9", sender, "b@example.com") == triplet("192.0.2.200", same_as, "B@example.com")
