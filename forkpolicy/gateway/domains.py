"""The domains file: who the gateway serves, where their mail goes, and how each is served. Pure.

    example.com  relay:[192.0.2.5]:25  admins=ann@example.com,ben@example.com  digest=daily  hold=6  verify=yes

A domain, the transport of Postfix that takes its mail (transport(5)), then options. `admins`: addresses that may see
what is held for the domain. `digest`: off, daily or weekly, for people who have chosen nothing. `hold`: the scanner's
score from which mail is held. `verify`: whether recipients are verified at the backend. `release`: who may release held
mail: `users`, or `admins` alone, whom users ask. `#` begins a comment. Raises ConfigError with every mistake and its
line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

from forkpolicy.errors import ConfigError, Diagnostic, nearest
from forkpolicy.tables.keys import fold_address
from forkpolicy.tables.names import parse_host_pattern

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_TRANSPORT: Final = re.compile(r"(?:relay|smtp|lmtp):\S+", re.ASCII)
_ADDRESS: Final = re.compile(r"[^\s@,]+@[^\s@,]+")
_SCORE: Final = re.compile(r"\d{1,4}(?:\.\d{1,3})?", re.ASCII)
DIGESTS: Final = ("off", "daily", "weekly")
RELEASES: Final = ("users", "admins")
_WORD: Final = re.compile(r"\S+")
_Word = tuple[str, int]
_MOST_SHOWN: Final = 20
_YES_NO: Final = {"yes": True, "no": False}


@dataclass(frozen=True, slots=True)
class Domain:
    """One line: `name` as Postfix compares it, `relay` as transport(5) has it."""

    name: str
    relay: str
    admins: tuple[str, ...] = ()
    digest: str = "off"
    hold: float = 6.0
    verify: bool = True
    release: str = "users"


def _admins(text: str) -> tuple[str, ...]:
    found = tuple(fold_address(each) for each in text.split(","))
    if not all(_ADDRESS.fullmatch(each) for each in found):
        raise ValueError("expected addresses with commas between them, as in admins=ann@example.com")
    return found


def _digest(text: str) -> str:
    return _one_of(DIGESTS, text)


def _release(text: str) -> str:
    return _one_of(RELEASES, text)


def _one_of(words: tuple[str, ...], text: str) -> str:
    if text not in words:
        raise ValueError(f"expected one of {', '.join(words)}")
    return text


def _hold(text: str) -> float:
    if not _SCORE.fullmatch(text):
        raise ValueError("expected a score of the scanner, as in hold=6")
    return float(text)


def _verify(text: str) -> bool:
    if text not in _YES_NO:
        raise ValueError("expected yes or no")
    return _YES_NO[text]


_OPTIONS: Final[dict[str, Callable[[str], object]]] = {
    "admins": _admins,
    "digest": _digest,
    "hold": _hold,
    "verify": _verify,
    "release": _release,
}
assert set(_OPTIONS) == {each.name for each in fields(Domain)} - {"name", "relay"}


def parse_domains(path: str, text: str) -> list[Domain]:
    """The domains of a file, in its order."""
    domains: dict[str, Domain] = {}
    lines: dict[str, int] = {}
    wrong: list[Diagnostic] = []
    for number, text_line in enumerate(text.split("\n"), 1):
        words = [(found[0], found.start() + 1) for found in _WORD.finditer(text_line.partition("#")[0])]
        if not words:
            continue
        line = _Line(path, number, text_line)
        domain = line.domain(words)
        if domain and domain.name in domains:
            line.report(words[0], f"{domain.name} is in line {lines[domain.name]} already", "remove one of them")
        elif domain:
            domains[domain.name] = domain
            lines[domain.name] = number
        wrong += line.wrong
    if not domains and not wrong:
        hint = "a line such as: example.com relay:[192.0.2.5]:25"
        wrong.append(Diagnostic(path, 0, 0, "names no domain", hint=hint))
    if wrong:
        raise ConfigError(_some(path, wrong))
    return list(domains.values())


def _some(path: str, wrong: list[Diagnostic]) -> list[Diagnostic]:
    """The first of them, and how many more: another file has thousands."""
    if len(wrong) <= _MOST_SHOWN:
        return wrong
    message = f"{len(wrong) - _MOST_SHOWN} more mistakes"
    return [*wrong[:_MOST_SHOWN], Diagnostic(path, 0, 0, message, hint="is this the domains file?")]


class _Line:
    """One line, and what is wrong with it. Words come with their columns."""

    def __init__(self, path: str, number: int, line: str) -> None:
        self._path, self._number, self._line = path, number, line
        self.wrong: list[Diagnostic] = []

    def report(self, word: _Word, message: str, hint: str = "") -> None:
        text, column = word
        self.wrong.append(Diagnostic(self._path, self._number, column, message, self._line, len(text), hint))

    def domain(self, words: list[_Word]) -> Domain | None:
        """None where something is wrong with it."""
        name, relay = self._name(words[0]), self._relay(words)
        # Without the first two words it is a line of something else.
        options = dict(self._options(words[2:])) if name and relay else {}
        if self.wrong:
            return None
        return Domain(name, relay, **options)  # type: ignore[arg-type] # each parser gives what its field has

    def _name(self, word: _Word) -> str:
        try:
            name = parse_host_pattern(word[0])
        except ValueError as error:
            self.report(word, str(error))
            return ""
        if name.startswith("."):
            self.report(word, "subdomains as a pattern are not served", "give each domain a line of its own")
        return name

    def _relay(self, words: list[_Word]) -> str:
        if len(words) > 1 and _TRANSPORT.fullmatch(words[1][0]):
            return words[1][0]
        hint = "as in example.com relay:[192.0.2.5]:25"
        self.report(words[min(1, len(words) - 1)], "expected the transport of the backend behind the domain", hint)
        return ""

    def _options(self, words: list[_Word]) -> Iterator[tuple[str, object]]:
        for word in words:
            name, equals, value = word[0].partition("=")
            if name not in _OPTIONS or not equals:
                near = nearest(name, _OPTIONS)
                hint = f"did you mean {near}=?" if near else f"known here: {', '.join(_OPTIONS)}"
                self.report(word, f'unknown option "{name}"', hint)
                continue
            try:
                yield name, _OPTIONS[name](value)
            except ValueError as error:
                self.report(word, f"{name}: {error}, got {value!r}")
