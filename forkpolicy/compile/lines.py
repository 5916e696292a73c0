"""The grammar of text sources: which of a file's lines are entries, and what is key and what is value in them.

One entry a line, `key [value]`. Everything that people's files have is either accepted or refused in words:

* `#` and `;` begin a comment at the start of a line or after white space; blank lines are skipped;
* CRLF line ends, a byte order mark at the start and a missing last newline are fine;
* lists with commas, as in `mynetworks = 127.0.0.0/8, [::1]/128`, are several entries without values;
* a value in double quotes loses them, and may have what begins a comment elsewhere; so does a key, or the local part of
  an address, which Postfix sends without them: `"a key with blanks" value`, `"user one"@example.com value`;
* where a policy asks a table for several attributes together, as many words are the key; in a table of several columns
  each of its words may have quotes: `"user one" example.com value`;
* `until=2026-12-31` at the end of an entry, or of a list, is its last day; a value that ends so goes in quotes;
* an indented line is an entry; below an entry with a value it would be its continuation in Postfix's own files, and
  that is refused, because either reading could be the wrong one.

`split_line` does the exact work for one line; `compile/sorting/sort_records.py` keeps common lines away from it. Raises
ValueError with what is wrong and where.
"""

from __future__ import annotations

import re
from itertools import islice, takewhile
from typing import TYPE_CHECKING, Final, NamedTuple

from forkpolicy.expiry import UNTIL, parse_until
from forkpolicy.tables.format import COLUMN_SEPARATOR
from forkpolicy.tables.names import QUOTED_KEY, unquoted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import date

BOM: Final = "\ufeff"
_COMMENT: Final = re.compile(r"(?:^|\s)[#;]")
_PARAMETER: Final = re.compile(r"\s*[a-z_]{4,}\s+=\s+")
_PARAMETER_ALONE: Final = re.compile(r"\s*(my[a-z]+|[a-z]+(_[a-z]+)+)\s*=\s*")
_WORD: Final = re.compile(r"\S+")
_BLANKS_AND_WORD: Final = re.compile(r"\s*\S+")
_KEY_WORD: Final = re.compile(r"\s*[^\s#;]\S*")
_QUOTED_VALUE: Final = re.compile(r'\s+"[^"]*"(?=\s|$)')
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_UNTIL: Final = re.compile(r"(?:^|(?<=\s))until=(\S*)$", re.IGNORECASE)
_UNTIL_WITHIN: Final = re.compile(r"(?:^|(?<=\s))until=\d{4}-\d\d-\d\d(?=[\s,])", re.IGNORECASE)
_CONDITION: Final = re.compile(r"(if|endif)(\s|$)", re.IGNORECASE)


class Item(NamedTuple):
    """One entry of a line; `column` counts from 1. `value_is_meant`, whatever it looks like; `until`: its last day."""

    key: str
    value: str | None
    column: int
    value_is_meant: bool = False
    until: date | None = None


class LineError(ValueError):
    """What is wrong with a line, and where: `column` counts from 1, 0 means all of it."""

    def __init__(self, message: str, column: int = 0, width: int = 1) -> None:
        super().__init__(message)
        self.column, self.width = column, width


def decode_line(raw: str) -> str:
    """A line read as Latin-1, as the UTF-8 that it is. Raises LineError."""
    if raw.isascii():
        return raw
    try:
        return raw.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError as error:
        byte = raw.encode("latin-1")[error.start]
        raise LineError(f"byte 0x{byte:02x} is not UTF-8: save the file as UTF-8", error.start + 1) from error


def split_line(raw: str, key_words: int = 1, columns: int = 0) -> list[Item]:
    """The entries of one line that was read as Latin-1; none for blank lines and comments. Raises LineError.

    A key of several columns has COLUMN_SEPARATOR between them.
    """
    if raw.lstrip()[:1] in ("#", ";", ""):
        return []
    line = decode_line(raw.rstrip("\r\n"))
    if columns:
        return [_columns(line, columns)]
    quoted = QUOTED_KEY.match(line)
    if quoted and quoted[2] and key_words > 1:
        raise LineError(
            "quotes go around all of the key: the policy looks up several attributes in this table together"
        )
    comment = _COMMENT.search(line, _end_of_quotes(line, quoted.end() if quoted else 0, key_words))
    text = line[: comment.start()] if comment else line
    _refuse_strange_characters(text)
    if quoted:
        return [_entry(unquoted(quoted[0].strip()), text, quoted.end(), quoted.start(1))]
    if key_words > 1:
        return [_joined(text, key_words)]
    if _CONDITION.match(text.strip()):
        raise LineError("if and endif of cidr_table(5) are not supported: list the networks themselves")
    if "," in text or " = " in text:
        return list(_listed(text))
    word = _WORD.search(text)
    if word is None:
        return []
    return [_entry(word[0], text, word.end(), word.start())]


