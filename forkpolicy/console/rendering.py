"""HTML of pages: the templates, and what all of them may use.

Every value is escaped, and a name that is missing is an error. `shown` makes the value of a stranger readable: what
would be invisible, or turn the line around, stands there as an escape.
"""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from forkpolicy.console import links
from forkpolicy.console.static_files import DIRECTORY, StaticFiles

if TYPE_CHECKING:
    from collections.abc import Mapping

TEMPLATES: Final = DIRECTORY.with_name("templates")
_MOST_CHARACTERS: Final = 200
_INVISIBLE: Final = frozenset({"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"})
_SPACES: Final = re.compile(r"[^\S ]")


class Renderer:
    """Templates, compiled once."""

    def __init__(self, static: StaticFiles) -> None:
        self._templates = Environment(
            loader=FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            auto_reload=False,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals.update(
            {name: each for name, each in vars(links).items() if callable(each) and not name.startswith("_")},
            static=static.address,
        )
        self._templates.filters.update(shown=shown, grouped=grouped, ago=ago, moment=moment, short=short)

    def html(self, template: str, context: Mapping[str, object]) -> str:
        """A template, filled."""
        return self._templates.get_template(f"{template}.html").render(context)


def shown(value: object, most: int = _MOST_CHARACTERS) -> str:
    r"""A value with everything visible: `\u202e` for what turns text around, `\x00` for a control character; cut after
    so many characters, with the number of the others.
    """
    text = "" if value is None else str(value)
    if len(text) <= most and text.isprintable():
        # Nothing of _INVISIBLE, and no other space than U+0020: nearly every value.
        return text
    cut = "" if len(text) <= most else f" ... ({grouped(len(text) - most)} more characters)"
    visible = "".join(
        ascii(each)[1:-1] if unicodedata.category(each) in _INVISIBLE or _SPACES.match(each) else each
        for each in text[:most]
    )
    return visible + cut


def short(value: object, most: int = 60) -> str:
    """The same in a narrow place, where the whole is on another page."""
    text = "" if value is None else str(value)
    return shown(text) if len(text) <= most else f"{shown(text[: most - 3])}..."


def grouped(number: object) -> str:
    """1,204 for 1204; `unknown` for None."""
    if number is None:
        return "unknown"
    return f"{number:,}" if isinstance(number, int | float) else str(number)


def moment(at_s: float) -> str:
    """A time of now in UTC, to the second: `2026-11-28 09:30:05 UTC`."""
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def ago(at_s: float, now_s: float) -> str:
    """How long ago, in one unit: `12 s ago`, `3 min ago`, `5 h ago`, `2 d ago`; `in 3 min` for what is to come."""
    away_s = abs(now_s - at_s)
    for unit, size_s in (("d", 86400), ("h", 3600), ("min", 60)):
        if away_s >= 2 * size_s:
            text = f"{int(away_s // size_s)} {unit}"
            break
    else:
        text = f"{int(away_s)} s"
    # What was just read may be some milliseconds younger than the visit.
    return f"{text} ago" if at_s < now_s + 1 else f"in {text}"
