"""The fast way to the attributes that a policy reads: a learnt layout.

Postfix sends the same names in the same order for the life of a connection. `Layout` is one such order: a single
regular expression that checks every name and captures only what is wanted, at about a quarter of the cost of
splitting into a dict. A worker that has `worker/_turn.c` uses its twin there; this is the reference.

The layout is trusted for speed alone: its expression matches exactly those bytes for which `Request.parse` gives
the same values, and nothing else; without a match the caller parses the exact way. Names are literals in the
expression, so a name that no Postfix would send costs only its length.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from forkpolicy.protocol.attributes import ATTRIBUTES
from forkpolicy.protocol.request import REQUEST_NAME

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forkpolicy.protocol.request import Request

# Postfix 3.12 sends 33 attributes. Something far longer is not worth learning, and the memory stays bounded.
MAX_NAMES = 64
MAX_NAME_CHARS = 64

Values = tuple["str | None", ...]


def wanted_values(request: Request, wanted: Sequence[str]) -> Values:
    """What the policy reads of a request, the exact way; absent attributes are "", absent unlisted ones None."""
    return tuple(request.attributes.get(name, "" if name in ATTRIBUTES else None) for name in wanted)


class Layout:
    """One order of names and what is wanted of it. `values(raw)` is None for bytes of another layout."""

    __slots__ = ("_fullmatch", "_groups", "_straight")

    def __init__(self, names: Sequence[str], wanted: Sequence[str]) -> None:
        captured = [name for name in names if name in wanted]
        # Two groups more, for wanted names that are absent: one always empty, one that never takes part.
        absent = {True: len(captured) + 1, False: len(captured) + 2}
        # Match.group gives a tuple only for two groups or more; every policy wants more.
        assert len(wanted) >= 2
        # Wanted in the order of the layout, as a policy does, and all there: nothing to put in order.
        self._straight = captured == list(wanted)
        self._groups = tuple(
            captured.index(name) + 1 if name in captured else absent[name in ATTRIBUTES] for name in wanted
        )
        absents = "" if self._straight else r"()(\Z\n)?"
        self._fullmatch = re.compile(_expression(names, wanted) + absents).fullmatch

    def values(self, raw: bytes) -> Values | None:
        """The wanted values of one whole request, its closing empty line included; None: not this layout."""
        found = self._fullmatch(raw.decode("utf-8", "surrogateescape"))
        if found is None:
            return None
        if self._straight:
            return found.groups()
        values: Values = found.group(*self._groups)
        return values


def learnable(names: Sequence[str] | None) -> bool:
    """Whether a request's names are worth a layout."""
    return names is not None and len(names) <= MAX_NAMES and all(len(name) <= MAX_NAME_CHARS for name in names)


def _expression(names: Sequence[str], wanted: Sequence[str]) -> str:
    lines = [_line(name, captured=name in wanted) for name in names]
    # A CR at the end of the first line means that each line has one to be taken off: that is the exact way's job.
    lines[0] = lines[0].removesuffix("\\n") + r"(?<!\r)\n"
    return "".join(lines) + r"\n"


def _line(name: str, *, captured: bool) -> str:
    if name == "request" and not captured:
        return f"request={REQUEST_NAME}\\n"
    # Possessive: a value never gives a character back, so a mismatch fails in linear time.
    value = "([^\\n]*+)" if captured else "[^\\n]*+"
    if name == "request":
        value = f"({REQUEST_NAME})"
    return f"{re.escape(name)}={value}\\n"
