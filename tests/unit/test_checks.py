"""Warnings about policies that load: each where it belongs, and none beside it."""

from __future__ import annotations

import time

import pytest

from forkpolicy.policy.checks import find_warnings
from tests.fakes import policy_of
from tests.unit.test_policy import FOUNDING, ROWS, TABLES

A = "acl a sender @a.example\nacl b recipient @b.example\naction r REJECT\naction y OK\n"


def warnings_of(text):
    return [str(each) for each in find_warnings(policy_of(text, {name: {} for name in ROWS}).model, {})]


@pytest.mark.parametrize("text", [FOUNDING, TABLES], ids=["words", "tables"])
def test_the_founding_policies_surprise_nobody(text):
    """No false alarm about what the project is for."""
    assert warnings_of(text) == []


@pytest.mark.parametrize(
    ("text", "place", "told"),
    [
        (A + "access a b r\naccess a !a y\n", "6:1", "the same holds and does not hold"),
        (A + "access a y\naccess a b r\n", "6:1", "line 5 has decided before"),
        (A + "acl c sender @a.example\naccess a y\naccess b c r\n", "7:1", "line 6 has decided before"),
        (A + "acl s protocol_state CONNECT\naccess b s y\naccess a r\n", "6:1", "no protocol state knows all of"),
        (A + "acl n recipient_count >5\nacl s protocol_state RCPT\naccess n s y\naccess a b r\n", "7:1", "never fires"),
        (A + "access a y\n", "2:5", 'acl "b" is never used'),
        (A + "access a b y\n", "3:10", 'action "r" is never used'),
        ("acl x client_name dynamic\naction r REJECT\naccess x r\n", "1:19", "write /dynamic/"),
        ("acl x sender (sales|info)@bar.com\naction y OK\naccess x y\n", "1:14", r"write (sales|info)@bar\.com"),
        ("acl x helo_name [192.0.2.1]\naction y OK\naccess x y\n", "1:17", r"is /^\[192\.0\.2\.1\]$/"),
        ("acl x client_address 192.0.2.0/24 192.0.2.7\naction y OK\naccess x y\n", "1:35", "is part of 192.0.2.0/24"),
        ("acl x sender @a.example\naction r REJECT\naccess !x r\n", "3:1", "every bounce"),
        ("acl x null_sender\naction r REJECT\naccess x r\n", "3:1", "every bounce"),
        ("acl x sender @a.example\naction p score 1\naccess x p\n", "3:1", "no ACL of type score asks"),
        ("acl x score >1\naction y OK\naccess x y\n", "1:5", "no action adds"),
        (
            "acl e protocol_state END-OF-MESSAGE\naction p PREPEND X-A: b\naccess e p\n",
            "3:1",
            "PREPEND does nothing at END-OF-MESSAGE",
        ),
    ],
    ids=lambda value: value[-40:],
)
def test_a_surprise_is_told(text, place, told):
    """Where it is, what is surprising, and what to write instead."""
    assert any(f"policy.conf:{place}: warning: " in each and told in each for each in warnings_of(text)), warnings_of(
        text
    )


@pytest.mark.parametrize(
    "text",
    [
        A + "access a b r\naccess a y\n",
        A + "access a b r\naccess a !b y\n",
        A + "acl s protocol_state RCPT\naccess a b s r\naccess a y\n",
        A + "action l log seen\naccess a l\naccess a b r\naccess a y\n",
        A + "action p score 1\nacl s score >1\naccess s y\naccess a p\naccess b r\naccess s r\n",
        "acl x client_name unknown mail.example.com\naction r REJECT\naccess x r\n",
        "acl x sender (sales|info)@bar\\.com /^a.*b$/\naction y OK\naccess x y\n",
        "acl x client_address 192.0.2.0/24 198.51.100.7\naction y OK\naccess x y\n",
        "acl x sender @a.example\nacl n null_sender\naction r REJECT\naccess !n !x r\n",
        "acl x client_address 192.0.2.1\naction r REJECT\naccess x r\n",
        "acl e protocol_state END-OF-MESSAGE RCPT\naction p PREPEND X-A: b\naccess e p\n",
    ],
    ids=lambda value: value[-40:],
)
def test_a_near_miss_is_not_told(text):
    """What only looks like it is left alone."""
    assert warnings_of(text) == []


def test_ten_thousand_lines_are_analysed_at_once():
    """Also when one ACL stands in every line."""
    lines = ["acl us sender @us.example", "action r REJECT"]
    for number in range(10_000):
        lines += [f"acl a{number} recipient u{number}@b.example", f"access us a{number} r"]
    policy = policy_of("\n".join(lines) + "\n")
    start = time.process_time()
    assert find_warnings(policy.model, {}) == []
    assert time.process_time() - start < 2
