"""A page: what an endpoint returns, and how it becomes HTML, JSON or CSV.

The three are made of the same `data` and `rows`, so that a script sees what a person sees. `data` is JSON-able: texts,
numbers, None, lists and mappings of them, or dataclasses of them.
"""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict, dataclass, field, is_dataclass
from typing import TYPE_CHECKING, Final

from forkpolicy.csv_cells import without_formulas

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence

_CSV_PART_BYTES: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Rows:
    """The list of a page, for CSV: it may be longer than what the page shows, and is read as it is sent."""

    columns: Sequence[str]
    lines: Iterable[Sequence[object]]


@dataclass(frozen=True, slots=True)
class Notice:
    """A sentence above a page. `kind`: `unknown` for what cannot be known now, `alarm` for what needs a person, `done`
    after a change. `link`: where more is.
    """

    text: str
    kind: str = "unknown"
    link: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """`template`: below templates/, without `.html`. `sentence`: the answer, in front of everything else. `command`:
    the equal command of a shell. `rows`: for CSV. `fragment`: whether it is a part of a page, without its frame.
    `is_translated`: whether its texts come from translations/, so that its frame is in the visitor's language, too.
    """

    template: str
    title: str
    sentence: str = ""
    data: Mapping[str, object] = field(default_factory=dict)
    command: str = ""
    rows: Rows | None = None
    notices: Sequence[Notice] = ()
    status: int = 200
    fragment: bool = False
    is_translated: bool = False


@dataclass(frozen=True, slots=True)
class Redirect:
    """After an action: the page to look at, which is asked for with GET. `cookies`: values of Set-Cookie."""

    to: str
    cookies: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Raw:
    """Bytes that are no page: a file to be downloaded, the text of a mail. `headers` may have a policy of its own."""

    body: bytes
    kind: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Download:
    """Bytes that are no page, too large to stand in memory until a slow browser has them. `pieces` are asked for in a
    thread, and dropped when the browser has gone.
    """

    pieces: Iterable[bytes]
    size_bytes: int
    kind: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Stream:
    """Server-sent events, for as long as the browser listens."""

    events: AsyncIterator[bytes]


def json_of(value: object) -> bytes:
    """Data as JSON in UTF-8."""
    return json.dumps(value, default=_plain, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _plain(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, frozenset | set):
        return sorted(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value)


def csv_of(rows: Rows) -> Iterator[bytes]:
    """CSV in UTF-8, in parts of some 64 kB."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(rows.columns)
    for line in rows.lines:
        writer.writerow([_cell(value) for value in line])
        if text.tell() > _CSV_PART_BYTES:
            yield text.getvalue().encode("utf-8", "replace")
            text.seek(0)
            text.truncate()
    yield text.getvalue().encode("utf-8", "replace")


def _cell(value: object) -> object:
    return without_formulas(value) if isinstance(value, str) else "" if value is None else value
