"""apolicy's policy.conf, characters to statements with their places. Knows the three statements, not what types mean.

One statement a line, words with blanks between them. `#` and `;` begin a line of comment, as in its main.conf; for
policy.conf nobody wrote that down. There is no continuation, no quoting and no include in anything that is known of it.
Every line that is none of these is a `Mistake`; nothing raises.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from forkpolicy.policy.nodes import Place, Word

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkpolicy.importing.source import SourceFile

KEYWORDS = ("acl", "action", "access")
SILENT = "silent"
_WORD = re.compile(r"\S+")
_BRACKETS = {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}


class Comment(NamedTuple):
    """A line of comment, without its sign; an empty line is an empty one."""

    text: str
    line: int


class Acl(NamedTuple):
    """`acl NAME TYPE VALUE...`; `values` are the words as they stand, commas and all."""

    name: Word
    type_word: Word
    values: tuple[Word, ...]

    @property
    def text(self) -> str:
        """The statement as a report shows it."""
        return " ".join(["acl", self.name.text, self.type_word.text, *(word.text for word in self.values)])


class Action(NamedTuple):
    """`action NAME REPLY [TEXT]`; `reply` is the rest of the line as it stands."""

    name: Word
    reply: str


class Term(NamedTuple):
    """One `[!]NAME` of a rule."""

    word: Word
    negated: bool


class Access(NamedTuple):
    """`access [!]ACL... [ACTION]`."""

    keyword: Word
    terms: tuple[Term, ...]

    @property
    def text(self) -> str:
        """The statement as a report shows it."""
        return " ".join(["access", *(f"{'!' * term.negated}{term.word.text}" for term in self.terms)])


@dataclass(frozen=True, slots=True)
class Mistake:
    """A line that is no statement, and why."""

    word: Word
    text: str
    message: str


Node = Comment | Acl | Action | Access | Mistake


def parse(source: SourceFile) -> Iterator[Node]:
    """Every line of a policy.conf, in order."""
    for number, line in enumerate(source.lines, 1):
        stripped = line.strip()
        if not stripped or stripped[0] in "#;":
            yield Comment(stripped[1:].strip(), number)
            continue
        words = [Word(found[0], Place(source.path, number, found.start() + 1, line)) for found in _WORD.finditer(line)]
        yield _statement(words, stripped)


def line_of(node: Node) -> int:
    """The line on which it stands."""
    match node:
        case Comment():
            return node.line
        case Access():
            return node.keyword.place.line
        case Mistake():
            return node.word.place.line
        case Acl() | Action():
            return node.name.place.line


def split_at_commas(word: Word) -> list[Word]:
    """The values of one word. Raises ValueError where a comma may be part of an expression."""
    text = word.text
    depth, starts = 0, [0]
    for at, char in enumerate(text):
        depth += _BRACKETS.get(char, 0)
        if char != ",":
            continue
        if depth or (at and text[at - 1] == "\\"):
            raise ValueError("its later versions separated values at a comma: whether this is one value is not known")
        starts.append(at + 1)
    ends = [*(start - 1 for start in starts[1:]), len(text)]
    place = word.place
    return [
        Word(text[start:end], place._replace(column=place.column + start))
        for start, end in zip(starts, ends, strict=True)
        if end > start
    ]


def _statement(words: list[Word], text: str) -> Node:
    keyword = words[0].text.lower()
    if keyword == "acl":
        if len(words) < 3:
            return Mistake(words[-1], text, "expected acl NAME TYPE [VALUE ...]")
        return Acl(words[1], words[2], tuple(words[3:]))
    if keyword == "action":
        if len(words) < 3:
            return Mistake(words[-1], text, "expected action NAME REPLY [TEXT]")
        return Action(words[1], words[0].place.source[words[2].place.column - 1 :].strip())
    if keyword == "access":
        return _access(words, text)
    return Mistake(words[0], text, f"not a statement of apolicy: expected {', '.join(KEYWORDS)}")


def _access(words: list[Word], text: str) -> Node:
    terms = [Term(_without_sign(word), word.text.startswith("!")) for word in words[1:]]
    if not terms:
        return Mistake(words[0], text, "expected access [!]ACL [[!]ACL ...] [ACTION]")
    odd = next((term.word for term in terms if not term.word.text or term.word.text.startswith("!")), None)
    if odd:
        return Mistake(odd, text, 'expected one "!" directly in front of a name')
    return Access(words[0], tuple(terms))


def _without_sign(word: Word) -> Word:
    return Word(word.text.removeprefix("!"), word.place)
