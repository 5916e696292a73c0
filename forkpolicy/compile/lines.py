"""The grammar of text sources: which of a file's lines are entries, and what is key and what is value in them.

One entry a line, `key [value]`. Everything that people's files have is either accepted or refused in words:

* `#` and `;` begin a comment at the start of a line or after white space; blank lines are skipped;
* CRLF line ends, a byte order mark at the start and a missing last newline are fine;
* lists with commas, as in `mynetworks = 127.0.0.0/8, [::1]/128`, are several entries without values;
* a value in double quotes loses them, and so does a key, or the local part of an address, which Postfix sends without
  them: `"a key with blanks" value`, `"user one"@example.com value`;
* where a policy asks a table for several attributes together, as many words are the key;
* an indented line is an entry; below an entry with a value it would be its continuation in Postfix's own files, and
  that is refused, because either reading could be the wrong one.

`split_line` does the exact work for one line; `compile/sorting/sort_records.py` keeps common lines away from it. Raises
ValueError with what is wrong and where.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from forkpolicy.tables.names import QUOTED_KEY, unquoted

if TYPE_CHECKING:
    from collections.abc import Iterator

BOM: Final = "\ufeff"
_COMMENT: Final = re.compile(r"(?:^|\s)[#;]")
_PARAMETER: Final = re.compile(r"\s*[a-z_]{4,}\s+=\s+")
_PARAMETER_ALONE: Final = re.compile(r"\s*(my[a-z]+|[a-z]+(_[a-z]+)+)\s*=\s*")
_WORD: Final = re.compile(r"\S+")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_CONDITION: Final = re.compile(r"(if|endif)(\s|$)", re.IGNORECASE)


class Item(NamedTuple):
    """One entry of a line; `column` counts from 1. `value_is_meant`, whatever it looks like."""

    key: str
    value: str | None
    column: int
    value_is_meant: bool = False


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


def split_line(raw: str, key_words: int = 1) -> list[Item]:
    """The entries of one line that was read as Latin-1; none for blank lines and comments. Raises LineError."""
    if raw.lstrip()[:1] in ("#", ";", ""):
        return []
    line = decode_line(raw.rstrip("\r\n"))
    quoted = QUOTED_KEY.match(line)
    if quoted and quoted[2] and key_words > 1:
        raise LineError(
            "quotes go around all of the key: the policy looks up several attributes in this table together"
        )
    comment = _COMMENT.search(line, quoted.end() if quoted else 0)
    text = line[: comment.start()] if comment else line
    _refuse_strange_characters(text)
    if quoted:
        return [_entry(unquoted(quoted[0].strip()), text[quoted.end() :], quoted.start(1))]
    if key_words > 1:
        return [_joined(text, key_words)]
    if _CONDITION.match(text.strip()):
        raise LineError("if and endif of cidr_table(5) are not supported: list the networks themselves")
    if "," in text or " = " in text:
        return list(_listed(text))
    word = _WORD.search(text)
    if word is None:
        return []
    return [_entry(word[0], text[word.end() :], word.start())]


def is_parameter_alone(raw: str) -> bool:
    """Whether a line is the begin of a list of main.cf, `mynetworks =`, whose members stand in the lines below."""
    return _PARAMETER_ALONE.fullmatch(raw) is not None


def _entry(key: str, rest: str, start: int) -> Item:
    value = rest.strip()
    is_quoted = len(value) > 1 and value[0] == value[-1] == '"'
    return Item(key, (value[1:-1] if is_quoted else value) or None, start + 1, is_quoted)


def _joined(text: str, key_words: int) -> Item:
    """The entry of a table that is asked for several attributes together: their values, joined by one blank."""
    words = list(islice(_WORD.finditer(text), key_words))
    if len(words) < key_words:
        raise LineError(
            f"{len(words)} of {key_words} words: the policy asks this table for {key_words} attributes together; "
            "an attribute that is empty, or has a blank in it, needs a key in quotes",
            words[0].start() + 1,
        )
    return _entry(" ".join(word[0] for word in words), text[words[-1].end() :], words[0].start())


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
        yield _entry(key[0], text[key.end() :], key.start())
        return
    for word in re.finditer(r"[^\s,]+", text[start:]):
        yield Item(word[0], None, start + word.start() + 1)
