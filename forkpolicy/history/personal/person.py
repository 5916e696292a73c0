"""Whose decisions they are: one address, or every address of a domain. Pure.

A decision is somebody's who is its sender, its recipient or its login. An address may stand elsewhere in the line of
somebody else's decision, such as in the text of a reply: there only the address is blotted out.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from forkpolicy.history.query import ADDRESS_COLUMNS, Names, Query
from forkpolicy.tables.keys import fold_address, fold_domain, split_address

if TYPE_CHECKING:
    import sqlite3

_ATTRIBUTES: Final = ("sender", "recipient", "sasl_username")
# What may stand in an address of a log line, and what may not follow one, nor precede it.
_LOCAL: Final = rb"[^\s\"<>,;:()@]+"
_NOT_BEFORE: Final = rb"(?<![\w.+%\-])"
_NOT_BEHIND: Final = rb"(?![\w\-]|\.\w)"
_FORGOTTEN: Final = b'"event":"forgotten"'


class Forgotten(NamedTuple):
    """So many decisions of the person are gone, and in so many lines of others the address."""

    decisions: int
    blotted: int


class Person:
    """An address (`anna@example.com`) or a domain (`@example.com`). Raises ValueError."""

    def __init__(self, text: str) -> None:
        # The log has bytes that are not UTF-8 as the text \xNN.
        text = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        local, domain = split_address(text)
        if not domain or any(char.isspace() for char in text):
            raise ValueError(f'"{text}" is not a whole address, and not a domain such as @example.com')
        self.text = text
        self._address = fold_address(text) if local else ""
        self._domain = fold_domain(domain)
        spellings = {domain, self._domain}
        domains = b"|".join(sorted(_in_json(each) for each in spellings))
        locals_ = _in_json(local) if local else _LOCAL
        self._pattern = re.compile(_NOT_BEFORE + locals_ + b"@(?:" + domains + b")" + _NOT_BEHIND, re.IGNORECASE)
        # To look through much text with; a domain of other letters may be written in more ways.
        self._needle = b"@" + self._domain.encode() if spellings == {self._domain} else b"@"

    def query(self) -> Query:
        """What `find` looks for."""
        if self._address:
            return Query(names=[Names(ADDRESS_COLUMNS, text=self._address)])
        return Query(names=[Names(ADDRESS_COLUMNS, domain=self._domain)])

    def numbers(self, day: sqlite3.Connection) -> list[int]:
        """Of its addresses, among the names of a day."""
        if self._address:
            found = day.execute("SELECT n FROM names WHERE text = ?", (self._address,))
        else:
            sql = "SELECT n FROM names WHERE domain = (SELECT n FROM names WHERE text = ?)"
            found = day.execute(sql, (self._domain,))
        return [number for (number,) in found]

    def is_in(self, text: bytes) -> bool:
        """Whether a text has the address anywhere, as the log writes it."""
        return self._needle in text.lower() and self._pattern.search(text) is not None

    def may_be_in(self, data: bytes) -> bool:
        """Whether the address stands in something that is not text, such as a compiled table, maybe as a part of a
        longer one.
        """
        return (self._address or f"@{self._domain}").encode() in data.lower()

    def is_of(self, line: bytes) -> bool:
        """Whether a line of the log is a decision of this person."""
        # Nearly all lines are about others.
        if self._needle not in line.lower() and b"\\u" not in line:
            return False
        try:
            request = json.loads(line)["request"]
            return any(self._has(request.get(name)) for name in _ATTRIBUTES)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return False

    def blotted(self, text: bytes) -> bytes:
        """A text of the same length without the address."""
        return self._pattern.sub(lambda found: b"*" * len(found[0]), text)

    def _has(self, value: object) -> bool:
        if not isinstance(value, str):
            return False
        folded = fold_address(value)
        return folded == self._address if self._address else split_address(folded)[1] == self._domain


def forgotten_line(line: bytes) -> bytes:
    """What stands in a log in place of a line, as long as that was; an ingester reads on over it."""
    begin, end = b'{"time":"1970-01-01T00:00:00.000Z","level":"info",' + _FORGOTTEN, b"}"
    room = len(line) - len(begin) - len(end)
    return begin + b" " * room + end if room >= 0 else b" " * len(line)


def _in_json(text: str) -> bytes:
    return re.escape(json.dumps(text)[1:-1].encode())
