"""From the text of policy files to statements. Knows the grammar, not what names and types mean.

Collects every mistake instead of stopping at the first. Reads files only through the `Files` it is given;
`include` is resolved here, since it is about text. Line rules are those of Postfix's own files: a line that begins
with white space continues the one before, also over comments and empty lines between them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from forkpolicy.errors import ConfigError, Diagnostic, nearest
from forkpolicy.policy.nodes import (
    AccessStatement,
    AclStatement,
    ActionStatement,
    Clause,
    Place,
    TableStatement,
    Word,
)
from forkpolicy.tables.kinds import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from forkpolicy.files import Files
    from forkpolicy.policy.nodes import Statement

NAME = re.compile(r"[A-Za-z0-9_.-]+")
NOTHING_TO_CONTINUE = "a line that begins with white space continues the one before, and there is none"
NO_COMMENT = 'a comment stands on a line of its own, "{}" does not begin one behind a statement'
KEYWORDS = ("table", "acl", "action", "access", "include")
# An expression between slashes that a comma or the end of the word follows.
SLASHED = re.compile(r"/(?>\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|[^\\])+?/(?=,|$)")
# A word whose value has commas of its own.
OPTION = re.compile(
    r"(?:auto|backend|count|delay|fail|keep|lifetime|limits|mask|refused|root|time|window)=", re.IGNORECASE
)
# Deep enough for any layout of files. A loop is found before by its names, if each file has one name only.
MAX_INCLUDE_DEPTH = 16


@dataclass
class Parsed:
    """All statements in the order of the files, all diagnostics, and the files read."""

    statements: list[Statement] = field(default_factory=list)
    diagnostics: list[Diagnostic] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)


def parse_policy(path: str, files: Files) -> Parsed:
    """Parse a policy file and what it includes. Never raises for what stands in a file: see `Parsed.diagnostics`."""
    parsed = Parsed()
    _parse_file(path, files, parsed, ())
    return parsed


def _parse_file(path: str, files: Files, parsed: Parsed, including: tuple[str, ...]) -> None:
    try:
        lines = read_lines(path, files)
    except ConfigError as error:
        parsed.diagnostics += error.diagnostics
        return
    parsed.paths.append(path)
    for statement in _logical_lines(path, lines, parsed.diagnostics):
        words = _before_comment(statement, parsed.diagnostics)
        keyword = words[0].text.lower()
        if keyword == "include":
            _include(words, files, parsed, (*including, path))
            continue
        try:
            parsed.statements.append(_statement(keyword, words))
        except ConfigError as error:
            parsed.diagnostics += error.diagnostics


def read_lines(path: str, files: Files) -> list[str]:
    """The lines of an operator's text file, whatever its line ends, without a byte order mark. Raises ConfigError."""
    raw = files.read(path)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        message = f"byte 0x{raw[error.start]:02x} is not UTF-8: save the file as UTF-8"
        raise ConfigError([Diagnostic(path, line, 0, message)]) from error
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def words_of_line(path: str, number: int, line: str) -> list[Word]:
    """The words of one physical line with their places."""
    return [Word(found[0], Place(path, number, found.start() + 1, line)) for found in re.finditer(r"\S+", line)]


def is_comment(line: str) -> bool:
    """Whether a line says nothing: empty, or its first non-blank character is `#` or `;`."""
    return not line.strip() or line.lstrip()[0] in "#;"


def _logical_lines(path: str, lines: list[str], diagnostics: list[Diagnostic]) -> Iterator[list[Word]]:
    words: list[Word] = []
    for number, line in enumerate(lines, 1):
        if is_comment(line):
            continue
        found = words_of_line(path, number, line)
        if not line[0].isspace():
            if words:
                yield words
            words = found
        elif words:
            words += found
        else:
            diagnostics.append(found[0].error(NOTHING_TO_CONTINUE))
    if words:
        yield words


def _before_comment(words: list[Word], diagnostics: list[Diagnostic]) -> list[Word]:
    """The words of a statement up to one that was meant to begin a comment, which is a mistake.

    Taken as values, the words of the comment would decide about mail, and in a reply clients would read them.
    """
    is_text = words[0].text.lower() == "action"
    for at, word in enumerate(words):
        if word.text[0] in "#;" and (len(word.text) == 1 or not is_text):
            diagnostics.append(word.error(NO_COMMENT.format(word.text[0]), _comment_hint(words, word)))
            return words[:at]
    return words


def _comment_hint(words: list[Word], word: Word) -> str:
    if len(word.text) > 1 and words[0].text.lower() == "acl":
        return f"if it is a value, write it as an expression: /^{word.text}/"
    return ""


def _statement(keyword: str, words: list[Word]) -> Statement:
    parse = STATEMENTS.get(keyword)
    if parse:
        return parse(words)
    near = nearest(keyword, KEYWORDS)
    hint = f'did you mean "{near}"?' if near else ""
    raise _wrong(words[0], f'unknown statement "{words[0].text}": expected {", ".join(KEYWORDS)}', hint)


