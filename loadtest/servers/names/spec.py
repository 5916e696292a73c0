"""Behaviours of a name server written in a word, for command lines: `late:3:listed`, `truncated:listed:127.0.0.4`.

One word, then its arguments, then the behaviour that it changes, with colons between them. Raises ValueError with what
was expected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from loadtest.servers.names.behaviours import (
    fails,
    formerr_to_edns,
    late,
    listed,
    malformed,
    malformed_first,
    never,
    not_mine_first,
    nxdomain,
    sends,
    truncated,
)
from loadtest.servers.names.messages import REFUSED, SERVFAIL, Record

if TYPE_CHECKING:
    from collections.abc import Callable

    from loadtest.servers.names.behaviours import Behaviour

OTHER: Final = "other.example.net"
# What they may have behind them: nothing, a text, or a behaviour.
ALONE: Final[dict[str, Callable[[], Behaviour]]] = {
    "servfail": lambda: fails(SERVFAIL),
    "refused": lambda: fails(REFUSED),
    "malformed": malformed,
    "never": never,
    "other": lambda: sends(Record("A", "127.0.0.2", name=OTHER)),
}
WITH_TEXT: Final[dict[str, Callable[[str], Behaviour]]] = {
    "listed": lambda code: listed(code or "127.0.0.2"),
    "nxdomain": nxdomain,
}
CHANGING: Final[dict[str, Callable[[Behaviour], Behaviour]]] = {
    "formerr": formerr_to_edns,
    "malformed-first": malformed_first,
    "not-mine-first": not_mine_first,
    "truncated": truncated,
}
WORDS: Final = (*ALONE, *WITH_TEXT, *(f"{word}:..." for word in CHANGING), "late:SECONDS:...")


def behaviour(text: str) -> Behaviour:
    """The behaviour that a word means."""
    word, _, rest = text.partition(":")
    if word in ALONE and not rest:
        return ALONE[word]()
    if word in WITH_TEXT:
        return WITH_TEXT[word](rest)
    if word in CHANGING:
        return CHANGING[word](behaviour(rest))
    if word == "late":
        seconds, _, then = rest.partition(":")
        return late(_number(seconds), behaviour(then))
    raise ValueError(f'expected one of {", ".join(WORDS)}, and not "{text}"')


def zone(text: str) -> tuple[str, str]:
    """`ZONE=BEHAVIOUR`, both as texts."""
    name, equals, word = text.partition("=")
    if not equals or not name:
        raise ValueError(f'expected ZONE=BEHAVIOUR, such as list.example=late:3:listed, and not "{text}"')
    behaviour(word)
    return name.lower(), word


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise ValueError(f'expected a number of seconds, and not "{text}"') from error
