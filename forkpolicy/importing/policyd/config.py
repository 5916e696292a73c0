"""policyd.conf: which modules are on, and the limits that a row of the database does not say. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from forkpolicy.durations import LONGEST_S
from forkpolicy.importing.left_out import Origin

if TYPE_CHECKING:
    from forkpolicy.importing.source import SourceFile

_LINE: Final = re.compile(r"([A-Z_]+)=\s*(\"[^\"]*\"?|[^\s#]*)")
_UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "M": 31 * 86400, "Y": 372 * 86400}
_NOWHERE: Final = Origin("")
# What it says where policyd.conf is not given or has no text of its own.
TEXTS: Final = {
    "GREYLIST_REJECTION": "Please try later.",
    "BLACKLIST_REJECTION": "Abuse. Go away.",
    "SPAMTRAP_REJECTION": "Abuse. Go away.",
    "SENDER_SIZE_REJECTION": "Message size too big.",
    "SENDER_QUOTA_REJECTION": "Quota Exceeded.",
    "RECIPIENT_QUOTA_REJECTION": "Quota Exceeded.",
}


def looks_like_config(head: str) -> bool:
    """Whether a text sets what only policyd.conf sets."""
    return (
        len(re.findall(r"^(?:WHITELISTING|BLACKLISTING|GREYLISTING|SENDERTHROTTLE|TRIPLET_TIME)=", head, re.MULTILINE))
        > 1
    )


@dataclass
class Config:
    """The settings by name. `origin`: the file; empty where there is none."""

    origin: Origin = _NOWHERE
    values: dict[str, str] = field(default_factory=dict)

    @property
    def is_given(self) -> bool:
        """Whether there is a policyd.conf."""
        return bool(self.origin.path)

    def is_on(self, module: str) -> bool:
        """Whether a module is on; without policyd.conf each may be."""
        return self.number(module) == 1 if self.is_given else True

    def number(self, name: str) -> int:
        """A number; 0 where it is not set."""
        text = self.values.get(name, "")
        return int(text) if re.fullmatch(r"\d{1,12}", text, re.ASCII) else 0

    def seconds(self, name: str) -> int:
        """A time; 0 where it is not set."""
        found = re.fullmatch(r"(\d{1,9})([smhdwMY])", self.values.get(name, ""), re.ASCII)
        return min(int(found[1]) * _UNITS_S[found[2]], LONGEST_S) if found else 0

    def text(self, name: str) -> str:
        """The text of a reply."""
        return f"Policy Rejection- {self.values.get(name) or TEXTS[name]}"


def read_config(source: SourceFile) -> Config:
    """The settings of a file; the last of a name counts."""
    config = Config(Origin(source.path))
    for line in source.lines:
        if found := _LINE.match(line):
            config.values[found[1]] = found[2].strip('"')
    return config
