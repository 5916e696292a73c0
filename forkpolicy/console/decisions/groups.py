"""Decisions in groups: by the domain of the sender, the network of the client, or the rule. Of the newest ones."""

from __future__ import annotations

import ipaddress
from collections import Counter
from typing import TYPE_CHECKING, Final

from forkpolicy.console.now.kinds import KINDS, kind_of
from forkpolicy.history.asking.words import with_word
from forkpolicy.tables.keys import split_address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from forkpolicy.history.search import Found

# Three hundredths of a second for a thousand.
MOST_GROUPED: Final = 3000
_MOST_SHOWN: Final = 50


def _by_domain(found: Found) -> tuple[str, str]:
    if found.sender is None:
        return "no sender yet", ""
    if not found.sender:
        return "<>", "from:<>"
    domain = split_address(found.sender)[1]
    return (domain, f"from:@{domain}") if domain else (found.sender, f"from:{found.sender}")


def _by_network(found: Found) -> tuple[str, str]:
    try:
        address = ipaddress.ip_address(found.client or "")
    except ValueError:
        return "unknown", ""
    network = ipaddress.ip_network((address, 24 if address.version == 4 else 64), strict=False)
    return str(network), f"client:{network}"


def _by_rule(found: Found) -> tuple[str, str]:
    return found.rule, f"rule:{found.rule}"


GROUPS: Final[dict[str, tuple[str, Callable[[Found], tuple[str, str]]]]] = {
    "domain": ("sender domain", _by_domain),
    "network": ("client network", _by_network),
    "rule": ("rule", _by_rule),
}


def grouped_by(name: str, decisions: Iterable[Found], words: Sequence[str]) -> list[dict[str, object]]:
    """The largest groups, each with the words that find it."""
    _, key = GROUPS[name]
    counts: Counter[tuple[str, str]] = Counter()
    kinds: Counter[tuple[tuple[str, str], str]] = Counter()
    latest_s: dict[tuple[str, str], float] = {}
    for each in decisions:
        group = key(each)
        counts[group] += 1
        kinds[group, kind_of(each.verb)] += 1
        latest_s.setdefault(group, each.at_ms / 1000)
    return [
        {
            "value": value,
            "words": with_word(words, word) if word else None,
            "decisions": count,
            **{kind: kinds[(value, word), kind] for kind in KINDS},
            "latest_s": latest_s[value, word],
        }
        for (value, word), count in counts.most_common(_MOST_SHOWN)
    ]
