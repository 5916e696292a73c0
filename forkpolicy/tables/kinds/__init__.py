"""The kinds of tables: one line each. What a kind means, from a line of a source to a look-up, stands in its file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from forkpolicy.errors import nearest
from forkpolicy.tables.kinds.address import AddressKind
from forkpolicy.tables.kinds.cidr import CidrKind
from forkpolicy.tables.kinds.domain import DomainKind
from forkpolicy.tables.kinds.key import KeyKind
from forkpolicy.tables.kinds.pair import PREFIX, pair_kind

if TYPE_CHECKING:
    from forkpolicy.tables.kinds.kind import TableKind


class _Kinds(dict[str, "TableKind"]):
    """Kinds by name. Those of several columns have as many names as there are columns to put together: they are found
    here, and are not among the items.
    """

    def __missing__(self, name: str) -> TableKind:
        if not name.startswith(PREFIX):
            raise KeyError(name)
        return pair_kind(name)


KINDS: Final = _Kinds(
    {
        "cidr": CidrKind(),
        "domain": DomainKind(),
        "address": AddressKind(),
        "key": KeyKind(),
    }
)


def check_kind(name: str) -> None:
    """Raises ValueError, with what is possible, where no kind of tables has that name."""
    if name.startswith(PREFIX):
        pair_kind(name)
    elif name not in KINDS:
        near = nearest(name, [*KINDS, PREFIX])
        hint = f'; did you mean "{near}"?' if near else ""
        raise ValueError(f'unknown kind of table "{name}": expected {", ".join(KINDS)} or {PREFIX}COLUMN,COLUMN{hint}')
