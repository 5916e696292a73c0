"""The policy that is in the files, the same with an exception in front of its first rule, or with a draft of a file.

Raises ConfigError: every mistake in the exception or draft with its line and column, and those of settings and policy.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from forkpolicy.files import Files
from forkpolicy.loading import load_with, uncollected
from forkpolicy.settings import load_settings

if TYPE_CHECKING:
    from forkpolicy.errors import Diagnostic
    from forkpolicy.loading import Loaded

# The name of an exception that is in no file, for messages and as the place of its rules.
EXCEPTION: Final = "exception"


@dataclass(frozen=True, slots=True)
class Tried:
    """A policy with an exception or a draft, whose statements are of `paths`; `warnings`: those that come with it."""

    loaded: Loaded
    paths: tuple[str, ...]
    warnings: tuple[Diagnostic, ...]


def load_now(settings_path: str) -> Loaded:
    """The policy without its shadow, its tables open. `close` them."""
    files = Files()
    settings = replace(load_settings(settings_path, files), shadow="")
    with uncollected():
        loaded = load_with(settings, files, {})
    for table in loaded.tables.values():
        table.refresh()
    return loaded


def load_draft(now: Loaded, path: str, text: str) -> Tried:
    """The same policy, of the same bytes, with another text in one of its files; with the same tables, which stay
    open.
    """
    files = Files()
    files.snapshot.update(now.snapshot)
    files.snapshot[path] = text.encode("utf-8", "surrogateescape")
    with uncollected():
        loaded = load_with(now.settings, files, now.tables, now.store)
    return Tried(loaded, (path,), tuple(each for each in loaded.warnings if each not in now.warnings))


def load_tried(now: Loaded, exception: str, name: str = EXCEPTION, *, restricted: bool = False) -> Tried:
    """The same policy, of the same bytes, with the exception; with the same tables, which stay open. `restricted`: as a
    restricted file would have it, so that it reads no file.
    """
    files = Files()
    files.snapshot.update(now.snapshot)
    files.snapshot[name] = exception.encode("utf-8", "surrogateescape")
    with uncollected():
        loaded = load_with(now.settings, files, now.tables, now.store, in_front=name, restricts_front=restricted)
    paths = loaded.policy.paths[: len(loaded.policy.paths) - len(now.policy.paths)]
    warnings = tuple(each for each in loaded.warnings if each not in now.warnings)
    return Tried(loaded, paths, warnings)


def lines_of(statements: str) -> str:
    """Statements that stand in one line, ` / ` between them, as lines. One within double quotes divides nothing."""
    words, lines = statements.split(" "), [""]
    is_quoting = statements.count('"') % 2 == 0
    is_open = False
    for word in words:
        if word == "/" and not is_open:
            lines.append("")
        else:
            lines[-1] += f" {word}" if lines[-1] else word
        is_open ^= is_quoting and word.count('"') % 2 == 1
    return "\n".join(lines) + "\n"
