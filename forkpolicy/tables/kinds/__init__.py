"""The kinds of tables: one line each. What a kind means, from a line of a source to a look-up, stands in its file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from forkpolicy.tables.kinds.address import AddressKind
from forkpolicy.tables.kinds.cidr import CidrKind
from forkpolicy.tables.kinds.domain import DomainKind
from forkpolicy.tables.kinds.key import KeyKind

if TYPE_CHECKING:
    from forkpolicy.tables.kinds.kind import TableKind

KINDS: Final[dict[str, TableKind]] = {
    "cidr": CidrKind(),
    "domain": DomainKind(),
    "address": AddressKind(),
    "key": KeyKind(),
}
