"""Where a rule stood, and what of it could not be carried over. Pure."""

from __future__ import annotations

from typing import NamedTuple

from forkpolicy.secrets import masked


class Origin(NamedTuple):
    """A line of a file, or a row of a database (`path` has its table, `line` its key); 0: the whole of it."""

    path: str
    line: int = 0

    def __str__(self) -> str:
        """`postfwd.cf:14`, as comments of the policy and reports cite it; a URL without its password."""
        path = masked(self.path)
        return f"{path}:{self.line}" if self.line else path


class LeftOut(NamedTuple):
    """One thing that the policy does not have: what stood there, why, and what comes nearest to it."""

    origin: Origin
    what: str
    reason: str
    nearest: str = ""

    def __str__(self) -> str:
        """For people: one line, and a second one with the nearest thing."""
        line = f"{self.origin}: left out: {self.what}: {self.reason}"
        return f"{line}\n    {self.nearest}" if self.nearest else line


class Note(NamedTuple):
    """Something that was carried over, and that an administrator should know about."""

    origin: Origin
    text: str

    def __str__(self) -> str:
        """For people."""
        return f"{self.origin}: note: {self.text}"
