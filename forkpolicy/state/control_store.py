"""What is remembered, read through the control socket by those who may not open the map: `state-walk`, step by step.

Raises StateError.
"""

from __future__ import annotations

import time

from forkpolicy.control_client import ask_for
from forkpolicy.control_messages import StateWalkReply
from forkpolicy.errors import ForkpolicyError, StateError

_TIMEOUT_S = 10.0


class ControlStore:
    """The store of the master whose control socket is at `path`, for reading."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._now_s = time.time()

    def walk(self, prefix: bytes, after: bytes, most: int) -> list[tuple[bytes, bytes]]:
        """As Store.walk, but fewer at once."""
        command: dict[str, object] = {
            "command": "state-walk",
            "prefix": prefix.hex(),
            "after": after.hex(),
            "most": most,
        }
        try:
            reply = ask_for(StateWalkReply, self._path, command, _TIMEOUT_S)
        except ForkpolicyError as error:
            raise StateError(str(error)) from error
        self._now_s = reply.now_s
        return [(bytes.fromhex(key), bytes.fromhex(record)) for key, record in reply.records]

    def now_s(self) -> float:
        """Its clock, when it was read last."""
        return self._now_s

    def close(self) -> None:
        """Nothing is open between two questions."""
