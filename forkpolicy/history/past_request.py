"""A past request out of its line in a log, as a policy is asked about it again."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from forkpolicy.history.recorded import answers_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_MAYBE_RAW: Final = b"\\"
_RAW_BYTE: Final = re.compile(r"\\x([89a-f][0-9a-f])")
# What the log says of a line that it has cut: the longest value that is whole.
_VALUES_CUT: Final = re.compile(r"values at (\d+)")


class Past(NamedTuple):
    """One request: its attributes with the bytes that came, and what ACLs have answered it. `cut`: what of its line was
    cut; empty: nothing.
    """

    attributes: dict[str, str]
    answers: Mapping[str, object]
    cut: str

    def is_whole(self, names: Iterable[str]) -> bool:
        """Whether these attributes are what came, whatever else was cut."""
        if not self.cut:
            return True
        longest = _VALUES_CUT.match(self.cut)
        return bool(longest) and all(len(self.attributes.get(name, "")) < int(longest[1]) for name in names if longest)


def read_past(raw: bytes) -> Past:
    """The request of a line that the history has taken in, which is JSON with a decision."""
    line = json.loads(raw)
    request = line.get("request")
    texts = request.items() if isinstance(request, dict) else ()
    attributes = {name: value for name, value in texts if isinstance(value, str)}
    # Most lines have no such byte, and the replay of many takes a tenth less.
    if _MAYBE_RAW in raw:
        attributes = {name: with_raw_bytes(value) for name, value in attributes.items()}
    return Past(attributes, answers_of(line), str(line.get("cut", "")))


def with_raw_bytes(value: str) -> str:
    r"""The log writes bytes that are not UTF-8 as the text \xNN; here they are themselves again."""
    return _RAW_BYTE.sub(lambda found: chr(0xDC00 + int(found[1], 16)), value) if "\\" in value else value
