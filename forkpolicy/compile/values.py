"""What the policy takes the values of a table for, and so what they must be.

A value that a rule could not use is an error. `country` and `asn` are not so strict: lists of countries have other
values for networks about which nothing is known, so those are noted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from forkpolicy.policy.matchers.country import parse_code, parse_number
from forkpolicy.policy.matchers.remembering.limits import parse_limits
from forkpolicy.policy.matchers.table_value import number_of

if TYPE_CHECKING:
    from collections.abc import Callable

STRICT: Final[dict[str, Callable[[str], object]]] = {"limits": parse_limits, "number": number_of}
_PLACES: Final[dict[str, tuple[Callable[[str], str], str]]] = {
    "country": (parse_code, "its value is not a country code (two letters), so no acl of type country holds for it"),
    "asn": (parse_number, "its value is not the number of an autonomous system, so no acl of type asn holds for it"),
}


def check_value(kind: str, value: str | None, note: Callable[[str], None]) -> None:
    """One value as what the policy takes it for. Raises ValueError; `note` takes what is no error."""
    if kind in STRICT:
        STRICT[kind](value or "")
    elif value:
        parse, remark = _PLACES[kind]
        try:
            parse(value)
        except ValueError:
            note(remark)
