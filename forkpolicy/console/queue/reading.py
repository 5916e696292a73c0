"""Reads the queue for all who look: one postqueue at a time, in a thread of its own, so that no page waits for the end
of a long queue. What was read stays for some seconds; of a longer reading a page shows the part that is there.
"""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

from forkpolicy.console.queue.figures import Figures
from forkpolicy.postfix.queued_mail import GaveUpError, QueueError, QueueListing
from forkpolicy.tables.keys import fold_address

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

T = TypeVar("T")
# How long what was read is shown again: five times as long as reading it took, within these bounds.
_FRESH_S: Final = (1.0, 30.0)
_FRESH_TIMES: Final = 5
# How long a page waits for the end of a reading.
_WAIT_S: Final = 2.0
# A reading ends after so long, or so many mails.
_LONGEST_S: Final = 120.0
MOST_MAILS: Final = 200_000


@dataclass(slots=True)
class _Reading:
    """`error`: why it could not go on. `is_whole`: all of the queue was read."""

    figures: Figures
    began_s: float
    ended_s: float | None = None
    is_whole: bool = False
    warning: str = ""
    error: QueueError | None = None

    def is_fresh(self) -> bool:
        """Whether it is still being made, or is shown again."""
        if self.ended_s is None:
            return True
        shortest_s, longest_s = _FRESH_S
        kept_s = min(max(_FRESH_TIMES * (self.ended_s - self.began_s), shortest_s), longest_s)
        return time.monotonic() - self.ended_s < kept_s


@dataclass(frozen=True, slots=True)
class Seen:
    """What a page is made of: of the queue at `at_s`. `is_whole`: of all of it; `goes_on`: more is being read."""

    at_s: float
    is_whole: bool
    goes_on: bool
    warning: str


class QueueReading:
    """The queue of a Postfix by its configuration directory, empty: its own."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self._changed = threading.Condition()
        self._latest: _Reading | None = None
        # The one before, if all of it was read: better than a part.
        self._whole: _Reading | None = None

    def look(self, view: Callable[[Seen, Figures], T]) -> tuple[Seen, T]:
        """What `view` makes of the figures, while nothing is added to them. Raises QueueError."""
        with self._changed:
            reading = self._begun()
            self._changed.wait_for(lambda: reading.ended_s is not None, _WAIT_S)
            if reading.error and not isinstance(reading.error, GaveUpError):
                raise QueueError(str(reading.error))
            shown = reading if reading.ended_s is not None or self._whole is None else self._whole
            seen = Seen(shown.figures.now_s, shown.is_whole, reading.ended_s is None, shown.warning)
            return seen, view(seen, shown.figures)

    def _begun(self) -> _Reading:
        latest = self._latest
        if latest and latest.is_fresh():
            return latest
        self._whole = latest if latest and latest.is_whole else None
        self._latest = _Reading(Figures(time.time()), time.monotonic())
        threading.Thread(target=self._read, args=(self._latest,), name="queue", daemon=True).start()
        return self._latest

    def _read(self, reading: _Reading) -> None:
        try:
            self._add_all(reading)
        except QueueError as error:
            reading.error = error
        finally:
            with self._changed:
                reading.ended_s = time.monotonic()
                self._whole = None
                self._changed.notify_all()

    def _add_all(self, reading: _Reading) -> None:
        with QueueListing(self.directory) as listing:
            for mail in listing.mails(reading.began_s + _LONGEST_S):
                with self._changed:
                    reading.figures.add(mail)
                    if reading.figures.whole.mails >= MOST_MAILS:
                        return
            reading.warning = listing.warning
            reading.is_whole = True


def waiting_of(directory: str, queue_ids: Collection[str], give_up_s: float) -> dict[tuple[str, str], str]:
    """Why mails wait, by queue id and folded recipient, as far as they are found in time. Raises QueueError."""
    found: dict[tuple[str, str], str] = {}
    with contextlib.suppress(GaveUpError), QueueListing(directory) as listing:
        for mail in listing.mails(give_up_s):
            if mail.queue_id in queue_ids:
                found |= {(mail.queue_id, fold_address(each.address)): each.reason for each in mail.recipients}
    return found
