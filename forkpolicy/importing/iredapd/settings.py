"""settings.py of iRedAPD: plain values that it assigns, and the defaults of those that it does not. It is not run."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from forkpolicy.importing.source import SourceFile

_DEFAULTS: Final[dict[str, object]] = {
    "MYNETWORKS": [],
    "GREYLISTING_BLOCK_EXPIRE": 15,
    "GREYLISTING_UNAUTH_TRIPLET_EXPIRE": 2,
    "GREYLISTING_AUTH_TRIPLET_EXPIRE": 30,
    "GREYLISTING_MESSAGE": "Intentional policy rejection, please try again later",
    "GREYLISTING_BYPASS_SPF": True,
    "GREYLISTING_TRAINING_MODE": False,
    "THROTTLE_BYPASS_MYNETWORKS": False,
    "WBLIST_BYPASS_OUTGOING_EMAIL": False,
    "WBLIST_DISCARD_INSTEAD_OF_REJECT": False,
}
_ASSIGNMENT: Final = re.compile(
    r"^(?:plugins|GREYLISTING_\w+|MYNETWORKS|iredapd_db_\w+|THROTTLE_\w+)\s*=", re.MULTILINE
)


def looks_like_settings(head: str) -> bool:
    """Whether a text assigns what only settings.py of iRedAPD does."""
    return _ASSIGNMENT.search(head) is not None


@dataclass
class Settings:
    """What it assigns."""

    is_given: bool = False
    values: dict[str, object] = field(default_factory=dict)

    def has(self, plugin: str) -> bool:
        """Whether a plugin is on; without settings each is whose tables have rows."""
        plugins = self.values.get("plugins")
        return plugin in plugins if isinstance(plugins, list | tuple) else True

    def is_on(self, name: str) -> bool:
        """A switch."""
        return bool(self.values.get(name, _DEFAULTS[name]))

    def number(self, name: str) -> int:
        """A number that is not negative."""
        value = self.values.get(name, _DEFAULTS[name])
        return value if isinstance(value, int) and 0 <= value < 10**6 else 0

    def text(self, name: str) -> str:
        """A text."""
        return str(self.values.get(name, _DEFAULTS[name]))

    def texts(self, name: str) -> list[str]:
        """A list of texts."""
        value = self.values.get(name, _DEFAULTS[name])
        return [str(each) for each in value] if isinstance(value, list | tuple) else []


def read_settings(source: SourceFile) -> Settings:
    """The settings of a file; a line that is not Python is passed over with the rest."""
    settings = Settings(is_given=True)
    try:
        tree = ast.parse("\n".join(source.lines))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return settings
    for node in tree.body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            try:
                settings.values[node.targets[0].id] = ast.literal_eval(node.value)
            except (ValueError, TypeError, RecursionError, MemoryError):
                continue
    return settings
