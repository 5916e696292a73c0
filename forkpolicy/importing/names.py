"""Names of ACLs, actions and tables out of whatever the other server called them. Pure."""

from __future__ import annotations

import re
from collections import Counter

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.-]+")
# Long enough to recognise a rule by, short enough to read.
_MAX_CHARS = 48


class Names:
    """One name space. `taken`: names that mean something already."""

    def __init__(self, taken: set[str]) -> None:
        self._taken = set(taken)
        self._last: Counter[str] = Counter()

    def unique(self, wished: str) -> str:
        """The wished name as far as it is one, with a number behind it where it is taken."""
        base = _NOT_IN_NAMES.sub("_", wished)[:_MAX_CHARS].strip("_.-") or "rule"
        name = base
        while name in self._taken:
            # The numbers of one name go on where the last one ended: a policy of 50,000 rules may ask for one name.
            self._last[base] += 1
            name = f"{base}_{self._last[base] + 1}"
        self._taken.add(name)
        return name
