"""What `check` finds in a policy that loads: warnings of what may surprise, and its tables."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from forkpolicy.compile.freshness import source_diagnostics
from forkpolicy.errors import Diagnostic
from forkpolicy.policy.checks.entries import entry_warnings
from forkpolicy.policy.checks.find import find_warnings
from forkpolicy.policy.checks.reports import codes_of_nothing
from forkpolicy.tables.examples import examples_in, words_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkpolicy.loading import Loaded
    from forkpolicy.policy.model import Model
    from forkpolicy.policy.nodes import TableDeclaration
    from forkpolicy.tables.live_table import LiveTable


def policy_warnings(loaded: Loaded) -> list[Diagnostic]:
    """What may surprise in a policy that loads; opens no table."""
    model, settings = loaded.policy.model, loaded.settings
    return [
        *loaded.warnings,
        *find_warnings(model, loaded.declarations, settings.state.budget),
        *codes_of_nothing(model, settings.log.decisions),
    ]


def table_diagnostics(loaded: Loaded) -> Iterator[Diagnostic]:
    """What is wrong with its tables and their sources; opens each, and closes it."""
    shadow = loaded.shadow
    models = [loaded.policy.model, *([shadow.policy.model] if shadow else [])]
    for name, table in loaded.tables.items():
        yield from _of_table(table, loaded.declarations[name], models)
    if shadow is None:
        return
    for name, table in shadow.tables.items():
        if name not in loaded.tables:
            # Without it only the shadow fails.
            for diagnostic in _of_table(table, shadow.declarations[name], models):
                yield replace(diagnostic, severity="warning")


def _of_table(table: LiveTable, declared: TableDeclaration, models: list[Model]) -> Iterator[Diagnostic]:
    table.refresh()
    if table.table is None:
        message = f'table "{table.name}" cannot be used: {table.refused}'
        yield Diagnostic(declared.path, declared.line, 0, message, hint=_how_to_make(table))
    else:
        yield from entry_warnings(models, table.table)
        if examples := examples_in(table.table):
            first = examples[0]
            yield Diagnostic(first.source, first.line, 0, words_for(examples), severity="warning")
    yield from source_diagnostics(declared, table)
    table.close()


def _how_to_make(table: LiveTable) -> str:
    """What to do about a file that is not a table. That it does not exist or may not be read is in the reason, with
    what to do; and the compile replaces no file that is not a table of ours.
    """
    return (
        f"move that file away, then compile it: forkpolicy-compile {table.name}"
        if os.access(table.path, os.R_OK)
        else ""
    )
