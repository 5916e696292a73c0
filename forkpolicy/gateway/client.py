"""The clients' side of the store's socket (store/api.py): one command to a running store, and its reply.

Raises NotRunningError with what to look at where no store answers, ForkpolicyError for one of another release.
`Refused` is a reply like any other; only `read_mail` raises it, as RefusedError.
"""

from __future__ import annotations

import contextlib
import json
import socket
import time
from typing import TYPE_CHECKING, Final

from forkpolicy.control_client import LOOK_AGAIN_S
from forkpolicy.documents import parse, plain_fields
from forkpolicy.errors import ForkpolicyError, NotRunningError
from forkpolicy.gateway.digest_messages import (
    DigestFailed,
    DigestsDue,
    DigestSent,
    DigestsRan,
    DueDigests,
    LinkedMail,
    ShowLink,
    UseLink,
)
from forkpolicy.gateway.store_messages import (
    COMMANDS,
    Changed,
    ChooseDigest,
    Command,
    DeleteHeld,
    DigestChoice,
    Expire,
    HeldMail,
    HeldRows,
    HideSender,
    Ledger,
    LedgerReply,
    ListHeld,
    MailSize,
    ReadMail,
    Refused,
    ReleaseHeld,
    Reply,
    RequestRelease,
    Scope,
    ShowDigestChoice,
    ShowHeld,
    ShowTraining,
    ShowTroubles,
    StatusReply,
    StoreStatus,
    TrainingReply,
    TroublesReply,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TIMEOUT_S: Final = 30.0
_NAMES: Final = {kind: name for name, kind in COMMANDS.items()}
_REPLIES: Final[Mapping[type, type]] = {
    ListHeld: HeldRows,
    ShowHeld: HeldMail,
    ReadMail: MailSize,
    ReleaseHeld: Changed,
    DeleteHeld: Changed,
    RequestRelease: Changed,
    HideSender: Changed,
    ShowDigestChoice: DigestChoice,
    ChooseDigest: Changed,
    DigestsDue: DueDigests,
    DigestSent: Changed,
    DigestFailed: Changed,
    DigestsRan: Changed,
    ShowLink: LinkedMail,
    UseLink: LinkedMail,
    Expire: Changed,
    Ledger: LedgerReply,
    ShowTroubles: TroublesReply,
    ShowTraining: TrainingReply,
    StoreStatus: StatusReply,
}
# A page of a thousand rows with the longest headers, some times over.
_MOST_LINE_BYTES: Final = 1 << 26


class RefusedError(ForkpolicyError):
    """The store refused to give a mail; `kind` is that of Refused."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(refused.error)
        self.kind = refused.kind


def ask(path: str, command: Command, timeout_s: float = TIMEOUT_S) -> Reply:
    """The reply to a command, within a time. For ReadMail use `read_mail`."""
    with _asked(path, command, timeout_s) as (_, reply):
        return reply


class OpenMail:
    """A mail that is read piece by piece, by one thread at a time. Close it."""

    def __init__(self, answers: _Answers, size_bytes: int, timeout_s: float, asked: contextlib.ExitStack) -> None:
        self.size_bytes = size_bytes
        self._answers, self._timeout_s, self._asked = answers, timeout_s, asked

    def pieces(self) -> Iterator[bytes]:
        """Its bytes, each piece within the time."""
        left = self.size_bytes
        while left:
            piece = self._answers.some(left, time.monotonic() + self._timeout_s)
            left -= len(piece)
            yield piece

    def close(self) -> None:
        """Hang up."""
        self._asked.close()


def open_mail(path: str, scope: Scope, held: int, timeout_s: float = TIMEOUT_S) -> OpenMail:
    """A mail as it arrived, to be read piece by piece. Raises RefusedError, too; its pieces raise OSError."""
    with contextlib.ExitStack() as stack:
        answers, reply = stack.enter_context(_asked(path, ReadMail(scope, held), timeout_s))
        if isinstance(reply, Refused):
            raise RefusedError(reply)
        assert isinstance(reply, MailSize)
        return OpenMail(answers, reply.size_bytes, timeout_s, stack.pop_all())


def read_mail(path: str, scope: Scope, held: int, timeout_s: float = TIMEOUT_S) -> bytes:
    """The bytes of a mail as they arrived. Raises RefusedError, too."""
    with _asked(path, ReadMail(scope, held), timeout_s) as (rest, reply):
        if isinstance(reply, Refused):
            raise RefusedError(reply)
        assert isinstance(reply, MailSize)
        return rest.exactly(reply.size_bytes)


class _Answers:
    """What comes from the socket. All of it has one time limit, but for `some`."""

    def __init__(self, sock: socket.socket, path: str, until_s: float) -> None:
        self._sock, self._path, self._until_s, self._rest = sock, path, until_s, bytearray()

    def line(self) -> bytes:
        """Up to the next line end."""
        while (end := self._rest.find(b"\n")) < 0:
            if len(self._rest) > _MOST_LINE_BYTES:
                raise NotRunningError(f"{self._path}: the process that listens there is not a store: it does not end")
            self._more()
        line = bytes(self._rest[:end])
        del self._rest[: end + 1]
        return line

    def exactly(self, count: int) -> bytes:
        """So many bytes."""
        while len(self._rest) < count:
            self._more()
        return bytes(self._rest[:count])

    def some(self, most: int, until_s: float) -> bytes:
        """What comes next, at most so many bytes, and at least one; within a time of its own."""
        self._until_s = until_s
        if not self._rest:
            self._more()
        piece = bytes(self._rest[:most])
        del self._rest[:most]
        return piece

    def _more(self) -> None:
        self._sock.settimeout(_left_s(self._until_s))
        data = self._sock.recv(1 << 18)
        if not data:
            raise NotRunningError(f"{self._path}: the store closed the connection: it is ending; try again")
        self._rest += data


@contextlib.contextmanager
def _asked(path: str, command: Command, timeout_s: float) -> Iterator[tuple[_Answers, Reply]]:
    until_s = time.monotonic() + timeout_s
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        try:
            _connect(sock, path, until_s)
            answers = _Answers(sock, path, until_s)
            # It may have answered, and closed, before it was asked.
            with contextlib.suppress(BrokenPipeError):
                sock.sendall(json.dumps({**plain_fields(command), "command": _NAMES[type(command)]}).encode() + b"\n")
            yield answers, _parsed(path, command, answers.line())
        except TimeoutError as error:
            raise NotRunningError(f"{path}: the store does not answer within {timeout_s:g} s: see its log") from error
        except ConnectionError as error:
            raise NotRunningError(f"{path}: the store closed the connection: it is ending; try again") from error


def _connect(sock: socket.socket, path: str, until_s: float) -> None:
    while True:
        try:
            sock.settimeout(_left_s(until_s))
            return sock.connect(path)
        except BlockingIOError:
            # The queue of connections is full: connect(2) does not wait.
            time.sleep(LOOK_AGAIN_S)
        except TimeoutError:
            raise
        except PermissionError as error:
            hint = "root, its user and the group [store] api_group may ask it"
            raise NotRunningError(f"{path}: this user may not ask the store: {hint}") from error
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise NotRunningError(f"{path}: no store is running there ({reason}): start forkpolicy-store") from error


def _left_s(until_s: float) -> float:
    left_s = until_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s


def _parsed(path: str, command: Command, line: bytes) -> Reply:
    try:
        fields = json.loads(line)
        is_refused = isinstance(fields, dict) and "error" in fields and "kind" in fields
        reply: Reply = parse(Refused if is_refused else _REPLIES[type(command)], fields, others=True)
    except (ValueError, RecursionError) as error:
        raise ForkpolicyError(f"{path}: the reply of the store cannot be read: {error}") from error
    return reply
