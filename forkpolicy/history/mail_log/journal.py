"""Lines of the mail log from the journal, by journalctl(1): for hosts without a syslog daemon.

journalctl shows the system's journal to root and to members of the groups systemd-journal and adm. Raises HistoryError
where it cannot run or fails.
"""

from __future__ import annotations

import re
import subprocess
import threading
import time
from math import inf
from typing import TYPE_CHECKING, Final

from forkpolicy.history.errors import HistoryError
from forkpolicy.history.mail_log.files import NARROWER
from forkpolicy.postfix.mail_lines import line_time_s

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Each entry as one line, with seconds since 1970; LOG_MAIL of syslog(3).
_JOURNALCTL: Final = (
    "journalctl", "--quiet", "--no-pager", "--all", "--output=short-unix", "--facility=mail", "--case-sensitive=no",
)  # fmt: skip
_NOTHING: Final = 1


class Journal:
    """The journal of this host, or those of a directory."""

    def __init__(self, more: Sequence[str] = (), give_up_s: float = inf) -> None:
        """`more`: further options, such as --directory=DIR. `give_up_s`: by the monotonic clock, when a search ends
        without having seen all.
        """
        self.name = "the journal"
        self._more, self._give_up_s = more, give_up_s

    def lines(self, text: str, since_s: float, until_s: float) -> Iterator[tuple[float, str]]:
        """Lines that have the text, in any case, each with its time, the oldest first."""
        return self.lines_with([text], since_s, until_s)

    def lines_with(self, texts: Sequence[str], since_s: float, until_s: float) -> Iterator[tuple[float, str]]:
        """Lines that have any of the texts, the same way."""
        return self._lines("|".join(map(re.escape, texts)), since_s, until_s)

    def lines_of(self, queue_ids: Sequence[str], since_s: float, until_s: float) -> Iterator[tuple[float, str]]:
        """Lines about these queue ids, the same way."""
        return self._lines(f"^(?:{'|'.join(queue_ids)}): ", since_s, until_s)

    def _lines(self, pattern: str, since_s: float, until_s: float) -> Iterator[tuple[float, str]]:
        words = [
            *_JOURNALCTL,
            f"--since=@{int(since_s)}",
            f"--until=@{int(until_s) + 1}",
            f"--grep={pattern}",
            *self._more,
        ]
        try:
            with subprocess.Popen(  # noqa: S603 - no shell; as in the terminal, the search path says which journalctl
                words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            ) as running:
                assert running.stdout is not None
                assert running.stderr is not None
                late = self._watch(running)
                for raw in running.stdout:
                    line = raw.decode("utf-8", "surrogateescape")
                    at_s = line_time_s(line, until_s)
                    if at_s is not None and since_s <= at_s <= until_s:
                        yield at_s, line
                said = running.stderr.read().decode("utf-8", "replace").strip()
                if late.is_set():
                    raise HistoryError(f"the search of {self.name} was given up, as it took long: {NARROWER}")
        except OSError as error:
            raise HistoryError(
                f"journalctl cannot run: {(error.strerror or str(error)).lower()} ([history] mail_log)"
            ) from error
        if running.returncode > _NOTHING or said:
            raise HistoryError(f"journalctl: {said or running.returncode} ([history] mail_log)")

    def _watch(self, running: subprocess.Popen[bytes]) -> threading.Event:
        """Set once the program had to be ended, as it was late."""
        late = threading.Event()
        if self._give_up_s < inf:

            def end() -> None:
                try:
                    running.wait(max(0.0, self._give_up_s - time.monotonic()))
                except subprocess.TimeoutExpired:
                    late.set()
                    running.kill()

            threading.Thread(target=end, name="journal", daemon=True).start()
        return late
