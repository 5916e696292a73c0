"""Commands to a master at its control socket, and its replies: declared here, checked on both sides.

A command may be of another release: fields that this one does not know are passed over. Those about what is remembered
go on to the state process (state_messages.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from forkpolicy.documents import InvalidDocumentError, parse

# To the master


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


@dataclass(frozen=True, slots=True)
class StateWalkCommand:
    """Read at most so many records whose keys begin with `prefix` and come after `after`, both in hexadecimal."""

    prefix: str
    after: str
    most: int


StateCommand = StateResetCommand | StateRememberCommand | StateForgetCommand | StateWalkCommand
Command = StatusCommand | ReloadCommand | ScaleCommand | StopCommand | StateCommand
COMMANDS: Final[dict[str, type[Command]]] = {
    "status": StatusCommand,
    "reload": ReloadCommand,
    "scale": ScaleCommand,
    "stop": StopCommand,
    "state-reset": StateResetCommand,
    "state-remember": StateRememberCommand,
    "state-forget": StateForgetCommand,
    "state-walk": StateWalkCommand,
}
# What members of [server] control_group may ask; the rest is for the socket's owner and root.
OF_THE_GROUP: Final = frozenset({StatusCommand, ReloadCommand, StateResetCommand, StateForgetCommand, StateWalkCommand})


def parse_command(fields: dict[str, object]) -> Command:
    """The command of a client, which may be of another release. Raises InvalidDocumentError."""
    name = fields.get("command")
    if not isinstance(name, str) or name not in COMMANDS:
        raise InvalidDocumentError(f"unknown command {name!r}")
    return parse(COMMANDS[name], fields, others=True)


# From the master


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


@dataclass(frozen=True, slots=True)
class StateWalkReply:
    """Keys and records in hexadecimal, and the time of the store, in seconds since 1970."""

    ok: bool
    records: tuple[tuple[str, str], ...]
    now_s: float


Reply = ReloadReply | ScaleReply | StopReply | ErrorReply | StateReply | StateWalkReply
