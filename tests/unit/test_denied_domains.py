"""Which senders' domains are denied most, with fixed memory."""

from __future__ import annotations

import random
from collections import Counter

from forkpolicy.worker.denied_domains import MAX_NAME_CHARS, NO_DOMAIN, NULL_SENDER, SLOTS, DeniedDomains


def test_domains_are_counted_in_lower_case() -> None:
    """One domain however it is written; senders without one have names of their own."""
    denied = DeniedDomains()
    for sender in ("a@Spam.example", "b@spam.EXAMPLE", '"x@y"@spam.example', "root", ""):
        denied.count(sender, "RCPT")
    assert denied.describe() == {"spam.example": 3, NO_DOMAIN: 1, NULL_SENDER: 1}


def test_before_mail_there_is_no_sender() -> None:
    """A client that is denied at CONNECT is not the null sender."""
    denied = DeniedDomains()
    for state in ("CONNECT", "EHLO", "HELO"):
        denied.count("", state)
    assert denied.describe() == {}


def test_invented_domains_do_not_grow_memory_nor_hide_the_frequent_ones() -> None:
    """Whoever has more than one in SLOTS of all denials is there, and never with more than it had."""
    chosen = random.Random(20261128)
    denied, exact = DeniedDomains(), Counter[str]()
    for number in range(50_000):
        domain = f"often{number % 7}.example" if chosen.random() < 0.4 else f"{number}.{'x' * 400}.example"
        exact[domain[-MAX_NAME_CHARS:]] += 1
        denied.count(f"a@{domain}", "RCPT")
        assert len(denied.describe()) <= 2 * SLOTS
    counts = denied.describe()
    assert all(len(name) <= MAX_NAME_CHARS for name in counts)
    for domain, count in exact.items():
        assert counts.get(domain, 0) <= count
        if count > 50_000 / SLOTS:
            assert count - counts[domain] <= 50_000 / SLOTS
