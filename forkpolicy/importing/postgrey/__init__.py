"""postgrey: greylisting with white lists of clients and recipients, and the options that it is started with."""

from __future__ import annotations

import re
from typing import Final

from forkpolicy.importing.formats import Format
from forkpolicy.importing.postgrey.original import original
from forkpolicy.importing.postgrey.replies import same_reply
from forkpolicy.importing.postgrey.translate import read

_NAMED: Final = re.compile(r"\bpostgrey\b|^\s*POSTGREY_OPTS=", re.IGNORECASE | re.MULTILINE)
# A policy of ours may name postgrey too, and so may SQL.
_OTHERS: Final = re.compile(r"^\s*(?:access|acl|action|table|insert|create|copy)\s", re.IGNORECASE | re.MULTILINE)


def looks_like(head: str) -> bool:
    """Whether a text names postgrey and has no statements."""
    return _NAMED.search(head) is not None and not _OTHERS.search(head)


FORMAT: Final = Format(
    "postgrey", "postgrey's white lists and options", read, looks_like, original=original, same_reply=same_reply
)
