"""What changes, counted by the pair of replies, and the riskiest first.

Letting mail in that was kept out is the first kind of change, keeping out mail that came in the second, anything else
the last. Within a kind, decisions have risks, the gravest first; those with graver ones come first, then the newest:

1. the sender claims one of our own domains (the recipient's, or one of `local_domains`) without having signed in;
2. a DNS list had the client or the domain when the decision was made;
3. the client was refused by several rules;
4. the client was refused MANY times or more.

The last two are looked up for MOST_CLIENTS clients, those with the graver risks and the most changes first.
"""

from __future__ import annotations

import enum
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from forkpolicy.history.errors import HistoryError
from forkpolicy.history.query import Query
from forkpolicy.tables.keys import ip_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from forkpolicy.history.place import Reader
    from forkpolicy.history.whatif.judging import Changed, Reply

MANY: Final = 20
MOST_CLIENTS: Final = 50
# Of one client so many decisions are looked at, the newest.
_MOST_OF_CLIENT: Final = 300
_KEPT_OUT: Final = frozenset({"REJECT", "DEFER", "DEFER_IF_REJECT", "DEFER_IF_PERMIT", "DISCARD", "HOLD"})


class Kind(enum.IntEnum):
    """What a change does to mail, the riskiest first."""

    LETS_IN = 0
    KEEPS_OUT = 1
    OTHER = 2


@dataclass(frozen=True, slots=True)
class Client:
    """What the history has of a client: rules that have refused it, and how often."""

    rules: int = 0
    refused: int = 0


@dataclass(frozen=True, slots=True)
class Sample:
    """One decision that changes, and its risks in words, the gravest first."""

    changed: Changed
    risks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """All decisions of one pair of replies, by one pair of rules. `samples`: some of them, the riskiest first."""

    before: Reply
    after: Reply
    kind: Kind
    decisions: int
    samples: tuple[Sample, ...]


def in_order(history: Reader, changed: Iterable[Changed], most: int) -> list[Change]:
    """The changes, the riskiest first, each with `most` samples."""
    pairs: dict[tuple[Reply, Reply], list[Changed]] = {}
    for each in changed:
        pairs.setdefault((each.before, each.after), []).append(each)
    clients = _clients(history, [each for several in pairs.values() for each in several])
    ranked = []
    for (before, after), several in pairs.items():
        several.sort(key=lambda each: (_weight(each, clients), -each.found.at_ms))
        samples = tuple(Sample(each, _risks(each, clients)) for each in several[:most])
        change = Change(before, after, kind_of(before, after), len(several), samples)
        ranked.append((change.kind, _weight(several[0], clients), -len(several), change))
    return [change for *_, change in sorted(ranked, key=lambda each: each[:3])]


def kind_of(before: Reply, after: Reply) -> Kind:
    """What the change from one reply to another does."""
    was_out, is_out = is_kept_out(before.verb), is_kept_out(after.verb)
    if was_out and not is_out:
        return Kind.LETS_IN
    return Kind.KEEPS_OUT if is_out and not was_out else Kind.OTHER


def is_kept_out(verb: str) -> bool:
    """Whether a reply of that first word keeps a mail from its mailbox, for now or for good."""
    return verb.upper() in _KEPT_OUT or (verb[:1] in "45" and verb.isdigit())


def _weight(changed: Changed, clients: Mapping[str, Client]) -> tuple[bool, ...]:
    """Sorts what has graver risks first."""
    client = clients.get(changed.found.client or "", Client())
    return not changed.is_forged, not changed.is_listed, client.rules < 2, client.refused < MANY


def _risks(changed: Changed, clients: Mapping[str, Client]) -> tuple[str, ...]:
    client = clients.get(changed.found.client or "", Client())
    several = f"{client.refused}{'+' * (client.refused >= _MOST_OF_CLIENT)}"
    said = (
        (changed.is_forged, "claims a domain of ours without having signed in"),
        (changed.is_listed, "was on a DNS list"),
        (client.rules > 1, f"its client was refused by {client.rules} rules"),
        (client.refused >= MANY, f"its client was refused {several} times"),
    )
    return tuple(text for is_so, text in said if is_so)


def _clients(history: Reader, changed: Iterable[Changed]) -> dict[str, Client]:
    """By address."""
    ranks = Counter[str]()
    graver: dict[str, tuple[bool, ...]] = {}
    for each in changed:
        client = each.found.client
        if client and kind_of(each.before, each.after) is Kind.LETS_IN:
            ranks[client] += 1
            graver[client] = min(graver.get(client, (True, True)), (not each.is_forged, not each.is_listed))
    chosen = sorted(ranks, key=lambda client: (graver[client], -ranks[client]))[:MOST_CLIENTS]
    found = {}
    for client in chosen:
        key = ip_key(client)
        try:
            several = list(history.find(Query(clients=[[(key, key)]]), _MOST_OF_CLIENT)) if key else []
        except HistoryError:
            # A day that is damaged, which the doubts name.
            continue
        refused = [each.rule for each in several if is_kept_out(each.verb)]
        found[client] = Client(len(set(refused)), len(refused))
    return found
