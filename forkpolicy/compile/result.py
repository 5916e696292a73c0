"""What compiling one table is asked to do, and how it went."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from forkpolicy import expiry

if TYPE_CHECKING:
    from datetime import date

    from forkpolicy.compile.diagnostics import FirstDiagnostics
    from forkpolicy.compile.output.difference import Difference
    from forkpolicy.compile.output.statistics import Statistics
    from forkpolicy.errors import Diagnostic
    from forkpolicy.tables.format import Entry

State = Literal["compiled", "unchanged", "compared", "refused", "not written"]


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says about every table."""

    skip_bad: bool = False
    allow_wide: bool = False
    allow_shrink: bool = False
    interfaces_may_shrink: bool = False
    dry_run: bool = False
    if_changed: bool = False
    stats: bool = False
    protect: tuple[str, ...] = ()
    # The tables of our own networks and names, of which a feed must have nothing unless it may.
    own_tables: tuple[str, ...] = ()
    allow_own: bool = False
    recipient_delimiter: str = ""
    # Entries whose last day is before it have expired.
    today: date = field(default_factory=expiry.today)

    @property
    def flags(self) -> str:
        """What of it changes a table's content."""
        return f"skip_bad={self.skip_bad} allow_wide={self.allow_wide}"


@dataclass(slots=True)
class Result:
    """How compiling one table went. `reason`: why it could not be written."""

    name: str
    kind: str
    path: str
    state: State = "refused"
    reason: str = ""
    diagnostics: list[Diagnostic] = field(default_factory=list)
    # Errors beyond the first MAX_DIAGNOSTICS of a sort.
    unshown: int = 0
    entries: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    size_bytes: int = 0
    seconds: float = 0.0
    version: str = ""
    digest: str = ""
    # The last day of the entry that expires first.
    expires: str = ""
    difference: Difference | None = None
    statistics: Statistics | None = None
    # Entries that come from documentation: what their author may have forgotten to replace.
    examples: list[Entry] = field(default_factory=list)

    @property
    def errors(self) -> list[Diagnostic]:
        """Why it was refused."""
        return [each for each in self.diagnostics if each.severity == "error"]

    def refuse(self, *diagnostics: Diagnostic) -> Result:
        """The same, refused for these reasons too."""
        self.diagnostics += diagnostics
        self.state = "refused"
        return self

    def add(self, found: FirstDiagnostics) -> None:
        """Add diagnostics, and how many more there are."""
        self.diagnostics += found.diagnostics
        self.unshown += found.unshown
