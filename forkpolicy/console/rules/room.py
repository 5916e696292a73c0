"""What the pages of rules ask: the policy in the files with its lines, hits, and reasons. For all threads.

Raises ConfigError where the policy cannot be loaded.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from forkpolicy.console.rules.counts import Counts
from forkpolicy.console.rules.listing import addresses, lines_of
from forkpolicy.console.rules.reasons import entries_of, known_reasons
from forkpolicy.history.rollup_sums import open_rollups

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from forkpolicy.console.rules.counts import Counted
    from forkpolicy.console.rules.listing import Line
    from forkpolicy.loading import Loaded
    from forkpolicy.policy.model import Rule
    from forkpolicy.settings import Settings
    from forkpolicy.status import Status


@dataclass(frozen=True, slots=True)
class Text:
    """A policy with its lines; `reasons`: why rules can never fire, by file and line;
    `addresses`: where each name is declared.
    """

    loaded: Loaded
    lines: list[Line]
    reasons: Mapping[tuple[str, int], str]
    addresses: Mapping[str, str]


class Rules:
    """Of the policy that `now` gives, the same object as long as it is the same policy."""

    def __init__(self, settings: Settings, now: Callable[[], Loaded], clock: Callable[[], float] = time.time) -> None:
        self._settings, self._now = settings, now
        self._counts = Counts(lambda: open_rollups(settings.history), clock)
        self._text: Text | None = None

    @property
    def text(self) -> Text:
        """What is in the files."""
        loaded, known = self._now(), self._text
        if known is None or known.loaded is not loaded:
            known = self._text = Text(loaded, lines_of(loaded), known_reasons(loaded), addresses(loaded.policy.model))
        return known

    def counted(self, loaded: Loaded) -> Counted | None:
        """How often its rules fired; None where nothing is recorded."""
        return self._counts.of(loaded.policy.model.rules) if self._settings.history.log else None

    def is_recorded(self, rule: Rule) -> bool:
        """Whether the history has what this rule does: what passes may be left out of it."""
        history = self._settings.history
        says = rule.action.kind == "reply" and (history.decisions == "all" or rule.action.verb != "DUNNO")
        return bool(history.log) and says


@dataclass(frozen=True, slots=True)
class Served:
    """What the running server has counted since its policy came into force: by file, line and text of a rule; entries
    by table; pairs of rules that its shadow decides otherwise.
    """

    hits: Mapping[str, int]
    entries: Mapping[str, int]
    differences: Mapping[str, int]
    since_s: float


def served(status: Status, now_s: float) -> Served:
    """Of all workers."""
    hits = dict.fromkeys(status.lines, 0)
    differences: dict[str, int] = {}
    for worker in status.workers:
        for text, count in zip(status.lines, worker.line_hits, strict=False):
            hits[text] += count
        for pair, count in (worker.shadow.pairs if worker.shadow else {}).items():
            differences[pair] = differences.get(pair, 0) + count
    tables = ((table.name, table.entries) for worker in status.workers for table in worker.tables)
    return Served(hits, entries_of(tables), differences, now_s - status.generation_age_s)
