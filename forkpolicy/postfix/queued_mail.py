"""What waits in Postfix's queue, by `postqueue -j`: one mail after the other, as they are read.

postqueue(1) asks showq(8), which opens a file for each mail, so a long queue takes seconds: the caller says when to
give up. Raises QueueError with what to do where nothing can be read. postqueue is looked for in PATH, then where
Postfix installs it. The caller's rights apply: where a process may not gain rights (NoNewPrivileges of systemd), the
program's set-group-id bit counts for nothing, and its user must be a member of group postdrop.
"""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import subprocess
import time
from dataclasses import dataclass
from math import inf
from typing import IO, TYPE_CHECKING, Final, Self

from forkpolicy.errors import ForkpolicyError

if TYPE_CHECKING:
    from collections.abc import Iterator

_SBIN: Final = "/usr/sbin:/usr/local/sbin"
_BLOCK_BYTES: Final = 1 << 16
# A mail to all of Postfix's default_recipient_limit, 20,000, each with a long reason.
_LONGEST_LINE_BYTES: Final = 1 << 25
_PREFIX: Final = re.compile(r"^\S*postqueue: (?:warning: |fatal: )?")
# What postqueue says, and what helps. The first that is found counts.
DROP_IN: Final = "the drop-in forkpolicy-console-queue.conf of contrib/systemd/service.d lets the console ask it"
_HINTS: Final = (
    ("permission denied", f"this user is not a member of Postfix's group (setgid_group, postdrop usually): {DROP_IN}"),
    ("getifaddrs", f"systemd keeps this process from AF_NETLINK: {DROP_IN}"),
    ("not allowed to view", "postconf authorized_mailq_users names who may; add this user"),
    ("mail system is down", "start Postfix: systemctl start postfix"),
    ("main.cf", "[console] postfix names the directory of the Postfix whose queue is shown"),
    ("invalid option", "postqueue -j is there from Postfix 3.1 on"),
)


class QueueError(ForkpolicyError):
    """The queue cannot be read."""


class GaveUpError(QueueError):
    """Not all of it was read within the time."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A recipient that has the mail not yet; `reason`: why, empty where nothing was tried or it is being tried."""

    address: str
    reason: str


@dataclass(frozen=True, slots=True)
class QueuedMail:
    """`queue`: incoming, active, deferred, hold or maildrop."""

    queue: str
    queue_id: str
    arrived_s: int
    size_bytes: int
    sender: str
    recipients: tuple[Waiting, ...]


class QueueListing:
    """One run of postqueue with a configuration directory, empty: its own. Use as a context manager, which ends it.

    `warning`: what it said although it went on, when everything was read.
    """

    def __init__(self, directory: str = "") -> None:
        program = shutil.which("postqueue", path=f"{os.environ.get('PATH', os.defpath)}:{_SBIN}")
        if program is None:
            raise QueueError("postqueue is not installed: no Postfix is on this machine whose queue could be read")
        self.warning = ""
        words = [program, *(["-c", directory] if directory else []), "-j"]
        try:
            self._running = subprocess.Popen(  # noqa: S603 - the program was looked up, the arguments are a list
                words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
        except OSError as error:
            raise QueueError(f"{program} cannot run: {(error.strerror or str(error)).lower()}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._running.kill()
        self._running.communicate()

    def mails(self, give_up_s: float = inf) -> Iterator[QueuedMail]:
        """All of them, in no order; `give_up_s` by the monotonic clock. Raises GaveUpError, QueueError."""
        assert self._running.stdout
        for line in _lines(self._running.stdout, give_up_s):
            yield _mail(line)
        self._end(give_up_s)

    def _end(self, give_up_s: float) -> None:
        left_s = None if give_up_s == inf else max(0.0, give_up_s - time.monotonic())
        try:
            said = self._running.communicate(timeout=left_s)[1]
        except subprocess.TimeoutExpired:
            raise GaveUpError("postqueue did not end in time") from None
        text = "; ".join(_PREFIX.sub("", line) for line in said.decode("utf-8", "replace").splitlines())
        if self._running.returncode:
            raise QueueError(f"postqueue: {text or self._running.returncode}{_hint(text)}")
        self.warning = text


def _hint(text: str) -> str:
    folded = text.lower()
    return next((f" ({hint})" for part, hint in _HINTS if part in folded), "")


def _lines(stream: IO[bytes], give_up_s: float) -> Iterator[bytes]:
    rest = bytearray()
    while block := _block(stream, give_up_s):
        start = len(rest)
        rest += block
        if b"\n" not in block:
            if start > _LONGEST_LINE_BYTES:
                raise QueueError("postqueue -j: a line without end: is another program called postqueue?")
            continue
        *lines, last = bytes(rest).split(b"\n")
        yield from lines
        rest = bytearray(last)
    if rest:
        yield bytes(rest)


def _block(stream: IO[bytes], give_up_s: float) -> bytes:
    """Some bytes; none: the end."""
    poll = select.poll()
    poll.register(stream, select.POLLIN)
    left_s = give_up_s - time.monotonic()
    if left_s <= 0 or not poll.poll(None if left_s == inf else left_s * 1000):
        raise GaveUpError("postqueue did not list all of the queue in time")
    return os.read(stream.fileno(), _BLOCK_BYTES)


def _mail(line: bytes) -> QueuedMail:
    """Postfix escapes control characters, and leaves bytes that are not UTF-8 as they are."""
    try:
        fields = json.loads(line.decode("utf-8", "surrogateescape"))
        return QueuedMail(
            str(fields["queue_name"]),
            str(fields["queue_id"]),
            int(fields["arrival_time"]),
            int(fields["message_size"]),
            str(fields["sender"]),
            tuple(Waiting(str(each["address"]), str(each.get("delay_reason", ""))) for each in fields["recipients"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise QueueError(f"postqueue -j: a line that is not a mail: {line[:100]!r}") from error
