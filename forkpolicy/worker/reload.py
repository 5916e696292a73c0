"""The worker's part of a reload, in two steps of the master: `prepare` loads the next generation next to the one that
serves, in a thread, so that no request waits; `commit` swaps them, or `abort` forgets it.

Raises nothing for what the operator's files are: a policy that cannot be loaded is a list of diagnostics.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import gevent

from forkpolicy.errors import ConfigError
from forkpolicy.loading import load_everything

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from forkpolicy.loading import Loaded
    from forkpolicy.worker.engine import Engine
    from forkpolicy.worker.generation import Generation


class WorkerReload:
    """What one worker has prepared, if anything."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._prepared: Loaded | None = None

    def prepare(self, snapshot: Mapping[str, bytes]) -> list[str]:
        """Load the next generation from the bytes of its files. The diagnostics; none: it is ready to be committed."""
        pool, current = gevent.get_hub().threadpool, self._engine.loaded
        known = {table.name: table for table in reversed(current.all_tables)}
        try:
            loaded = pool.apply(load_everything, (current.settings.path, snapshot, known, current.store))
        except ConfigError as error:
            return [str(diagnostic) for diagnostic in error.diagnostics]
        except MemoryError:
            return ["a worker has not enough memory to load it"]
        except Exception as error:  # noqa: BLE001 - a bug must not keep master and operator waiting for an answer
            self._engine.bug(error)
            return [f"a worker cannot load it, and the log says why: {type(error).__name__}: {error}"]
        for table in loaded.all_tables:
            if file := pool.apply(table.prepare):
                table.take(file)
        # A table that is damaged or gone is reported by the reload, also where the previous file of it stays in use. A
        # table that only the shadow lacks does not keep the policy from serving.
        diagnostics = [table.refused for table in loaded.tables.values() if table.table is None or table.refused]
        if loaded.remembers and not self._engine.store.may_wait and not loaded.store.open():
            diagnostics.append(loaded.store.refused)
        self._prepared = loaded
        if diagnostics:
            self.abort()
        return diagnostics

    def commit(self, generation: int) -> None:
        """Serve the prepared generation from now on."""
        assert self._prepared is not None
        previous, prepared = self._engine.serving, self._prepared
        self._prepared = None
        self._engine.use(prepared, generation)
        self._engine.announce()
        # Requests that wait are decided by the policy that has begun them.
        self._engine.waiting.when_done(previous, lambda: self._close_unused(previous))

    def _close_unused(self, previous: Generation) -> None:
        """Close what only this generation had: others that live on, or are prepared, may have some of its tables, and
        ask the same engine.
        """
        in_use, remote = self._engine.in_use, previous.store.remote
        prepared = [self._prepared] if self._prepared else []
        _close_all(previous.loaded, but=[*(each.loaded for each in in_use), *prepared])
        if remote and all(each.store.remote is not remote for each in in_use):
            remote.close()

    def abort(self) -> None:
        """Forget what was prepared."""
        prepared, self._prepared = self._prepared, None
        if prepared:
            _close_all(prepared, but=[self._engine.loaded])


def _close_all(loaded: Loaded, *, but: Iterable[Loaded]) -> None:
    kept = [table for each in but for table in each.all_tables]
    for table in loaded.all_tables:
        if table not in kept:
            table.close()
