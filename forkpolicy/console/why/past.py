"""Policies and tables, kept open for the next question: to load them costs more than to ask.

A kept policy is used by one thread at a time. Raises HistoryError.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final

from forkpolicy.history.past import version_of_then
from forkpolicy.loading import load_everything

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from forkpolicy.history.versions import VersionDirectory
    from forkpolicy.loading import Loaded

# Each holds a policy and its tables, mapped from files that have no name any more.
_KEPT: Final = 2


class PastPolicies:
    """The last ones that were asked."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, str, str], tuple[ExitStack, Loaded]] = OrderedDict()

    @contextmanager
    def of(self, versions: VersionDirectory, in_force: str, host: str) -> Iterator[Loaded]:
        """Policy and tables of an id that decisions of a host have, as `version_of_then`."""
        with self._lock:
            yield self._loaded(versions, in_force, host)

    def _loaded(self, versions: VersionDirectory, in_force: str, host: str) -> Loaded:
        key = (str(versions.path), in_force, host)
        kept = self._kept.pop(key, None)
        if kept is None:
            with ExitStack() as opening:
                loaded = opening.enter_context(version_of_then(versions, in_force, host))
                kept = opening.pop_all(), loaded
            while len(self._kept) >= _KEPT:
                _, (opened, _) = self._kept.popitem(last=False)
                opened.close()
        self._kept[key] = kept
        return kept[1]


class CurrentPolicy:
    """What is in the files now."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: Loaded | None = None
        self._own: Loaded | None = None

    @contextmanager
    def of(self, now: Callable[[], Loaded]) -> Iterator[Loaded]:
        """Policy and tables, these open. `now`: what others have loaded, the same object until a file is another one;
        their tables are not touched. Raises ConfigError.
        """
        with self._lock:
            known = now()
            if known is not self._known or self._own is None:
                self._close()
                self._own, self._known = load_everything(known.settings.path), known
            for table in self._own.all_tables:
                table.refresh()
            yield self._own

    def _close(self) -> None:
        if self._own:
            for table in self._own.all_tables:
                table.close()
        self._own = self._known = None
