"""Everything that processes of one server send each other, but connections (worker/handover.py), sockets
(master/sockets/inherited.py), what the state process reports (state_messages.py) and commands (control_messages.py):
declared here, checked by documents.py, dispatched by `match` on the class. All of it travels over link.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from forkpolicy.link import Vocabulary
from forkpolicy.status import PolicySummary, WorkerState, ZoneTest

# A reload sends every file of the policy.
MAX_FILES_BYTES: Final = 1 << 28
# Texts of lines and warnings: longer policies do not fit into that many bytes.
MAX_FILES_ELEMENTS: Final = 1 << 24
# A worker reads bytes of strangers, and may become theirs: thousands of tables, with why each is refused, and no more.
MAX_REPORT_BYTES: Final = 1 << 22
MAX_REPORT_ELEMENTS: Final = 1 << 16


# From the master to a worker


@dataclass(frozen=True, slots=True)
class Prepare:
    """Load this generation, from the bytes of its files, next to the one that serves."""

    generation: int
    snapshot: dict[str, bytes]


@dataclass(frozen=True, slots=True)
class Commit:
    """Serve what was prepared."""

    generation: int


@dataclass(frozen=True, slots=True)
class Abort:
    """Forget what was prepared."""

    generation: int


@dataclass(frozen=True, slots=True)
class Retire:
    """Hand every connection over and end. `others_wait`: workers of another master take them."""

    others_wait: bool


@dataclass(frozen=True, slots=True)
class Hurry:
    """Wait for nothing any more, and end."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Answer what was read, with `drain` also what waits in the sockets' queues, and end."""

    drain: bool


@dataclass(frozen=True, slots=True)
class ProbeZones:
    """Test the DNS lists of the policy, and report."""


@dataclass(frozen=True, slots=True)
class SwitchZones:
    """Do not ask these DNS lists, for these reasons; ask all others."""

    off: dict[str, str]


ToWorker = Prepare | Commit | Abort | Retire | Hurry | Stop | ProbeZones | SwitchZones
TO_WORKER: Final[Vocabulary[ToWorker]] = Vocabulary(
    Prepare,
    Commit,
    Abort,
    Retire,
    Hurry,
    Stop,
    ProbeZones,
    SwitchZones,
    max_bytes=MAX_FILES_BYTES,
    max_elements=MAX_FILES_ELEMENTS,
)


# From a worker to the master


@dataclass(frozen=True, slots=True)
class Ready:
    """It serves."""

    state: WorkerState


@dataclass(frozen=True, slots=True)
class Unfit:
    """It cannot open all tables, and ends."""

    reason: str


@dataclass(frozen=True, slots=True)
class ServedTable:
    """It serves the file that goes with this message, under this path."""

    path: str


@dataclass(frozen=True, slots=True)
class StateChanged:
    """It serves other tables, or the shadow has counted on."""

    state: WorkerState


@dataclass(frozen=True, slots=True)
class Prepared:
    """It has prepared a generation, or reports why it cannot."""

    generation: int
    diagnostics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Committed:
    """It serves the new generation."""

    generation: int
    state: WorkerState


@dataclass(frozen=True, slots=True)
class Retiring:
    """It ends by itself (requests, memory, a signal)."""

    reason: str


@dataclass(frozen=True, slots=True)
class ProbedZones:
    """It has tested the DNS lists of its policy."""

    tests: tuple[ZoneTest, ...]


@dataclass(frozen=True, slots=True)
class ZoneRefuses:
    """A DNS list has said that it does not answer."""

    zone: str
    why: str


ToMaster = Ready | Unfit | ServedTable | StateChanged | Prepared | Committed | Retiring | ProbedZones | ZoneRefuses
TO_MASTER: Final[Vocabulary[ToMaster]] = Vocabulary(
    Ready,
    Unfit,
    ServedTable,
    StateChanged,
    Prepared,
    Committed,
    Retiring,
    ProbedZones,
    ZoneRefuses,
    max_bytes=MAX_REPORT_BYTES,
    max_elements=MAX_REPORT_ELEMENTS,
)


# From the child that loads to the master


@dataclass(frozen=True, slots=True)
class Outline:
    """What the master must know of a generation that another process has loaded, and the bytes of its files."""

    snapshot: dict[str, bytes]
    summary: PolicySummary
    line_texts: tuple[str, ...]
    table_paths: tuple[str, ...]
    warnings: tuple[str, ...]
    remembers: bool = False
    zones: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reading:
    """It is about to read this path."""

    path: str


@dataclass(frozen=True, slots=True)
class LoadedFiles:
    """The files can be served with."""

    outline: Outline


@dataclass(frozen=True, slots=True)
class RefusedFiles:
    """They cannot, and why; `bug` is the traceback where it was a fault of ours."""

    reasons: tuple[str, ...]
    bug: str = ""


FromLoader = Reading | LoadedFiles | RefusedFiles
FROM_LOADER: Final[Vocabulary[FromLoader]] = Vocabulary(
    Reading, LoadedFiles, RefusedFiles, max_bytes=MAX_FILES_BYTES, max_elements=MAX_FILES_ELEMENTS
)
