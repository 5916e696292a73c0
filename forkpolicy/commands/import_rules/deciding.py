"""An imported policy that decides in this process: its tables compiled aside, its store in memory, the world not asked.

The requests of a comparison are decided as of now, since the original server knows no other time. Raises ConfigError
for a policy that does not load.
"""

from __future__ import annotations

import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from forkpolicy.commands.import_rules.checking import POLICY
from forkpolicy.commands.import_rules.writing import write_out
from forkpolicy.compile.directory import locked
from forkpolicy.compile.result import Options
from forkpolicy.compile.table import compile_table
from forkpolicy.loading import load_everything
from forkpolicy.protocol.layout import wanted_values
from forkpolicy.state.memory import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkpolicy.importing.draft import Draft
    from forkpolicy.loading import Loaded
    from forkpolicy.policy.model import Rule
    from forkpolicy.protocol.request import Request

SETTINGS = 'policy = "policy.conf"\ntables = "compiled"\n'


class Imported:
    """The policy. `failed`: why the last reply was that of `on_error`, if it was."""

    def __init__(self, loaded: Loaded) -> None:
        self.policy = loaded.policy
        self.failed = ""
        self.policy.on_failure = self._on_failure
        # Even a policy that remembers nothing: nobody else is asked then.
        self.policy.remember_in(MemoryStore(time.time))

    @property
    def not_asked(self) -> list[str]:
        """The ACLs that would ask the DNS or other servers: they cannot be known here."""
        acls = self.policy.model.acls.values()
        return [acl.name for acl in acls if acl.asks is not None and not acl.remembering]

    def decide(self, request: Request) -> tuple[Rule, str]:
        """The rule that decides, and the whole reply."""
        self.failed = ""
        values = wanted_values(request, self.policy.wanted)
        rule = self.policy.decide(values).rule
        self.policy.take_noted()
        text, failure = self.policy.result(rule, values)
        self.failed = self.failed or failure
        return rule, text

    def _on_failure(self, why: str) -> None:
        self.failed = why


@contextmanager
def deciding(draft: Draft) -> Iterator[Imported]:
    """The draft, written and compiled into a directory that is removed afterwards. Warns of tables that cannot be."""
    with tempfile.TemporaryDirectory(prefix="forkpolicy-import-") as name:
        directory = Path(name)
        write_out(name, draft)
        settings = directory / "forkpolicy.toml"
        settings.write_text(SETTINGS, encoding="utf-8")
        loaded = load_everything(settings)
        _compile(loaded, directory / "compiled")
        try:
            for table in loaded.tables.values():
                table.refresh()
            yield Imported(loaded)
        finally:
            for table in loaded.tables.values():
                table.close()


def _compile(loaded: Loaded, where: Path) -> None:
    with locked(where, _say) as directory:
        for declaration in loaded.declarations.values():
            result = compile_table(declaration, directory, Options(allow_wide=True, allow_shrink=True))
            for each in result.diagnostics:
                if each.severity == "error":
                    _say(f"table {result.name} cannot be compared: {each}")


def _say(text: str) -> None:
    print(text.replace(f"/{POLICY}", f" {POLICY}"), file=sys.stderr)
