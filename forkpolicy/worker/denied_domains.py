"""The domains whose mail a worker denies most, within fixed memory: a stranger invents as many domains as he likes.

Misra-Gries with a batch: up to twice SLOTS domains are counted; then all but SLOTS go, and what the largest of those
had is taken from the others, too. So a count is never too high, a domain with more than one in SLOTS of all denials is
always there, and a batch costs each of its domains a share of one sort. Called for denied requests only.
"""

from __future__ import annotations

from heapq import nlargest
from typing import Final

SLOTS: Final = 64
# No domain is longer (RFC 1035); what is, is counted by its end.
MAX_NAME_CHARS: Final = 253
# REJECT and DEFER with or without a code. What may still be accepted (DEFER_IF_PERMIT), and mail that is lost without
# a word (DISCARD), is not denied.
DENIALS: Final = frozenset({"REJECT", "5xx", "DEFER", "4xx"})
# How senders without a domain are counted: the null sender, and a bare local part.
NULL_SENDER: Final = "<>"
NO_DOMAIN: Final = "(no domain)"
BEFORE_MAIL: Final = ("CONNECT", "EHLO", "HELO")


class DeniedDomains:
    """Of one generation of the policy."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def count(self, sender: str, state: str) -> None:
        """One denied request; before MAIL nobody knows the sender."""
        if not sender and state in BEFORE_MAIL:
            return
        _, at, domain = sender.rpartition("@")
        name = domain[-MAX_NAME_CHARS:].lower() if at else NO_DOMAIN if sender else NULL_SENDER
        counts = self._counts
        if name in counts:
            counts[name] += 1
            return
        if len(counts) >= 2 * SLOTS:
            self._make_room()
        self._counts[name] = 1

    def _make_room(self) -> None:
        *kept, (_, least) = nlargest(SLOTS + 1, self._counts.items(), key=lambda item: item[1])
        self._counts = {name: count - least for name, count in kept if count > least}

    def describe(self) -> dict[str, int]:
        """The counts so far, for `top`."""
        return dict(self._counts)
