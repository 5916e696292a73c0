"""What the pages ask of this room: the rule file with its engine, drafts, samples and trials. Opened once.

Raises what its parts raise: NoRuleFileError, ConfigError, CannotWriteError, HistoryError, UsageError.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from forkpolicy.console.change.drafts import BusyError, Drafts, NoRuleFileError
from forkpolicy.console.change.engine import Engine
from forkpolicy.console.change.names import suggest
from forkpolicy.console.change.rules import RuleFile
from forkpolicy.console.change.samples import explain_with, sample_of
from forkpolicy.console.change.tables import console_tables
from forkpolicy.console.change.text_files import read_text
from forkpolicy.console.change.versions import Versions
from forkpolicy.errors import ConfigError, ForkpolicyError
from forkpolicy.history.opening import open_history
from forkpolicy.history.whatif.judging import what_if
from forkpolicy.history.whatif.policies import load_draft, load_now
from forkpolicy.history.whatif.risks import in_order

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from forkpolicy.console.change.engine import Audit, Outcome, Target
    from forkpolicy.console.change.names import Suggestions
    from forkpolicy.console.change.rules import Server
    from forkpolicy.console.change.samples import Explained
    from forkpolicy.console.change.tables import TableSource
    from forkpolicy.history.whatif.judging import WhatIf
    from forkpolicy.history.whatif.risks import Change as Difference
    from forkpolicy.loading import Loaded
    from forkpolicy.settings import Settings

# A trial of so many takes six seconds.
MOST_PAST: Final = 20_000
MOST_SAMPLES: Final = 20
_PATIENCE_S: Final = 10.0
_log: Final = logging.getLogger("forkpolicy.console")


class Changes:
    """Of the console of these settings, with the server that it asks."""

    def __init__(self, settings: Settings, server: Server, audit: Audit) -> None:
        self._settings, self._server = settings, server
        self.drafts = Drafts(settings.path)
        self.versions = Versions(Path(settings.console.path))
        self.engine = Engine(Path(settings.console.path), self.versions, audit)
        self._one_trial = threading.Lock()

    @property
    def rules(self) -> RuleFile:
        """The rule file of the policy as it is now."""
        return RuleFile(self.drafts.path(), self.drafts, self._server)

    def tables(self) -> dict[str, list[TableSource]]:
        """The console's tables by their names, each with its sources; none while the policy fails to load."""
        now = self.now()
        return console_tables(now, self._server) if now else {}

    def target_of(self, path: str) -> Target | None:
        """What a change was of, if it is still the console's."""
        targets: list[Target] = [source for sources in self.tables().values() for source in sources]
        with suppress(NoRuleFileError):
            targets.append(self.rules)
        return next((each for each in targets if str(each.path) == path), None)

    def mend(self) -> None:
        """What a console that was killed has left; where that is not possible now, the next change does it."""
        try:
            for path in {each.path for each in self.versions.pending()}:
                target = self.target_of(path)
                if target:
                    self.engine.mend(target)
        except ForkpolicyError as error:
            _log.warning("a change that was interrupted cannot be mended yet: %s", error)

    def append(self, lines: str, who: str, note: str, client: str) -> Outcome:
        """Put lines behind those that are there. `client`: the address of the browser, for the audit."""
        rules = self.rules
        now = read_text(rules.path)
        return self.engine.apply(rules, now.digest, now.text + lines, who, note, client)

    def now(self) -> Loaded | None:
        """The policy in the files; None where it fails to load."""
        try:
            return self.drafts.now()
        except ConfigError:
            return None

    def suggest(self, text: str, at: int) -> Suggestions:
        """Names for a place of a draft."""
        now = self.now()
        return suggest(text, at, now.policy.model if now else None)

    def explain(self, sample: str, draft: Loaded) -> Sequence[Explained]:
        """What the policy in the files, if it loads, and a draft say of a request."""
        now = self.now()
        policies = [each for each in (now, draft) if each]
        read = tuple({name: None for each in policies for name in each.policy.wanted})
        found = sample_of(sample, read, open_history(self._settings.history), time.time())
        return explain_with(found, *policies)

    def what_if(self, path: Path, text: str, days: int) -> tuple[WhatIf, Sequence[Difference]]:
        """Which past decisions of so many days a draft would have changed, at most MOST_PAST looked at, and these with
        the riskiest first. One trial at a time.
        """
        since_ms = int((time.time() - days * 86_400) * 1000)
        history = open_history(self._settings.history)
        with self._alone():
            now = load_now(self._settings.path)
            try:
                found = what_if(history, now, load_draft(now, str(path), text), since_ms, most=MOST_PAST)
            finally:
                for table in now.tables.values():
                    table.close()
        return found, in_order(history, found.changed, MOST_SAMPLES)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if not self._one_trial.acquire(timeout=_PATIENCE_S):
            raise BusyError("another trial is running: try again in a moment")
        try:
            yield
        finally:
            self._one_trial.release()
