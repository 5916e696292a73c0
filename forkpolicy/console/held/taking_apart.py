"""Has a stranger's mail taken apart in a process of its own (apart.py), which a limit of time and one of memory end: a
mail that was made to take minutes, or to break a parser, costs some seconds and nobody else's page.

A few at a time, since each holds one of the threads that pages need; others are asked to come again. What was too hard
once is not tried again. For all threads. Raises TooHardError, TooMany.
"""

from __future__ import annotations

import hashlib
import json
import logging
import subprocess
import sys
import threading
from collections import OrderedDict
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from forkpolicy.console.errors import TooMany
from forkpolicy.console.held.apart import HARD, NONE
from forkpolicy.console.held.letter import Content, Part

if TYPE_CHECKING:
    from collections.abc import Iterator

AT_ONCE: Final = 2
# 16 MiB of lines take half of it.
_CPU_S: Final = 6
# 16 MiB stand in it some ten times over, with Python and the sanitiser.
_MOST_BYTES: Final = 512 << 20
_PATIENCE_S: Final = 3.0
# Also where the machine is busy and the process has not had its seconds yet.
_WALL_S: Final = 20.0
_MOST_HARD: Final = 1000
_log: Final = logging.getLogger("forkpolicy.console")


class TooHardError(Exception):
    """A mail that cannot be taken apart within the limits."""


@dataclass(frozen=True, slots=True)
class Outline:
    """What the page of a mail shows of its text. `why_not`: nothing of it can be shown."""

    parts: tuple[Part, ...] = ()
    is_html: bool = False
    why_not: str = ""


class TakingApart:
    """The places where mail is taken apart, and the mails that were too hard."""

    def __init__(self, cpu_s: int = _CPU_S, most_bytes: int = _MOST_BYTES) -> None:
        self._limits = (str(cpu_s), str(most_bytes))
        self._places = threading.BoundedSemaphore(AT_ONCE)
        self._hard: OrderedDict[bytes, None] = OrderedDict()

    def outline(self, raw: bytes) -> Outline:
        """Of the bytes of a mail."""
        found = json.loads(self._run(raw, "letter") or b"{}")
        return Outline(tuple(Part(**each) for each in found["parts"]), found["is_html"])

    def document(self, raw: bytes, language: str, *, as_text: bool) -> bytes:
        """The document of the frame (preview.py)."""
        return self._run(raw, "document", language, "text" if as_text else "html") or b""

    def part(self, raw: bytes, number: int) -> Content | None:
        """An attachment; None: there is none of that number."""
        found = self._run(raw, "part", str(number))
        if found is None:
            return None
        name, _, content = found.partition(b"\0")
        return Content(name.decode(), content)

    def _run(self, raw: bytes, *words: str) -> bytes | None:
        digest = hashlib.sha256(raw).digest()
        if digest in self._hard:
            raise TooHardError
        command = [sys.executable, "-I", "-m", "forkpolicy.console.held.apart", *self._limits, *words]
        with self._place():
            try:
                done = subprocess.run(command, input=raw, capture_output=True, timeout=_WALL_S, check=False)  # noqa: S603 - this program itself, and no shell
            except subprocess.TimeoutExpired:
                self._note_hard(digest)
                raise TooHardError from None
        if done.returncode == NONE:
            return None
        if done.returncode == 0:
            return done.stdout
        if done.returncode < 0 or done.returncode == HARD:
            self._note_hard(digest)
        else:
            # Its last line may have words of a stranger.
            _log.error("a mail cannot be taken apart: %s", ascii(done.stderr.decode("utf-8", "replace")[-300:]))
        raise TooHardError

    @contextmanager
    def _place(self) -> Iterator[None]:
        if not self._places.acquire(timeout=_PATIENCE_S):
            raise TooMany("Much held mail is read at this moment: try again in some seconds.")
        try:
            yield
        finally:
            self._places.release()

    def _note_hard(self, digest: bytes) -> None:
        self._hard[digest] = None
        if len(self._hard) > _MOST_HARD:
            self._hard.popitem(last=False)
