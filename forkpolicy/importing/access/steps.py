"""What a run of restrictions does, step by step, in words of a policy: made by `reading`, written by `writing`. Pure.

`ends_run`: a policy replies once, so that nothing may stand behind a step that replies and yet goes on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from forkpolicy.importing.access.results import Does
from forkpolicy.importing.table_text import TableEntry

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from forkpolicy.importing.access.results import Result
    from forkpolicy.importing.left_out import Origin
    from forkpolicy.importing.table_text import TableLine

# How many networks of a family a table's entry may hold without a word of its administrator.
WIDEST: Final = {".": 8, ":": 16}


@dataclass(frozen=True)
class Outcome:
    """What one result of a map does: a reply, or the steps of the restriction classes that it names."""

    result: Result
    steps: tuple[Step, ...] = ()

    @property
    def ends_run(self) -> bool:
        """Whether nothing may stand behind it."""
        return self.result.does is Does.GOES_ON or any(step.ends_run for step in self.steps)


class Verdict(NamedTuple):
    """`reject`, `permit` or `defer` in a class: the reply whatever the request is."""

    result: Result
    origin: Origin
    ends_run: bool = False


class Source(NamedTuple):
    """What is asked: an attribute of requests, and the kind of table for it. `guard`: an ACL that must hold."""

    attribute: str
    kind: str
    guard: Acl | None = None


class Acl(NamedTuple):
    """An ACL to declare: the name that is wished for, its type and its values."""

    name: str
    type_name: str
    values: tuple[str, ...]


class Table(NamedTuple):
    """A table with the words of results as values. `texts`: of words that stand for many replies, their texts."""

    source: Source
    lines: list[TableLine]
    texts: dict[str, list[TableLine]]

    def firsts(self) -> dict[str, Origin]:
        """Of each word in it the place of the first entry that has it."""
        found: dict[str, Origin] = {}
        for line in self.lines:
            if isinstance(line, TableEntry) and line.value and line.origin:
                found.setdefault(line.value, line.origin)
        return found


@dataclass(frozen=True)
class MapLookup:
    """An indexed map, `word` in main.cf: of its tables the first that has an entry decides. `outcomes`: by the word in
    the tables.
    """

    word: str
    name: str
    tables: Sequence[Table]
    outcomes: Mapping[str, Outcome]
    origin: Origin

    @property
    def ends_run(self) -> bool:
        """Whether one of its results is the last thing."""
        return any(outcome.ends_run for outcome in self.outcomes.values())


class Case(NamedTuple):
    """Terms that are all met, and then a result. A term is an ACL and whether it must hold."""

    terms: tuple[tuple[Acl, bool], ...]
    result: Result
    origin: Origin
    comments: tuple[str, ...] = ()


@dataclass(frozen=True)
class CaseLookup:
    """An ordered map: the first case whose terms are met decides."""

    name: str
    cases: Sequence[Case]
    ends_run: bool = field(init=False)

    def __post_init__(self) -> None:
        """DUNNO in front of other cases is a reply, and ends the run."""
        object.__setattr__(self, "ends_run", any(case.result.does is not Does.ENDS for case in self.cases))


@dataclass(frozen=True)
class NetworkLookup:
    """A cidr: map as a table, and what is too wide for one as cases behind it, the narrower first."""

    word: str
    name: str
    table: Table
    outcomes: Mapping[str, Outcome]
    wide: Sequence[Case]
    origin: Origin

    @property
    def ends_run(self) -> bool:
        """Whether one of its results is the last thing."""
        goes_on = any(case.result.does is not Does.ENDS for case in self.wide)
        return goes_on or any(outcome.ends_run for outcome in self.outcomes.values())


Step = Verdict | MapLookup | CaseLookup | NetworkLookup


def sequence_ends_run(steps: Iterable[Step]) -> bool:
    """Whether nothing may stand behind these; ValueError where something stands behind one of them already."""
    ended = False
    for step in steps:
        if ended:
            raise ValueError("a map that does something and goes on stands in front of others in this class")
        ended = step.ends_run
    return ended
