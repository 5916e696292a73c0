"""The kinds of actions that plots and lists tell apart: one for each verb."""

from __future__ import annotations

import re
from typing import Final

PASSED, REFUSED, DEFERRED, OTHER = "passed", "refused", "deferred", "other"
KINDS: Final = (REFUSED, DEFERRED, PASSED, OTHER)
_CODE: Final = re.compile(r"([245])\d\d")
_BY_CODE: Final = {"2": PASSED, "4": DEFERRED, "5": REFUSED}


def kind_of(verb: str) -> str:
    """The kind of an action by its first word, as Postfix takes it: in any case."""
    upper = verb.upper()
    if code := _CODE.fullmatch(upper):
        return _BY_CODE[code[1]]
    if upper in ("DUNNO", "OK", "PERMIT", "PERMIT_AUTH_DESTINATION"):
        return PASSED
    if upper == "REJECT":
        return REFUSED
    return DEFERRED if upper.startswith("DEFER") else OTHER
