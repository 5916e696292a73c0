"""What the exclusions of a Postfix list (`!pattern`) leave of the members after them.

The first member of a list that matches decides, and a table has no order: so what was excluded is subtracted. Of a
network that leaves smaller ones; of "everything below a name" it leaves nothing that a table could hold, and
ValueError is raised.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from forkpolicy.tables.keys import parent_keys, parse_network, range_text, split_range

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkpolicy.tables.keys import IpRange


@dataclass(slots=True)
class Exclusions:
    """Keys of a cidr table (`are_networks`) or of names that were excluded so far."""

    are_networks: bool
    _ranges: list[IpRange] = field(default_factory=list)
    _names: set[str] = field(default_factory=set)

    def add(self, key: str) -> None:
        """Exclude it from later members. Raises ValueError for what is not a network."""
        if self.are_networks:
            self._ranges.append(parse_network(key, allow_wide=True))
        else:
            self._names.add(key.lower())

    def without(self, key: str) -> list[str]:
        """What is left of a member: keys. Raises ValueError."""
        if self._ranges:
            return self._networks_without(key)
        return self._names_without(key) if self._names else [key]

    def _names_without(self, key: str) -> list[str]:
        name = key.lower()
        if self._names.intersection((name, *parent_keys(name))):
            return []
        below = next((each for each in self._names if name.startswith(".") and each.endswith(name)), None)
        if below:
            raise ValueError(f"{below} is excluded from the names below {key[1:]}: list the names that are meant")
        return [key]

    def _networks_without(self, key: str) -> list[str]:
        left = [parse_network(key, allow_wide=True)]
        if not any(_meet(left[0], each) for each in self._ranges):
            return [key]
        for excluded in self._ranges:
            left = [rest for each in left for rest in _difference(each, excluded)]
        return [range_text(*network) for each in left for network in split_range(*each)]


def _meet(one: IpRange, other: IpRange) -> bool:
    return one[0] <= other[1] and other[0] <= one[1]


def _difference(one: IpRange, other: IpRange) -> Iterator[IpRange]:
    """The parts of a range that lie outside another."""
    if not _meet(one, other):
        yield one
        return
    if one[0] < other[0]:
        yield one[0], _neighbour(other[0], -1)
    if other[1] < one[1]:
        yield _neighbour(other[1], 1), one[1]


def _neighbour(address: bytes, step: int) -> bytes:
    """The address before or after one; never called at an end of its family."""
    return (int.from_bytes(address, "big") + step).to_bytes(len(address), "big")
