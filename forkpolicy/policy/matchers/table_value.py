"""`table:NAME`, `table:NAME=VALUE`, `table:NAME>=N`: a table as a value of an ACL, as it is written.

`=` and `!=` compare texts, also where those are numbers: `=5` is not `5.0`. The others compare numbers.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from forkpolicy.policy.matchers.number import SUFFIXES

if TYPE_CHECKING:
    from forkpolicy.policy.matchers.number import Interval

PREFIX: Final = "table:"
NUMERIC: Final = (">", ">=", "<", "<=")
NUMBER_FORM: Final = "a number, as in 5, -1.5 or 10M"
_PARTS: Final = re.compile(r"([^=!<>~]*)([=!<>~]*)(.*)", re.DOTALL)
# So many digits that every number is exact, and every two that differ are unequal.
_NUMBER: Final = re.compile(r"([+-]?\d{1,12}(?:\.\d{1,3})?)([kmg]?)", re.IGNORECASE | re.ASCII)


class TableValue(NamedTuple):
    """A value in its parts; without a comparison the last two are empty."""

    name: str
    operator: str = ""
    wanted: str = ""

    @property
    def is_numeric(self) -> bool:
        """Whether it compares numbers."""
        return self.operator in NUMERIC


def split_table_value(text: str) -> TableValue:
    """The parts of a value that begins with `table:`. Nothing is checked."""
    found = _PARTS.fullmatch(text[len(PREFIX) :])
    assert found is not None
    return TableValue(*found.groups())


def check_comparison(value: TableValue) -> None:
    """Raises ValueError for a comparison that is not complete, or that another language has."""
    name, operator, wanted = value
    shown = f"{PREFIX}{name}"
    if operator not in ("=", "!=", *NUMERIC):
        raise ValueError(f'"{operator}" does not compare the values of tables: expected one of = != > >= < <=')
    if not wanted:
        raise ValueError(f"expected a value directly after {shown}{operator}, as in {shown}{operator}5")
    if "," in wanted:
        several = " ".join(f"{shown}{operator}{each.removeprefix(shown + operator)}" for each in wanted.split(","))
        raise ValueError(f"one value is compared at a time: write {several}")


def interval_of(value: TableValue) -> Interval:
    """The numbers for which a numeric comparison holds. Raises ValueError."""
    number = number_of(value.wanted)
    return {
        ">": (math.nextafter(number, math.inf), math.inf),
        ">=": (number, math.inf),
        "<": (-math.inf, math.nextafter(number, -math.inf)),
        "<=": (-math.inf, number),
    }[value.operator]


def number_of(text: str) -> float:
    """`5`, `-1.5`, `10M` (of 1024), in a policy and as the value of an entry. Raises ValueError."""
    found = _NUMBER.fullmatch(text)
    if not found:
        shown = f'"{text}" is not a number' if text else "no number"
        raise ValueError(f"{shown}: expected {NUMBER_FORM}")
    return float(found[1]) * SUFFIXES[found[2].lower()]
