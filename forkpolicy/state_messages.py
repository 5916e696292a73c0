"""What the master and the state process send each other, over link.py.

The master passes on the commands of the control socket; each is answered by one `StateDone` or `StateWalked`, in
their order. The end of
the link is the end of the state process: it writes what it has, and ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from forkpolicy.control_messages import (
    StateCommand,
    StateForgetCommand,
    StateRememberCommand,
    StateResetCommand,
    StateWalkCommand,
)
from forkpolicy.link import Vocabulary
from forkpolicy.status import StateFigures

# A command of the control socket has 4 KiB, an error a few lines.
MAX_BYTES: Final = 1 << 16
MAX_ELEMENTS: Final = 1 << 12

TO_STATE: Final[Vocabulary[StateCommand]] = Vocabulary(
    StateResetCommand,
    StateRememberCommand,
    StateForgetCommand,
    StateWalkCommand,
    max_bytes=MAX_BYTES,
    max_elements=MAX_ELEMENTS,
)


@dataclass(frozen=True, slots=True)
class StateReady:
    """The live map is there: workers may open it."""


@dataclass(frozen=True, slots=True)
class StateRefused:
    """It cannot work, and ends; `exit_code` as in errors.py."""

    exit_code: int
    reason: str


@dataclass(frozen=True, slots=True)
class StateReport:
    """How its maps are, once a second."""

    figures: StateFigures


@dataclass(frozen=True, slots=True)
class StateDone:
    """The answer to a command: how many records were changed, or why it could not be done."""

    changed: int
    error: str = ""


@dataclass(frozen=True, slots=True)
class StateWalked:
    """The answer to a walk: keys and records in hexadecimal, and the time of the store."""

    records: tuple[tuple[str, str], ...]
    now_s: float


FromState = StateReady | StateRefused | StateReport | StateDone | StateWalked
FROM_STATE: Final[Vocabulary[FromState]] = Vocabulary(
    StateReady, StateRefused, StateReport, StateDone, StateWalked, max_bytes=MAX_BYTES, max_elements=MAX_ELEMENTS
)
