"""Standard output and standard error of a program that goes on when it can write to neither."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import TextIO

from forkpolicy import standard_streams


@dataclass(slots=True)
class Outputs:
    """Standard output and standard error, and whether something could not be written there."""

    error_closed: bool = False
    failed: bool = False

    def write_result(self, text: str) -> None:
        """Results, on standard output."""
        reason = _why_not_written(text, sys.stdout)
        if reason:
            self.failed = True
            self.write_message(f"standard output cannot be written: {reason}")

    def write_message(self, text: str) -> None:
        """Everything else, on standard error."""
        self.failed |= bool(_why_not_written(text, sys.stderr)) or self.error_closed


def _why_not_written(text: str, stream: TextIO) -> str:
    """Write a line; the reason if that cannot be done."""
    try:
        print(text, file=stream, flush=True)
    except OSError as error:
        # Its reader has gone, or its disk is full: no reason not to compile the other tables.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        return standard_streams.why(error)
    return ""
