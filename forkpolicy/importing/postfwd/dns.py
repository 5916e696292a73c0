"""`rbl` and its kin as ACLs of types `rbl` and `rhsbl`. Pure but for RE2. Raises CannotError and NeverError."""

from __future__ import annotations

import re
from itertools import groupby
from typing import TYPE_CHECKING, Final

from forkpolicy.importing.postfwd.cannot import CannotError, NeverError
from forkpolicy.importing.postfwd.perl import expression, finds

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from forkpolicy.importing.postfwd.program import Numbered
    from forkpolicy.importing.postfwd.values import Value

RBL: Final = "rbl"
# What each asks about.
RHSBLS: Final = {
    "rhsbl": "client_name",
    "rhsbl_client": "client_name",
    "rhsbl_sender": "sender",
    "rhsbl_helo": "helo_name",
    "rhsbl_reverse_client": "reverse_client_name",
}
COUNTS: Final = {RBL: "rblcount", **dict.fromkeys(RHSBLS, "rhsblcount")}
LISTS: Final = (
    "DNS lists: here 127.0.0.1 and error codes are no listings, private addresses are not asked about, clients of IPv6"
    " are, and where a list does not answer the ACL cannot be known; postfwd takes no answer for not listed"
)
_PREFIX = re.compile(r"\^?127\\?\.0\\?\.0\\?\.")


def list_values(key: str, values: Sequence[Value], single: Mapping[str, str]) -> tuple[str, ...] | None:
    """The values of the ACL; None where the rule only counts (`rblcount=all`)."""
    count = single.get(COUNTS[key], "1")
    if key == "rhsbl_helo":
        raise NeverError("it asks for a HELO domain that it never sets", "acl NAME rhsbl {helo_name} ZONE")
    zones = tuple(_zone(value) for value in values)
    if count == "all":
        return None
    if not re.fullmatch(r"\d+", count, re.ASCII) or int(count) > len(zones):
        raise CannotError(f"{COUNTS[key]}={count}")
    least = (f">={count}",) if int(count) > 1 else ()
    return (*least, *((f"{{{RHSBLS[key]}}}",) if key in RHSBLS else ()), *zones)


def counted(rule: Numbered, variable: str) -> str:
    """The lists whose listings `$$rblcount` or `$$rhsblcount` counts in this rule; empty where they are not one."""
    count = variable.removeprefix("$$")
    kinds = [key for key in rule.items if COUNTS.get(key) == count]
    return kinds[0] if len(kinds) == 1 and rule.single.get(count) == "all" else ""


def _zone(value: Value) -> str:
    if value.negated or value.operator == "!=":
        raise CannotError("a DNS list that must not list it, as one of several", "access !NAME")
    zone, answer, *_ = f"{value.text}//".split("/")
    if "$$" in value.text or "=" in zone or not zone:
        raise CannotError(f"the DNS list {value.text}")
    if answer in ("", "^127", r"^127\.", "127", r"127\."):
        return zone
    return f"{zone}={','.join(_codes(answer))}"


def _codes(answer: str) -> Iterator[str]:
    """The codes that an expression finds, tried one by one."""
    word = expression(answer)
    if not _PREFIX.match(answer):
        raise CannotError(f"the answers {answer}", "zones take codes: ZONE=127.0.0.2-11")
    found = [code for code in range(256) if finds(word, f"127.0.0.{code}")]
    if not found:
        raise NeverError(f"no answer is {answer}")
    for _, run in groupby(enumerate(found), lambda each: each[1] - each[0]):
        codes = [code for _, code in run]
        yield f"127.0.0.{codes[0]}" if len(codes) == 1 else f"127.0.0.{codes[0]}-{codes[-1]}"