def _table(words: list[Word]) -> TableStatement:
    _need(words, 4, "table NAME KIND SOURCE [SOURCE ...]")
    kind = words[2].text.lower()
    if kind not in KINDS:
        near = nearest(kind, KINDS)
        hint = f'did you mean "{near}"?' if near else ""
        raise _wrong(words[2], f'unknown kind of table "{words[2].text}": expected {", ".join(KINDS)}', hint)
    return TableStatement(_name(words[1]), words[2], tuple(words[3:]))


def _acl(words: list[Word]) -> AclStatement:
    _need(words, 3, "acl NAME TYPE VALUE [VALUE ...]")
    values = tuple(part for word in words[3:] for part in split_values(word))
    for value in values:
        if value.text[0] in "#;":
            raise _wrong(value, NO_COMMENT.format(value.text[0]), _comment_hint(words, value))
    return AclStatement(_name(words[1]), words[2], values)


def _action(words: list[Word]) -> ActionStatement:
    _need(words, 3, "action NAME REPLY [TEXT]")
    first = words[2]
    return ActionStatement(_name(words[1]), Word(" ".join(word.text for word in words[2:]), first.place))


def _access(words: list[Word]) -> AccessStatement:
    _need(words, 2, "access [!]ACL [[!]ACL ...] [ACTION]")
    return AccessStatement(words[0], tuple(_clause(word) for word in words[1:]))


def _clause(word: Word) -> Clause:
    text = word.text.removeprefix("!")
    negated = text != word.text
    if not text:
        raise _wrong(word, 'a "!" alone: write it directly before the name, as in !from_inside')
    if text.startswith("!"):
        raise _wrong(word, 'a double "!": leave both out', f'did you mean "{text.lstrip("!")}"?')
    _name(Word(text, word.place))
    return Clause(Word(text, word.place), negated)


STATEMENTS: dict[str, Callable[[list[Word]], Statement]] = {
    "table": _table,
    "acl": _acl,
    "action": _action,
    "access": _access,
}


def _include(words: list[Word], files: Files, parsed: Parsed, including: tuple[str, ...]) -> None:
    if len(words) != 2:
        parsed.diagnostics.append(words[0].error("expected one path or pattern: include PATH-OR-GLOB"))
        return
    word = words[1]
    path = str(Path(word.place.path).parent / word.text)
    found = files.glob(path) if re.search(r"[*?\[]", word.text) else [path]
    for each in found:
        chain = " -> ".join((*including, each))
        if each in including:
            parsed.diagnostics.append(word.error(f"{each} includes itself: {chain}"))
        elif len(including) > MAX_INCLUDE_DEPTH:
            message = f"files include each other more than {MAX_INCLUDE_DEPTH} deep: {chain}"
            parsed.diagnostics.append(word.error(message, "include some of them from a file nearer to the first"))
        else:
            _included(word, each, files, parsed, including)


def _included(word: Word, path: str, files: Files, parsed: Parsed, including: tuple[str, ...]) -> None:
    try:
        files.read(path)
    except ConfigError as error:
        parsed.diagnostics += [word.error(f"{each.path} {each.message}") for each in error.diagnostics]
        return
    _parse_file(path, files, parsed, including)


def split_values(word: Word) -> Iterator[Word]:
    """A word's values: commas separate them too, as in apolicy, but not inside an expression, a path or an option."""
    if "," not in word.text or OPTION.match(word.text):
        yield word
        return
    for start, end in _spans(word.text):
        if end > start:
            place = word.place
            yield Word(word.text[start:end], Place(place.path, place.line, place.column + start, place.source))


def _spans(text: str) -> Iterator[tuple[int, int]]:
    """Where the values of a word begin and end."""
    start = 0
    while start <= len(text):
        slashed = SLASHED.match(text, start) if text.startswith("/", start) else None
        end = slashed.end() if slashed else _end_of_value(text, start)
        yield start, end
        start = end + 1


def _end_of_value(text: str, start: int) -> int:
    if text.startswith("/", start):
        return len(text)
    depth = 0
    for at in range(start, len(text)):
        depth += (text[at] in "([{") - (text[at] in ")]}")
        if text[at] == "," and depth <= 0:
            return at
    return len(text)


def _name(word: Word) -> Word:
    if not NAME.fullmatch(word.text):
        wrong = next(char for char in word.text if not NAME.fullmatch(char))
        hint = "a comment needs a line of its own" if wrong in "#;" else ""
        raise _wrong(word, f'"{word.text}" is not a name: letters, digits, "_", "-", "." only, not "{wrong}"', hint)
    return word


def _need(words: list[Word], count: int, form: str) -> None:
    if len(words) < count:
        raise _wrong(words[-1], f"expected {form}")


def _wrong(word: Word, message: str, hint: str = "") -> ConfigError:
    return ConfigError([word.error(message, hint)])
