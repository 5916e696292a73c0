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
from forkpolicy.tables.kinds import check_kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from forkpolicy.files import Files
    from forkpolicy.policy.nodes import Statement

NAME = re.compile(r"[A-Za-z0-9_.-]+")
NOTHING_TO_CONTINUE = "a line that begins with white space continues the one before, and there is none"
NO_COMMENT = 'a comment stands on a line of its own, "{}" does not begin one behind a statement'
MAY_SHRINK = "may-shrink"
RESTRICTED = "restricted"
# How much a word is like MAY_SHRINK that was meant to be it: `mayshrink`, `may_shrink`, `--allow-shrink`.
MEANT = 0.65
KEYWORDS = ("table", "acl", "action", "access", "include")
# An expression between slashes that a comma or the end of the word follows.
SLASHED = re.compile(r"/(?>\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|[^\\])+?/(?=,|$)")
# A word whose value has commas of its own.
OPTION = re.compile(
    r"(?:auto|backend|count|delay|fail|keep|lifetime|limits|mask|refused|root|time|window)=|table:[^=!<>,]*[=!<>]",
    re.IGNORECASE,
)
# Deep enough for any layout of files. A loop is found before by its names, if each file has one name only.
MAX_INCLUDE_DEPTH = 16
# Of a restricted file: its writer fills no log with them.
MOST_MISTAKES = 20


@dataclass
class Parsed:
    """All statements in the order of the files, all diagnostics, and the files read. `restricted`: those of them that
    another user writes (restricted.py).
    """

    statements: list[Statement] = field(default_factory=list)
    diagnostics: list[Diagnostic] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    restricted: set[str] = field(default_factory=set)


def parse_policy(path: str, files: Files, *, restricted: bool = False) -> Parsed:
    """Parse a policy file and what it includes. Never raises for what stands in a file: see `Parsed.diagnostics`.
    `restricted`: it is itself one that another user writes, and includes nothing.
    """
    parsed = Parsed(restricted={path} if restricted else set())
    _parse_file(path, files, parsed, ())
    return parsed


def _parse_file(path: str, files: Files, parsed: Parsed, including: tuple[str, ...]) -> None:
    try:
        lines = read_lines(path, files)
    except ConfigError as error:
        parsed.diagnostics += error.diagnostics
        return
    parsed.paths.append(path)
    before = len(parsed.diagnostics)
    for statement in _logical_lines(path, lines, parsed.diagnostics):
        words = _before_comment(statement, parsed.diagnostics)
        keyword = words[0].text.lower()
        if keyword == "include" and path not in parsed.restricted:
            _include(words, files, parsed, (*including, path))
            continue
        try:
            parsed.statements.append(_statement(keyword, words))
        except ConfigError as error:
            parsed.diagnostics += error.diagnostics
        if path in parsed.restricted and len(parsed.diagnostics) - before >= MOST_MISTAKES:
            parsed.diagnostics.append(words[0].error(f"{MOST_MISTAKES} mistakes: the rest of this file is not read"))
            return


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
    if keyword == "include":
        raise _wrong(words[0], "a restricted file includes no other")
    near = nearest(keyword, KEYWORDS)
    hint = f'did you mean "{near}"?' if near else ""
    raise _wrong(words[0], f'unknown statement "{words[0].text}": expected {", ".join(KEYWORDS)}', hint)


def _table(words: list[Word]) -> TableStatement:
    form = f"table NAME KIND [{MAY_SHRINK}] SOURCE [SOURCE ...]"
    _need(words, 4, form)
    kind = words[2].text.lower()
    try:
        check_kind(kind)
    except ValueError as error:
        raise _wrong(words[2], str(error)) from error
    may_shrink = _may_shrink(words)
    if may_shrink:
        _need(words, 5, form)
    return TableStatement(_name(words[1]), words[2], tuple(words[3 + may_shrink :]), may_shrink)


def _may_shrink(words: list[Word]) -> bool:
    """Whether the word stands behind the kind. Raises ConfigError where it is misspelt or stands behind a source."""
    first, *more = words[3:]
    is_said = first.text.lower() == MAY_SHRINK
    if not is_said and not set("./:").intersection(first.text) and nearest(first.text, (MAY_SHRINK,), MEANT):
        hint = f'did you mean "{MAY_SHRINK}"? A file of that name is written ./{first.text}'
        raise _wrong(first, f'"{first.text}" is not a source', hint)
    misplaced = next((word for word in more if word.text.lower() == MAY_SHRINK), None)
    if misplaced:
        raise _wrong(misplaced, f"expected {MAY_SHRINK} once, directly behind the kind, and then the sources")
    return is_said


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
    return AccessStatement(words[0], tuple(parse_clause(word) for word in words[1:]))


def parse_clause(word: Word) -> Clause:
    """`[!]ACL`. Raises ConfigError."""
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
    is_restricted = len(words) == 3 and words[2].text.lower() == RESTRICTED
    if len(words) != 2 + is_restricted:
        expected = f"include PATH-OR-GLOB, or include PATH {RESTRICTED}"
        parsed.diagnostics.append(words[0].error(f"expected one path or pattern: {expected}"))
        return
    word = words[1]
    path = str(Path(word.place.path).parent / word.text)
    if is_restricted:
        _include_restricted(word, path, files, parsed)
        return
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


def _include_restricted(word: Word, path: str, files: Files, parsed: Parsed) -> None:
    """A file that another user writes, and that includes nothing: it need not be there."""
    if path in parsed.paths:
        parsed.diagnostics.append(word.error(f"{path} is included already"))
        return
    parsed.restricted.add(path)
    try:
        files.read_of_others(path)
    except ConfigError as error:
        parsed.diagnostics += error.diagnostics
        return
    _parse_file(path, files, parsed, ())


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
