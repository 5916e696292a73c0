"""Clients whose requests wait for an answer of the world: each behaves as Postfix's smtpd, and all it saw is kept.

They ask in phases: `begin` gives them questions, one after the other; `end` takes no more of them and returns once
every request has its reply. A client asks again no sooner than `pace_s` after it has asked, so that a server that
answers at once is not flooded. Their connections stay between phases.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from loadtest.clients.policy_client import PostfixClient, Tally
from loadtest.traffic.asking import Answered

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from loadtest.traffic.asking import Asked


class WaitingClients:
    """`count` of them, of the UNIX socket at `path`."""

    def __init__(self, path: Path, count: int, pace_s: float) -> None:
        """Nothing is opened before the first question."""
        self.count, self.pace_s = count, pace_s
        self._clients = [PostfixClient(path) for _ in range(count)]
        self._threads: list[threading.Thread] = []
        self._questions: Iterator[Asked] = iter(())
        self._answered: list[Answered] = []
        self._ending = threading.Event()
        self._changed = threading.Condition()
        self._waiting = 0
        self.failures: list[str] = []

    @property
    def tally(self) -> Tally:
        """Of all of them together."""
        total = Tally()
        for each in self._clients:
            total.add(each.tally)
        return total

    @property
    def waiting(self) -> int:
        """How many requests have no reply yet."""
        with self._changed:
            return self._waiting

    def begin(self, questions: Iterator[Asked], spread_s: float = 0.0) -> None:
        """Ask from now on, until `end`. `questions` never ends. The clients begin one after the other within
        `spread_s`: what all ask at the same moment would be a burst, and not so many that wait.
        """
        self._questions, self._answered = questions, []
        self._ending.clear()
        self._threads = [
            threading.Thread(target=self._ask, args=(client, spread_s * number / self.count), daemon=True)
            for number, client in enumerate(self._clients)
        ]
        for thread in self._threads:
            thread.start()

    def all_wait(self, timeout_s: float) -> bool:
        """Wait until every one of them waits; whether that came within the time."""
        with self._changed:
            return self._changed.wait_for(lambda: self._waiting == self.count, timeout_s)

    def end(self) -> list[Answered]:
        """Everything that was asked in this phase, once it is answered."""
        self._ending.set()
        for each in self._threads:
            each.join()
        return self._answered

    def close(self) -> None:
        """Close their connections."""
        for each in self._clients:
            each.close()

    def _ask(self, client: PostfixClient, begin_s: float) -> None:
        try:
            self._ending.wait(begin_s)
            while not self._ending.is_set():
                began_s = time.monotonic()
                self._one(client)
                self._ending.wait(max(0.0, began_s + self.pace_s - time.monotonic()))
        except Exception as error:  # noqa: BLE001 - of a thread: reported at the end
            self.failures.append(f"a client ended: {error!r}")

    def _one(self, client: PostfixClient) -> None:
        with self._changed:
            asked = next(self._questions)
            self._waiting += 1
            self._changed.notify_all()
        asked_s = time.time()
        action = client.ask(asked.request)
        answered = Answered(asked, asked_s, time.time(), action)
        with self._changed:
            self._waiting -= 1
            self._answered.append(answered)
