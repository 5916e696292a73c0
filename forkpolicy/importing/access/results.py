"""The right-hand side of access(5), and what a policy can make of it. Pure; raises ValueError with the reason.

A result ends its list (OK, REJECT, DEFER, a code, DISCARD), goes on behind its map (DUNNO), or does something and goes
on (HOLD, PREPEND, FILTER ...): a policy replies once, so the latter is the last thing that one look-up may do.
"""

from __future__ import annotations

import enum
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from forkpolicy.importing.access.logical_lines import one_line
from forkpolicy.postfix.lists import split_list
from forkpolicy.protocol.reply import RESTRICTIONS, VERBS, parse_reply

if TYPE_CHECKING:
    from collections.abc import Collection

# Their text is ignored, or there is none.
_PERMITS: Final = ("OK", "RELAY")
_ENDS: Final = frozenset({*_PERMITS, "REJECT", "DEFER", "DISCARD"})
_CODE: Final = re.compile(r"[45][0-9][0-9]\s+\S", re.ASCII)


class Does(enum.Enum):
    """What smtpd does after it."""

    NOTHING = "goes on behind the map"
    ENDS = "ends the list"
    GOES_ON = "does something and goes on"
    CLASSES = "evaluates restriction classes"


class Result(NamedTuple):
    """`reply`: what a policy replies; of classes, their restrictions. `permits`: whether it ends the list with OK."""

    does: Does
    reply: str
    permits: bool = False
    ignored: str = ""


DUNNO: Final = Result(Does.NOTHING, "DUNNO")


def parse_result(text: str, classes: Collection[str]) -> Result:
    """The result of a map. `ignored`: why Postfix does nothing. Raises ValueError for what no policy replies."""
    text = one_line(text)
    word, _, rest = text.partition(" ")
    verb = word.upper()
    if any(each in ("#", ";") for each in text.split()):
        raise ValueError('a "#" or ";" alone cannot be part of the text of an action')
    if not text:
        raise ValueError("an empty result, which Postfix takes for OK and warns of: write OK if it is meant")
    if verb == "DUNNO":
        return DUNNO
    if text.isascii() and text.isdigit():
        return Result(Does.ENDS, "OK", permits=True)
    if verb in _PERMITS:
        return Result(Does.ENDS, "OK", permits=True)
    if _CODE.match(text):
        return Result(Does.ENDS, parse_reply(text).text)
    if verb in VERBS:
        return _of_verb(verb, rest)
    return _of_restrictions(text, classes)


def _of_verb(verb: str, rest: str) -> Result:
    separator = {"FILTER": ":", "REDIRECT": "@", "BCC": "@"}.get(verb, "")
    if separator not in rest or (verb == "PREPEND" and not re.match(r"[!-9;-~]+:", rest)):
        return Result(Does.NOTHING, "DUNNO", ignored=f"Postfix ignores {verb} {rest}".strip() + ", and warns of it")
    reply = parse_reply(f"{verb} {rest}".strip()).text
    does = Does.ENDS if verb in _ENDS else Does.GOES_ON
    return Result(does, reply)


def _of_restrictions(text: str, classes: Collection[str]) -> Result:
    words = [word.lower() for word in split_list(text)]
    if any(word in classes for word in split_list(text)):
        return Result(Does.CLASSES, text)
    if words == ["reject"]:
        return Result(Does.ENDS, "REJECT")
    if words == ["permit"]:
        return Result(Does.ENDS, "OK", permits=True)
    unknown = [word for word in words if word not in RESTRICTIONS]
    if unknown:
        raise ValueError(f'"{unknown[0]}" is neither an action of access(5) nor a restriction that a policy can reply')
    return Result(Does.GOES_ON, " ".join(words))
