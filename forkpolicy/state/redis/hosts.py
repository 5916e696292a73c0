"""What each host that shares an engine runs: written there once a minute by one of its workers, shown side by side.

A host that has stopped is forgotten after LASTS_S. `Announce` is a question of an engine alone: its answer says how
full that is.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Final

from forkpolicy.documents import InvalidDocumentError, parse, plain

if TYPE_CHECKING:
    from forkpolicy.state.store import Records
    from forkpolicy.status import StateFigures

EVERY_S: Final = 60
LASTS_S: Final = 3 * EVERY_S


@dataclass(frozen=True, slots=True)
class HostReport:
    """What a host runs. `policy`: the beginning of a digest of its policy's files; `tables`: versions by name."""

    version: str
    settings: str
    generation: int
    policy: str
    tables: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Announce:
    """Write the report of a host, as `encode` makes it."""

    kind: ClassVar[str] = "announce"

    host: str
    report: str

    def step(self, _records: Records) -> StateFigures:
        """Nothing that other stores do."""
        raise AssertionError(self)


def encode(report: HostReport) -> str:
    """A report as it is kept."""
    return json.dumps(plain(report))


def decode(text: str) -> HostReport | None:
    """The report; None for what another release has written in another form, or another program."""
    try:
        return parse(HostReport, json.loads(text), others=True)
    except (InvalidDocumentError, ValueError):
        return None
