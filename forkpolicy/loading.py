"""Settings, policy and table slots as one generation, loaded from files or from a snapshot of them.

The master loads before it forks, and again on reload to check; a worker loads the same snapshot on reload; commands
load to check and explain. Tables are named here, not opened: LMDB is opened after the fork. Raises ConfigError with
every mistake of settings and policy.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from forkpolicy.files import Files, SnapshotFiles
from forkpolicy.policy.load import check_on_error, load_policy
from forkpolicy.settings import load_settings
from forkpolicy.tables.slot import TableSlot

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forkpolicy.errors import Complaint
    from forkpolicy.policy.nodes import TableDeclaration
    from forkpolicy.policy.policy import Policy
    from forkpolicy.settings import Settings
    from forkpolicy.tables.format import Kind


@dataclass(frozen=True, slots=True)
class Loaded:
    """One generation. `snapshot` has the bytes of every file that it was made from."""

    settings: Settings
    policy: Policy
    slots: dict[str, TableSlot]
    declarations: dict[str, TableDeclaration]
    snapshot: dict[str, bytes]
    warnings: tuple[Complaint, ...]

    @property
    def line_texts(self) -> list[str]:
        """Every access line with its place, then the end of the policy and failures: what hits are counted by."""
        model = self.policy.model
        return [f"{line.where}: {line.text}" for line in (*model.lines, model.default_line, model.error_line)]

    @property
    def summary(self) -> dict[str, object]:
        """What the start and the reload line of the log say about it."""
        model = self.policy.model
        return {
            "policy": self.settings.policy,
            "lines": len(model.lines),
            "acls": len(model.acls),
            "tables": ",".join(self.slots) or "-",
            "warnings": len(self.warnings),
        }


def load_everything(
    settings_path: str | Path,
    snapshot: Mapping[str, bytes] | None = None,
    slots: Mapping[str, TableSlot] | None = None,
) -> Loaded:
    """Load one generation. `slots` of a generation before are used again where they mean the same table."""
    files = Files() if snapshot is None else SnapshotFiles(snapshot)
    path = str(Path(settings_path).absolute())
    return load_with(load_settings(path, files), files, slots or {})


def load_with(settings: Settings, files: Files, slots: Mapping[str, TableSlot]) -> Loaded:
    """Load the policy that `settings` names."""
    check_on_error(settings.server.on_error, settings.path)
    delimiter = settings.mail.recipient_delimiter
    made: dict[str, TableSlot] = {}
    declarations: dict[str, TableDeclaration] = {}

    def slot_for(declaration: TableDeclaration) -> TableSlot:
        declarations[declaration.name] = declaration
        made[declaration.name] = _slot(declaration, settings.tables, delimiter, slots)
        return made[declaration.name]

    policy, warnings = load_policy(
        settings.policy, slot_for, files=files, delimiter=delimiter, on_error=settings.server.on_error
    )
    return Loaded(settings, policy, made, declarations, files.snapshot, tuple(warnings))


def table_path(tables: str, name: str) -> str:
    """Where the compiled table of that name is."""
    return str(Path(tables) / f"{name}.lmdb")


def _slot(declaration: TableDeclaration, tables: str, delimiter: str, before: Mapping[str, TableSlot]) -> TableSlot:
    path = table_path(tables, declaration.name)
    known = before.get(declaration.name)
    if known and (known.kind, known.path, known.delimiter) == (declaration.kind, path, delimiter):
        return known
    # The parser lets no other kind through.
    return TableSlot(declaration.name, cast("Kind", declaration.kind), path, delimiter)
