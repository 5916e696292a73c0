"""What `until=` says of the entries of a table: which have expired, which will soon, and when the first one does."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final

from forkpolicy.compile.diagnostics import FirstDiagnostics
from forkpolicy.errors import Diagnostic

# As many of those that expire soon are named.
MAX_NAMED: Final = 20


@dataclass(slots=True)
class Expiring:
    """Of one piece of a source, or of all sources of a table."""

    # How many have expired, by their last day.
    expired: Counter[date] = field(default_factory=Counter)
    # The last day of the first that will.
    first: date | None = None
    soon: FirstDiagnostics = field(default_factory=FirstDiagnostics)

    @property
    def expired_count(self) -> int:
        """How many are left out."""
        return self.expired.total()

    def is_served(self, until: date, today: date) -> bool:
        """Whether an entry is compiled."""
        if until < today:
            self.expired[until] += 1
            return False
        self.first = min(self.first or until, until)
        return True

    def name_soon(self, until: date, source: int, about: Diagnostic) -> None:
        """One that expires soon. `source`: the number of its source."""
        self.soon.add((until, source, about.line), lambda: about)

    def add(self, other: Expiring) -> None:
        """Take in what another piece has."""
        self.expired.update(other.expired)
        self.soon.add_all(other.soon)
        if other.first:
            self.first = min(self.first or other.first, other.first)

    def expired_since(self, compiled_s: float) -> int:
        """How many were served by a table that was compiled then."""
        day = datetime.fromtimestamp(compiled_s).astimezone().date()
        return sum(count for until, count in self.expired.items() if until >= day)

    def named(self) -> list[Diagnostic]:
        """A warning for each that expires soon, the first in front; of many, how many more there are."""
        shown = self.soon.diagnostics[:MAX_NAMED]
        hidden = self.soon.count - len(shown)
        if hidden:
            message = f"and {hidden} more entries expire within a week"
            shown.append(Diagnostic(shown[-1].path, 0, 0, message, severity="warning"))
        return shown
