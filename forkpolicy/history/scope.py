"""Whose decisions somebody may see: a part of each query, so that no reader of its answers has to leave any out."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

from forkpolicy.tables.keys import split_address

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkpolicy.history.place import Reader
    from forkpolicy.history.query import Names, Query
    from forkpolicy.history.search import Found


@dataclass(frozen=True, slots=True)
class Scope:
    """Decisions with a recipient or a login in one of the `domains`, or with one of the `addresses` as recipient; all
    of it folded. Neither: nothing.
    """

    domains: frozenset[str] = frozenset()
    addresses: frozenset[str] = frozenset()

    def has(self, recipient: str | None, login: str | None) -> bool:
        """Whether a decision with these folded addresses may be seen: what SQL does, in words."""
        return any(each is not None and _domain(each) in self.domains for each in (recipient, login)) or (
            recipient in self.addresses
        )

    def has_address(self, folded: str) -> bool:
        """Whether an address is one of those that this is about."""
        return folded in self.addresses or _domain(folded) in self.domains


class Confined:
    """A history of which only what a scope has is found: a Reader (place.py)."""

    def __init__(self, history: Reader, scope: Scope) -> None:
        self._history, self._scope = history, scope

    def find(self, query: Query, most: int = 1 << 62) -> Iterator[Found]:
        """Decisions within the scope that meet a query. Who may not see a login finds nothing by it: the beginnings of
        logins that find something would say it letter by letter.
        """
        query = replace(query, scope=self._scope)
        by_login = [names for names in query.names if "login" in names.columns]
        if not by_login:
            return self._history.find(query, most)
        found = (each for each in self._history.find(query) if all(self._is_met(each, names) for names in by_login))
        return islice(found, min(most, sys.maxsize))

    def _is_met(self, found: Found, names: Names) -> bool:
        """Whether a decision that was found has these in a column that may be seen."""
        is_hidden = found.login is not None and not self._scope.has_address(found.login)
        return any(names.has(getattr(found, each)) for each in names.columns if each != "login" or not is_hidden)

    def raw(self, found: Found) -> bytes:
        """Its line as the log had it: of one that was found here."""
        return self._history.raw(found)

    def beginnings(self, text: str, most: int, _scope: Scope | None = None) -> list[str]:
        """Those of recipients and logins within the scope."""
        return self._history.beginnings(text, most, self._scope)

    def days(self, query: Query) -> list[str]:
        """The days of which there is anything."""
        return self._history.days(query)

    def gaps(self, query: Query) -> list[tuple[int, int, str]]:
        """When decisions of anybody are missing."""
        return self._history.gaps(query)


def _domain(folded: str) -> str | None:
    """None: it has none."""
    return split_address(folded)[1] or None
