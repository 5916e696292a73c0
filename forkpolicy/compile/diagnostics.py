"""The first diagnostics of many, by their place. A wrong file has as many mistakes as lines; few readers need all."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from forkpolicy.errors import Diagnostic

if TYPE_CHECKING:
    from collections.abc import Callable

    from forkpolicy.policy.nodes import TableDeclaration

MAX_DIAGNOSTICS: Final = 200
# The hint about a table that became much smaller.
ACCEPTED_BY: Final = '--allow-shrink accepts it, and so does "may-shrink" behind the kind of a list that people edit'

Order = Any  # whatever sorts: a text while entries are merged, numbers of source and line while they are parsed


@dataclass(slots=True)
class FirstDiagnostics:
    """Keeps the MAX_DIAGNOSTICS first, in whatever order they come, and counts all of them."""

    count: int = 0
    # Each behind what it is sorted by; cut back when it has twice as many as are wanted.
    _kept: list[tuple[Order, Diagnostic]] = field(default_factory=list)
    # From here on nothing is among the first.
    _end: Order | None = None

    @property
    def diagnostics(self) -> list[Diagnostic]:
        """The first of all that came, in order."""
        self._cut()
        return [diagnostic for _, diagnostic in self._kept]

    @property
    def unshown(self) -> int:
        """How many more there were."""
        return self.count - len(self.diagnostics)

    def add(self, order: Order, make: Callable[[], Diagnostic]) -> None:
        """Count one; it is made where it may be among the first."""
        self.count += 1
        if self._may_be_first(order):
            self._keep(order, make())

    def add_all(self, other: FirstDiagnostics) -> None:
        """Take in what another part has found."""
        self.count += other.count
        for order, diagnostic in other._kept:
            if self._may_be_first(order):
                self._keep(order, diagnostic)

    def _may_be_first(self, order: Order) -> bool:
        return self._end is None or order < self._end

    def _keep(self, order: Order, diagnostic: Diagnostic) -> None:
        self._kept.append((order, diagnostic))
        if len(self._kept) >= 2 * MAX_DIAGNOSTICS:
            self._cut()

    def _cut(self) -> None:
        self._kept.sort(key=itemgetter(0))
        if len(self._kept) >= MAX_DIAGNOSTICS:
            del self._kept[MAX_DIAGNOSTICS:]
            self._end = self._kept[-1][0]


def at_table(declaration: TableDeclaration, message: str, hint: str = "") -> Diagnostic:
    """A diagnostic about a table as a whole, at its declaration."""
    return Diagnostic(declaration.path, declaration.line, 0, f"table {declaration.name}: {message}", hint=hint)


def as_warning(diagnostic: Diagnostic) -> Diagnostic:
    """The same, as a warning."""
    return replace(diagnostic, severity="warning")
