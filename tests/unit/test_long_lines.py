"""Lines of more ACLs than Python nests blocks: compiled in pieces, each of which has to hold."""

from __future__ import annotations

import pytest

from forkpolicy.policy.plan.source import MAX_DEPTH
from tests.fakes import decide, policy_of

COUNT = 3 * MAX_DEPTH + 20
PLACES = [0, 1, MAX_DEPTH - 1, MAX_DEPTH, MAX_DEPTH + 1, 2 * MAX_DEPTH - 1, 2 * MAX_DEPTH, 3 * MAX_DEPTH, COUNT - 1]


def policy_with(marks):
    """One line, of an ACL for each mark; ACL N holds for the sender uN@example.com alone."""
    acls = "".join(f"acl a{number} sender u{number}@example.com\n" for number in range(len(marks)))
    terms = " ".join(f"{mark}a{number}" for number, mark in enumerate(marks))
    return policy_of(f"{acls}action first REJECT first\naccess {terms} first\n")


@pytest.mark.parametrize("odd", PLACES)
def test_one_acl_that_holds_keeps_a_long_line_of_negated_ones_from_firing(odd):
    """Whichever piece of the line it stands in, first or last of it."""
    policy = policy_with(["!"] * COUNT)
    assert decide(policy, sender=f"u{odd}@example.com") == "DUNNO"
    assert decide(policy, sender="nobody@example.com") == "REJECT first"


@pytest.mark.parametrize("odd", PLACES)
def test_one_acl_that_does_not_hold_keeps_a_long_line_from_firing(odd):
    """The only ACL without a `!` decides, whichever piece of the line it stands in."""
    policy = policy_with(["" if number == odd else "!" for number in range(COUNT)])
    assert decide(policy, sender=f"u{odd}@example.com") == "REJECT first"
    assert decide(policy, sender="nobody@example.com") == "DUNNO"
    assert decide(policy, sender=f"u{(odd + 7) % COUNT}@example.com") == "DUNNO"


@pytest.mark.parametrize("odd", PLACES)
def test_a_long_line_says_nothing_about_the_next(odd):
    """A line that got as far as its last piece leaves nothing behind for the line below it."""
    text = "".join(f"acl a{number} sender u{number}@example.com\n" for number in range(COUNT))
    text += "acl here protocol_state RCPT\naction first REJECT first\naction second REJECT second\n"
    terms = [f"!a{number}" for number in range(COUNT)]
    # Everything above it holds: only its last ACL keeps the first line from firing.
    text += f"access {' '.join(terms)} !here first\naccess {' '.join(terms)} here second\n"
    policy = policy_of(text)
    assert decide(policy, sender="nobody@example.com") == "REJECT second"
    assert decide(policy, sender=f"u{odd}@example.com") == "DUNNO"


@pytest.mark.parametrize("length", [MAX_DEPTH - 1, MAX_DEPTH, MAX_DEPTH + 1, 2 * MAX_DEPTH])
def test_a_line_as_long_as_a_piece(length):
    """Where a line ends with a piece, nothing is missing and nothing is too much."""
    policy = policy_with(["!"] * length)
    assert decide(policy, sender="nobody@example.com") == "REJECT first"
    for odd in (0, length - 1):
        assert decide(policy, sender=f"u{odd}@example.com") == "DUNNO"


def test_what_cannot_be_known_in_a_later_piece_keeps_the_line_from_firing():
    """An unknown ACL behind the first piece, plain or negated."""
    for mark in ("", "!"):
        text = "".join(f"acl a{number} sender u{number}@example.com\n" for number in range(MAX_DEPTH + 5))
        terms = " ".join(f"!a{number}" for number in range(MAX_DEPTH + 5))
        text += f"acl to recipient b@example.com\naction r REJECT r\naccess {terms} {mark}to r\n"
        policy = policy_of(text)
        assert decide(policy, sender="nobody@example.com", protocol_state="DATA", recipient="") == "DUNNO"
