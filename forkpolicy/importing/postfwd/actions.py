"""The grammar of actions: a reply, or `COMMAND(ARGUMENTS)`; variables in texts. Pure."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

from forkpolicy.importing.postfwd.cannot import CannotError
from forkpolicy.importing.postfwd.parts import PARTS
from forkpolicy.importing.postfwd.perl import VARIABLE
from forkpolicy.protocol.attributes import ATTRIBUTES

_CALL = re.compile(r"(\w[-\w]+)\s*\(\s*(.*?)\s*\)", re.ASCII | re.DOTALL)
RATES: Final = tuple(f"{what}{case}" for what in ("rate", "size", "rcpt") for case in ("", "5321"))
COMMANDS: Final = (
    *RATES, "jump", "set", "score", "mail", "sendmail", "wait", "note", "debug", "quit", "file", "exec", "ask",
)  # fmt: skip
# What postfwd counts itself, and what it makes of requests.
_OF_POSTFWD: Final = frozenset(
    """score request_score request_hits matches ratecount rblcount rhsblcount dnsbltext version reverse_address
    helo_address sender_ns_names sender_ns_addrs sender_mx_names sender_mx_addrs""".split()  # noqa: SIM905
)


class Call(NamedTuple):
    """A command of postfwd's own."""

    name: str
    argument: str


class Text(NamedTuple):
    """A reply. `names_sender`: `{sender}` stands in it, which is <> to postfwd where we have nothing."""

    template: str
    names_sender: bool = False
    unknown: tuple[str, ...] = ()


def parse_action(text: str) -> Call | str:
    """A command with its arguments, or the text of a reply. Raises CannotError for a command that is none."""
    found = _CALL.fullmatch(text)
    if not found:
        return text
    if found[1] not in COMMANDS:
        raise CannotError(
            f'postfwd never replies so: it takes "{found[1]}(...)" for a command of its own, knows none of that name'
            " and tries the next rule",
            f"if the reply is meant: action NAME {text.replace('(', '- ', 1).removesuffix(')')}",
        )
    return Call(found[1], found[2])


@lru_cache(maxsize=1024)
def template_of(text: str, known: frozenset[str] = frozenset()) -> Text:
    """A text with `{name}` for `$$name`. `known` are variables that rules set. Raises CannotError."""
    found = list(VARIABLE.finditer(text))
    is_open = [_is_open(each, known) for each in found]
    # postfwd goes from the last variable to the first, and no further than one that it does not know.
    last = max((at for at, opened in enumerate(is_open) if not opened), default=-1)
    pieces, end, names_sender = [], 0, False
    for at, each in enumerate(found):
        pieces.append(_braced(text[end : each.start()]))
        name = each[1] or each[2]
        stays = not is_open[at] or (at < last and bool(each[1]))
        pieces.append(_braced(each[0]) if stays else f"{{{name}}}")
        names_sender |= name == "sender" and not stays
        end = each.end()
    pieces.append(_braced(text[end:]))
    unknown = tuple(each[1] for each, opened in zip(found, is_open, strict=True) if not opened)
    return Text("".join(pieces), names_sender, unknown)


def _is_open(found: re.Match[str], known: frozenset[str]) -> bool:
    """Whether Postfix sends what a variable names. Raises CannotError for what only postfwd knows."""
    name = found[1] or found[2]
    if name in known or name in _OF_POSTFWD:
        raise CannotError(f"the variable $${name} in the text", "the same text without it")
    if name in ATTRIBUTES or name in PARTS:
        return True
    if found[2]:
        raise CannotError(f"$$({name}) is not set anywhere: postfwd looks for its value without end")
    return False


def _braced(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
