"""Everything that processes of one server send each other, but connections (worker/handover.py), sockets
(master/sockets/inherited.py), and what the state process reports (state_messages.py): declared here, checked by
documents.py, dispatched by `match` on the class.

`TO_WORKER`, `TO_MASTER` and `FROM_LOADER` travel over link.py. A command at the control socket and its reply are one
line of JSON each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from forkpolicy.documents import InvalidDocumentError, parse
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


# From a command to the master, at the control socket; those about what is remembered go on to the state process


@dataclass(frozen=True, slots=True)
class StatusCommand:
    """Report everything."""


@dataclass(frozen=True, slots=True)
class ReloadCommand:
    """Read settings and policy again."""


@dataclass(frozen=True, slots=True)
class ScaleCommand:
    """Keep so many workers."""

    workers: int


@dataclass(frozen=True, slots=True)
class StopCommand:
    """Stop gracefully."""


@dataclass(frozen=True, slots=True)
class StateResetCommand:
    """Forget the records of an ACL or a list, all of them or those whose key begins with these parts."""

    name: str
    key: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StateRememberCommand:
    """Put a key on a list, for so long."""

    name: str
    key: tuple[str, ...]
    duration_s: int


@dataclass(frozen=True, slots=True)
class StateForgetCommand:
    """Take a key off a list."""

    name: str
    key: tuple[str, ...]


StateCommand = StateResetCommand | StateRememberCommand | StateForgetCommand
Command = StatusCommand | ReloadCommand | ScaleCommand | StopCommand | StateCommand
COMMANDS: Final[dict[str, type[Command]]] = {
    "status": StatusCommand,
    "reload": ReloadCommand,
    "scale": ScaleCommand,
    "stop": StopCommand,
    "state-reset": StateResetCommand,
    "state-remember": StateRememberCommand,
    "state-forget": StateForgetCommand,
}


def parse_command(fields: dict[str, object]) -> Command:
    """The command of a client, which may be of another release. Raises InvalidDocumentError."""
    name = fields.get("command")
    if not isinstance(name, str) or name not in COMMANDS:
        raise InvalidDocumentError(f"unknown command {name!r}")
    return parse(COMMANDS[name], fields, others=True)


# From the master to a command


@dataclass(frozen=True, slots=True)
class ReloadReply:
    """The outcome of a reload: the generation that serves now, why it is not the new one, what needs a restart."""

    ok: bool
    generation: int
    diagnostics: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ScaleReply:
    """So many workers from now on."""

    ok: bool
    workers: int


@dataclass(frozen=True, slots=True)
class StopReply:
    """The end has begun; that of the connection is that of the master."""

    ok: bool


@dataclass(frozen=True, slots=True)
class ErrorReply:
    """The command is not valid."""

    ok: bool
    error: str


@dataclass(frozen=True, slots=True)
class StateReply:
    """So many records were changed or forgotten."""

    ok: bool
    changed: int


Reply = ReloadReply | ScaleReply | StopReply | ErrorReply | StateReply
