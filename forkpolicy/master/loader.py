"""The child that loads: it reads the operator's files and shows that a generation comes of them.

So neither a mount that hangs nor anything that reading, parsing and compiling can raise or use up stops the master: it
learns the outcome, or that there was none in time, and kills the child. Raises OSError where no child or pipe can be
made.
"""

from __future__ import annotations

import os
import signal
import time
import traceback
from typing import TYPE_CHECKING

from forkpolicy import link
from forkpolicy.errors import ConfigError
from forkpolicy.master.processes.child import start_child
from forkpolicy.master.processes.waitpid import describe_exit, kill
from forkpolicy.messages import FROM_LOADER, MAX_FILES_BYTES, LoadedFiles, Reading, RefusedFiles
from forkpolicy.process import TRACE_CHARACTERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from forkpolicy.messages import Outline

    # Called in the child, with a function that it calls with each path before it is accessed.
    Load = Callable[[Callable[[str], None]], Outline]
    # What comes of it.
    Outcome = LoadedFiles | RefusedFiles

# One file, or the listing of one directory: a disk that is alive takes milliseconds.
READ_TIMEOUT_S = 10.0
# Everything. 40,000 lines take a second or two, on a busy machine ten.
LOAD_TIMEOUT_S = 60.0
READ_BYTES = 1 << 20


class Loader:
    """One load, from the fork to its outcome. The master's side."""

    def __init__(self, load: Load) -> None:
        self.ended = False
        # What it reads just now.
        self._path = ""
        self._decoder = link.Decoder(FROM_LOADER)
        self._since_s = self._begun_s = time.monotonic()
        self._read_end, write_end = os.pipe2(os.O_CLOEXEC)
        try:
            self.pid = start_child(
                lambda: _send(write_end, _loaded(load, write_end)), title="forkpolicy: load", keep=(write_end,)
            )
        except OSError:
            self.close()
            raise
        finally:
            os.close(write_end)
        os.set_blocking(self._read_end, False)

    def fileno(self) -> int:
        """Readable when it has sent something, or has died."""
        return self._read_end

    def read(self) -> Outcome | None:
        """Take what it sends; the outcome, if that is there. `ended` is True at the end of the pipe."""
        try:
            data = os.read(self._read_end, READ_BYTES)
        except BlockingIOError:
            return None
        self.ended = not data
        try:
            messages = self._decoder.feed(data)
        except link.InvalidMessageError as error:
            return RefusedFiles((f"the process that reads the files sent no valid message: {error}",))
        for message in messages:
            if not isinstance(message, Reading):
                return message
            self._path, self._since_s = message.path, time.monotonic()
        return None

    def exited(self, status: int) -> Outcome:
        """The outcome of one that has died: what it sent last, or how it died."""
        self.pid = 0
        while not self.ended:
            if outcome := self.read():
                return outcome
        return RefusedFiles((f"the process that reads the files died: {describe_exit(status)}",))

    def late(self, now_s: float) -> Outcome | None:
        """The outcome where it takes too long."""
        if self._path and now_s - self._since_s > READ_TIMEOUT_S:
            hint = "does the file system that it is on answer?"
            return RefusedFiles((f"{self._path}: could not be read within {READ_TIMEOUT_S:g} s: {hint}",))
        if now_s - self._begun_s > LOAD_TIMEOUT_S:
            return RefusedFiles((f"settings and policy could not be loaded within {LOAD_TIMEOUT_S:g} s",))
        return None

    def end(self) -> None:
        """Kill it, without waiting for its end: a process that a dead mount holds may outlive its signal."""
        if self.pid:
            kill(self.pid, signal.SIGKILL)
        self.close()

    def close(self) -> None:
        """Read no more of it."""
        os.close(self._read_end)


def _loaded(load: Load, write_end: int) -> bytes:
    """The outcome, as the last message."""
    try:
        outline = load(lambda path: _send(write_end, link.encode(Reading(path))))
        message = link.encode(LoadedFiles(outline))
        if len(message) <= MAX_FILES_BYTES:
            return message
        reasons = [f"the files have {len(message) >> 20} MiB together: {MAX_FILES_BYTES >> 20} at most"]
    except ConfigError as error:
        reasons = [str(diagnostic) for diagnostic in error.diagnostics]
    except MemoryError:
        reasons = ["there is not enough memory to load it"]
    except BaseException as error:  # noqa: BLE001 - whatever it is, the master goes on and reports it
        reason = f"a fault of forkpolicy's own, which the log describes: {type(error).__name__}: {error}"
        return link.encode(RefusedFiles((reason,), traceback.format_exc()[-TRACE_CHARACTERS:]))
    return link.encode(RefusedFiles(tuple(reasons)))


def _send(fd: int, message: bytes) -> None:
    view = memoryview(message)
    while view:
        view = view[os.write(fd, view) :]
