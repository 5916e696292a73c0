"""Past requests from a file: as Postfix sent them, or as a log has them (`log_lines` reads its lines).

Our decision log has whole requests when it is written with `decisions = "all"` and `format = "json"`. What a log line
has lost (it is cut where it would be longer than a pipe takes at once) is not guessed: such a line is counted in
`left_out`, as is whatever else cannot be used. For `explain`, which says what was not given, a request may be in part:
a decision without its request, a line in which Postfix says whom it rejected. Reads as it goes, so that the size of a
file does not matter.

Raises UsageError, with what to do, for a file that is neither.
"""

from __future__ import annotations

import os
import re
import stat
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from forkpolicy.errors import UsageError
from forkpolicy.history.logged_request import PastRequest
from forkpolicy.history.recorded import answers_of
from forkpolicy.protocol.reader import RequestReader
from forkpolicy.protocol.request import REQUEST_NAME, ProtocolError
from forkpolicy.standard_streams import why

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import BufferedReader

    from forkpolicy.history.log_lines import LogLine

# A file of requests is the operator's own: only a runaway one is refused.
MAX_REQUEST_BYTES = 16 << 20
READ_BYTES = 16384
# The log's own lines have 4 KiB at most; a file with longer ones is something else.
MAX_LINE_BYTES = 1 << 20
HOW_TO_LOG = 'requests are logged with [log] decisions = "all" and format = "json"'
COMPRESSED = {
    b"\x1f\x8b": "zcat",
    b"\xfd7zXZ": "xzcat",
    b"BZh": "bzcat",
    b"\x28\xb5\x2f\xfd": "zstdcat",
}

# Why something was left out, as the report says.
CUT = "log lines cut for their length"
NO_REQUEST = 'decisions logged without their request (decisions was not "all")'
NOT_A_REQUEST = "that are not policy requests"

_IN_LOGFMT = re.compile(rb"\btime=\S+ level=")
_OF_POSTFIX = re.compile(rb"(?:^|\s)(?:NOQUEUE|[0-9A-Za-z]{6,20}): [\w-]+: [A-Z-]+ from |\bpostfix\S*\[\d+\]: ")


class RequestLog:
    """What a file has, once, in order. `read_bytes` and `left_out` grow while it is iterated."""

    def __init__(self, file: str, *, in_part: bool = False) -> None:
        self._in_part = in_part
        self.name = "standard input" if file == "-" else file
        self.left_out: Counter[str] = Counter()
        self.read_bytes = 0
        try:
            self._stream = _opened(file)
            status = os.fstat(self._stream.fileno())
            self.total_bytes = status.st_size if stat.S_ISREG(status.st_mode) else 0
            head = self._stream.peek(READ_BYTES)
        except OSError as error:
            raise UsageError(f"{self.name} cannot be read: {why(error)}") from error
        try:
            self.is_log = self._recognised(head)
        except UsageError:
            self._stream.close()
            raise

    def __iter__(self) -> Iterator[PastRequest]:
        """Every usable request."""
        with self._stream:
            yield from self._from_log() if self.is_log else self._from_postfix()

    def close(self) -> None:
        """Read no more of it; done by itself at its end."""
        self._stream.close()

    def why_nothing(self) -> str:
        """The message for a file without a request."""
        if not self.is_log:
            return f"{self.name} has no request: lines name=value up to an empty line"
        if not self.left_out:
            return f"{self.name} has no decision: {HOW_TO_LOG}"
        counted = "; ".join(f"{count} {why}" for why, count in self.left_out.items())
        return f"{self.name} has no complete request, only {counted}: {HOW_TO_LOG}"

    def _recognised(self, head: bytes) -> bool:
        """Whether it is a log; False: requests. Raises UsageError for neither."""
        first = head.lstrip().partition(b"\n")[0]
        for magic, reader in COMPRESSED.items():
            if head.startswith(magic):
                raise UsageError(f"{self.name} is compressed: give `-` for the file and {reader} {self.name} in a pipe")
        if not first:
            raise UsageError(f"{self.name} has no request: it is empty")
        for form, what in ((_IN_LOGFMT, "a log in logfmt, which"), (_OF_POSTFIX, "a log of Postfix, which")):
            if form.search(first):
                if self._in_part:
                    return True
                raise UsageError(f"{self.name} is {what} leaves requests out: {HOW_TO_LOG}")
        if re.search(rb'\{"\w+":', first):
            return True
        if first.strip() == b"{":
            raise UsageError(f"{self.name} is JSON over several lines: expected one object a line (journalctl -o json)")
        if re.match(rb"\w+=", first):
            return False
        raise UsageError(
            f"{self.name} has neither policy requests (lines name=value up to an empty line) nor a decision log in "
            f"JSON: its first line is {first[:60].decode('ascii', 'backslashreplace')!r}"
        )

    def _from_postfix(self) -> Iterator[PastRequest]:
        reader = RequestReader(MAX_REQUEST_BYTES)
        try:
            while data := self._stream.read1(READ_BYTES):
                self.read_bytes += len(data)
                reader.feed(data)
                yield from _whole(reader)
            # The last request of a file that was cut or typed by hand may lack its closing empty line.
            if reader:
                reader.feed(b"\n\n")
                yield from _whole(reader)
        except ProtocolError as error:
            raise UsageError(f"{self.name}: {error}") from error

    def _from_log(self) -> Iterator[PastRequest]:
        from forkpolicy.history.log_lines import read_line  # noqa: PLC0415 - requests of Postfix need none of it

        while line := self._stream.readline(MAX_LINE_BYTES):
            self.read_bytes += len(line)
            if line.isspace():
                continue
            said = read_line(line)
            if said.lost:
                self.left_out[said.lost] += 1
            elif said.fields or (said.attributes and self._in_part):
                yield from self._usable(said)

    def _usable(self, said: LogLine) -> Iterator[PastRequest]:
        if "cut" in said.fields:
            self.left_out[CUT] += 1
        elif said.attributes is None or not (said.whole or self._in_part):
            self.left_out[NO_REQUEST] += 1
        elif said.attributes.get("request") != REQUEST_NAME:
            self.left_out[NOT_A_REQUEST] += 1
        else:
            yield PastRequest(None, said.attributes, said.time, answers_of(said.fields))


def _opened(file: str) -> BufferedReader:
    """Standard input stays open: this command did not open it."""
    return os.fdopen(0, "rb", closefd=False) if file == "-" else Path(file).open("rb")


def _whole(reader: RequestReader) -> Iterator[PastRequest]:
    while (raw := reader.next_request()) is not None:
        # More than one empty line between two requests.
        if not raw.isspace():
            yield PastRequest(raw)
