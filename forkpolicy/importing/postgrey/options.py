"""The options that postgrey is started with, as /etc/default/postgrey has them. Pure.

Every variable POSTGREY_* is read as words of the command line, in which blanks separate whatever quotes say: so the
scripts that start it take them. POSTGREY_TEXT is the text of the reply. An option that postgrey would not start with
is reported and has its default.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from forkpolicy.durations import LONGEST_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from forkpolicy.importing.draft import Draft
    from forkpolicy.importing.left_out import Origin
    from forkpolicy.importing.source import SourceFile

DIRECTORY: Final = "/etc/postgrey"
_ASSIGNMENT: Final = re.compile(r"\s*(?:export\s+)?(POSTGREY_\w+)=(.*)", re.ASCII)
# Options without a value; of these only lookup-by-host decides something.
_FLAGS: Final = re.compile(
    r"h|help|man|version|no-?action|n|verbose|v|quiet|q|daemonize|d|lookup-by-(?:subnet|host)|privacy|exim"
)
_DAY_S: Final = 86400


@dataclass
class Options:
    """What they decide. Zero is the default to postgrey, but for `auto`."""

    delay_s: int = 300
    window_s: int = 2 * _DAY_S
    keep_s: int = 35 * _DAY_S
    auto: int = 5
    v4_bits: int = 24
    v6_bits: int = 64
    action: str = "DEFER_IF_PERMIT"
    text: str = "Greylisted, see http://postgrey.schweikert.ch/help/%r.html"
    clients: list[str] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)


def is_of_options(source: SourceFile) -> bool:
    """Whether a file has options, and is no list."""
    return any(_ASSIGNMENT.fullmatch(line) for line in source.lines)


def read_options(source: SourceFile, draft: Draft) -> Options:
    """The options of a file."""
    options = Options()
    by_host = False
    for name, value, origin in _words(source, draft):
        if name == "lookup-by-host":
            by_host = True
        elif apply := _APPLY.get(name):
            try:
                apply(options, value)
            except ValueError as error:
                draft.leave_out(origin, f"--{name}={value}", str(error), "its default is taken")
    if by_host:
        options.v4_bits, options.v6_bits = 32, 128
    return options


def _words(source: SourceFile, draft: Draft) -> Iterator[tuple[str, str, Origin]]:
    """(option, its value, where) of all variables."""
    values: dict[str, str] = {}
    origins: dict[str, Origin] = {}
    for number, line in enumerate(source.lines, 1):
        if not (found := _ASSIGNMENT.fullmatch(line)):
            continue
        try:
            text = " ".join(shlex.split(found[2], comments=True))
        except ValueError:
            draft.leave_out(
                source.origin(number), found[1], "quotes that this line does not close", "write it in one line"
            )
            continue
        values[found[1]] = re.sub(r"\$\{?(POSTGREY_\w+)\}?", lambda name: values.get(name[1], ""), text)
        origins[found[1]] = source.origin(number)
    for name, text in values.items():
        if name == "POSTGREY_TEXT":
            yield "greylist-text", text, origins[name]
        elif name == "POSTGREY_OPTS" or text.startswith("-"):
            yield from ((option, value, origins[name]) for option, value in _parsed(text.split()))


def _parsed(words: list[str]) -> Iterator[tuple[str, str]]:
    """Options with their values, as Getopt::Long takes them: `--delay=60`, `--delay 60`."""
    left = iter(words)
    for word in left:
        name, equals, value = word.lstrip("-").partition("=")
        if not word.startswith("-") or not name:
            # The first word that is not an option ends them.
            return
        if not equals and not _FLAGS.fullmatch(name):
            value = next(left, "")
        yield name, value


def _number(text: str, most: int = LONGEST_S) -> int:
    if not re.fullmatch(r"\d{1,15}", text, re.ASCII):
        raise ValueError("postgrey does not start with it: expected a number")
    if int(text) > most:
        raise ValueError(f"larger than {most}")
    return int(text)


def _delay(options: Options, text: str) -> None:
    options.delay_s = _number(text) or options.delay_s


def _max_age(options: Options, text: str) -> None:
    options.keep_s = _number(text, LONGEST_S // _DAY_S) * _DAY_S or options.keep_s


def _retry_window(options: Options, text: str) -> None:
    is_hours = text[-1:].lower() == "h"
    unit_s = 3600 if is_hours else _DAY_S
    options.window_s = _number(text[:-1] if is_hours else text, LONGEST_S // unit_s) * unit_s


def _auto(options: Options, text: str) -> None:
    options.auto = _number(text, 999) if text else options.auto


def _v4(options: Options, text: str) -> None:
    options.v4_bits = _number(text, 32) or options.v4_bits


def _v6(options: Options, text: str) -> None:
    options.v6_bits = _number(text, 128) or options.v6_bits


def _action(options: Options, text: str) -> None:
    options.action = text or options.action


def _text(options: Options, text: str) -> None:
    options.text = text or options.text


_APPLY: Final[dict[str, Callable[[Options, str], None]]] = {
    "delay": _delay,
    "max-age": _max_age,
    "retry-window": _retry_window,
    "auto-whitelist-clients": _auto,
    "ipv4cidr": _v4,
    "ipv6cidr": _v6,
    "greylist-action": _action,
    "greylist-text": _text,
    "whitelist-clients": lambda options, path: options.clients.append(path),
    "whitelist-recipients": lambda options, path: options.recipients.append(path),
}
