"""Entries that expire soon, as they stand in the text files of a table: `until=` and a date, with file and line.

A compiled table has the day of the first of them alone. Files that cannot be read, or are longer than a few megabytes,
are left out and named.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Final

from forkpolicy.expiry import SOON, UNTIL
from forkpolicy.regular_files import read_regular

if TYPE_CHECKING:
    from collections.abc import Iterable

_MOST_BYTES: Final = 4 << 20
MOST_SHOWN: Final = 50
_UNTIL: Final = re.compile(rf"(?:^|\s){UNTIL}(\d{{4}}-\d\d-\d\d)(?:\s|$)", re.ASCII)
_COMMENT: Final = "#"


@dataclass(frozen=True, slots=True)
class Expiring:
    """One entry: its last day, whether that is over, its line as it stands, and where that is."""

    until: str
    is_over: bool
    text: str
    path: str
    line: int


def expiring(paths: Iterable[str], today: date) -> tuple[list[Expiring], list[str]]:
    """Those that expire within a week or have expired, the first one first; what was not looked at, and why."""
    found: list[Expiring] = []
    left_out: list[str] = []
    for path in paths:
        try:
            if Path(path).stat().st_size > _MOST_BYTES:
                left_out.append(f"{path} is longer than {_MOST_BYTES >> 20} MiB")
                continue
            text = read_regular(path).decode("utf-8", "replace")
        except (OSError, ValueError) as error:
            left_out.append(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}")
            continue
        found += _of_text(path, text, today)
    return sorted(found, key=lambda each: (each.until, each.path, each.line))[:MOST_SHOWN], left_out


def _of_text(path: str, text: str, today: date) -> Iterable[Expiring]:
    for number, line in enumerate(text.splitlines(), 1):
        if UNTIL in line and not line.lstrip().startswith(_COMMENT) and (named := _UNTIL.search(line)):
            try:
                until = date.fromisoformat(named[1])
            except ValueError:
                continue
            if until - today <= SOON:
                yield Expiring(named[1], until < today, line.strip(), path, number)
