"""What makes most of the refusals of a time: the rule, the clients' network, the senders' domain.

The rule is counted; network and domain are of the newest decisions of that rule, so many that it takes milliseconds.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from ipaddress import ip_network
from typing import TYPE_CHECKING, Final

from forkpolicy.console.now.kinds import REFUSED, kind_of
from forkpolicy.history.query import Query
from forkpolicy.history.rollup_sums import SLOT_S, slot_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from forkpolicy.console.now.rates import Rates
    from forkpolicy.history.place import Reader
    from forkpolicy.history.search import Found

_LOOKED_AT: Final = 300
# What makes less than this is not "most".
_SHARE: Final = 0.5


@dataclass(frozen=True, slots=True)
class Share:
    """So many of so many are of `text`, a rule (file and line), a network or a domain; empty: none has most."""

    text: str = ""
    count: int = 0
    of: int = 0


@dataclass(frozen=True, slots=True)
class Mostly:
    """Each may be empty. Those of network and domain are of the newest refusals by `rule`."""

    rule: Share = Share()
    network: Share = Share()
    domain: Share = Share()


def mostly(rates: Rates, history: Reader, since_s: int, now_s: float) -> Mostly:
    """Of the refusals since then. Raises HistoryError."""
    counts = rates.rules(since_s // SLOT_S, slot_of(now_s))
    refused = Counter({key: count for key, count in counts.items() if kind_of(key[1]) == REFUSED})
    if not refused:
        return Mostly()
    (line, verb), count = refused.most_common(1)[0]
    query = Query(rules=[line], verbs=[verb], since_ms=since_s * 1000)
    newest = list(history.find(query, _LOOKED_AT))
    return Mostly(
        Share(line, count, refused.total()),
        _most(network_of(each) for each in newest),
        _most(each.sender.rpartition("@")[2] if each.sender else "" for each in newest),
    )


def network_of(found: Found) -> str:
    """The /24 or /64 of a client; empty where it is not known."""
    if not found.client:
        return ""
    bits = 64 if ":" in found.client else 24
    return str(ip_network(f"{found.client}/{bits}", strict=False))


def _most(texts: Iterable[str]) -> Share:
    every = list(texts)
    counts = Counter(text for text in every if text)
    if not counts:
        return Share()
    text, count = counts.most_common(1)[0]
    return Share(text, count, len(every)) if count >= _SHARE * len(every) else Share()
