"""cluebringer.conf: which modules are on, and their messages. Pure. Without it every module counts as on."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from forkpolicy.importing.source import SourceFile

_SECTION: Final = re.compile(r"\s*\[(\w+)\]\s*")
_SETTING: Final = re.compile(r"\s*(\w+)\s*=\s*(.*?)\s*")
_ON: Final = re.compile(r"\s*(?:y|yes|1|on)\b.*", re.IGNORECASE)


def looks_like_config(head: str) -> bool:
    """Whether a text has its sections."""
    return (
        len(re.findall(r"^\s*\[(?:AccessControl|Quotas|CheckHelo|Greylisting)\]", head, re.MULTILINE | re.IGNORECASE))
        > 1
    )


@dataclass
class Config:
    """Settings by section and name, in lower case."""

    is_given: bool = False
    values: dict[tuple[str, str], str] = field(default_factory=dict)

    def is_on(self, module: str) -> bool:
        """Whether a module is on."""
        return not self.is_given or _ON.fullmatch(self.values.get((module, "enable"), "")) is not None

    def get(self, module: str, name: str) -> str:
        """A setting; empty where it is not set."""
        return self.values.get((module, name), "")


def read_config(source: SourceFile) -> Config:
    """The settings of a file."""
    config = Config(is_given=True)
    section = ""
    for line in source.lines:
        if found := _SECTION.fullmatch(line):
            section = found[1].lower()
        elif (found := _SETTING.fullmatch(line)) and not line.lstrip().startswith("#"):
            config.values[section, found[1].lower()] = found[2]
    return config