def _end_of_quotes(line: str, key_end: int, key_words: int) -> int:
    """Where the first comment may begin: behind a key in quotes, which ends at `key_end`, and behind a quoted value."""
    words = 0 if key_end else key_words
    if '"' not in line[key_end:]:
        return key_end
    at = key_end
    for _ in range(words):
        word = _KEY_WORD.match(line, at)
        if word is None:
            return key_end
        at = word.end()
    return max(key_end, _behind_quoted(line, at))


def _behind_quoted(line: str, at: int) -> int:
    """Where the quoted value ends that begins at `at`; -1 without one."""
    value = _QUOTED_VALUE.match(line, at)
    return value.end() if value else -1


def is_parameter_alone(raw: str) -> bool:
    """Whether a line is the begin of a list of main.cf, `mynetworks =`, whose members stand in the lines below."""
    return _PARAMETER_ALONE.fullmatch(raw) is not None


def _entry(key: str, text: str, key_end: int, start: int) -> Item:
    """The entry of a key that stands in `text` from `start` to `key_end`."""
    value, until = text[key_end:].strip(), None
    if UNTIL in text or UNTIL in text.lower():
        if _UNTIL.match(text[start:key_end]):
            raise LineError(f"{UNTIL} stands behind an entry, and there is none", start + 1, key_end - start)
        rest, until = _before_until(text, key_end)
        value = rest.strip()
    is_quoted = len(value) > 1 and value[0] == value[-1] == '"'
    return Item(key, (value[1:-1] if is_quoted else value) or None, start + 1, is_quoted, until)


def _before_until(text: str, start: int) -> tuple[str, date | None]:
    """What stands in `text` from `start` on, without the `until=` at its end, and the day of that. Raises LineError."""
    rest = text[start:].rstrip()
    if rest.endswith('"') or UNTIL not in rest.lower():
        return rest, None
    found, within = _UNTIL.search(rest), _UNTIL_WITHIN.search(rest)
    if within:
        raise LineError(f"{UNTIL} stands at the end of an entry", start + within.start() + 1, len(within[0]))
    if not found:
        return rest, None
    try:
        return rest[: found.start()], parse_until(found[1])
    except ValueError as error:
        column = start + found.start() + 1
        raise LineError(f"{error}; a value that ends so goes in quotes", column, len(found[0])) from error


def _joined(text: str, key_words: int) -> Item:
    """The entry of a table that is asked for several attributes together: their values, joined by one blank."""
    words = list(takewhile(lambda word: not _UNTIL.match(word[0]), islice(_WORD.finditer(text), key_words)))
    if len(words) < key_words:
        raise LineError(
            f"{len(words)} of {key_words} words: the policy asks this table for {key_words} attributes together; "
            "an attribute that is empty, or has a blank in it, needs a key in quotes",
            words[0].start() + 1 if words else 1,
        )
    return _entry(" ".join(word[0] for word in words), text, words[-1].end(), words[0].start())


def _columns(line: str, columns: int) -> Item:
    """The entry of a table of several columns."""
    words: list[str] = []
    start = at = len(line) - len(line.lstrip())
    while len(words) < columns:
        word = QUOTED_KEY.match(line, at) or _BLANKS_AND_WORD.match(line, at)
        if word is None or word[0].lstrip()[0] in "#;" or _UNTIL.match(word[0].strip()):
            raise LineError(f"{len(words)} of {columns} columns: * in a column is any value", start + 1)
        words.append(unquoted(word[0].strip()))
        at = word.end()
    comment = _COMMENT.search(line, max(at, _behind_quoted(line, at)))
    text = line[: comment.start()] if comment else line
    _refuse_strange_characters(text)
    return _entry(COLUMN_SEPARATOR.join(words), text, at, start)


def _refuse_strange_characters(text: str) -> None:
    mark = text.find(BOM)
    if mark >= 0:
        raise LineError("a byte order mark in the middle of a file: were two files joined here?", mark + 1)
    control = _CONTROL.search(text)
    if control:
        raise LineError(f"a control character (0x{ord(control[0]):02x})", control.start() + 1)


def _listed(text: str) -> Iterator[Item]:
    """The entries of a list with commas, which may begin with the `parameter =` of main.cf."""
    parameter = _PARAMETER.match(text)
    start = parameter.end() if parameter else 0
    key = _WORD.search(text, start)
    if key and "," not in key[0] and not text[key.end() :].lstrip().startswith(","):
        # A comma in a value: `key REJECT no, thank you`. In a list, the first word ends with a comma.
        yield _entry(key[0], text, key.end(), key.start())
        return
    rest, until = _before_until(text, start)
    for word in re.finditer(r"[^\s,]+", rest):
        yield Item(word[0], None, start + word.start() + 1, until=until)
