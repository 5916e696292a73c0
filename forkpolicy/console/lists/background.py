"""Work in a thread of its own: done once more for all who ask while it is done."""

from __future__ import annotations

import logging
from threading import Lock, Thread
from typing import TYPE_CHECKING, Final

from forkpolicy.console.errors import PageError
from forkpolicy.errors import ForkpolicyError

if TYPE_CHECKING:
    from collections.abc import Callable

_log: Final = logging.getLogger("forkpolicy.console")


class InBackground:
    """Never two at a time. What `work` raises is logged."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work, self._lock = work, Lock()
        self._is_wanted = self._is_running = False

    def ask(self) -> None:
        """Have it begun after now."""
        with self._lock:
            self._is_wanted = True
            if self._is_running:
                return
            self._is_running = True
        Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while self._goes_on():
            try:
                self._work()
            except (ForkpolicyError, PageError, OSError) as error:
                _log.warning("users' lists cannot be compiled: %s", error)
            except Exception:  # noqa: BLE001 - a bug of ours must not end the thread: nobody would compile again
                _log.exception("a bug in compiling users' lists")

    def _goes_on(self) -> bool:
        with self._lock:
            self._is_running, self._is_wanted = self._is_wanted, False
            return self._is_running
