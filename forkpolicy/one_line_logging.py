"""Messages of `logging` on standard error, one line each: for programs that have strangers' words in them.

What is not printable is escaped, or a stranger could write lines that look as if another part had: the audit is in the
same log. Lines of a traceback are indented.
"""

from __future__ import annotations

import logging
import sys
from typing import Final

from forkpolicy.log_lines import escaped

_MOST_CHARACTERS: Final = 4000


class OneLine(logging.Formatter):
    """A message is one line, its traceback stands behind it."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """The line."""
        return _printable(super().formatMessage(record))

    def formatException(self, ei: object) -> str:  # noqa: N802 - logging's name
        """The traceback, whose last lines may have a stranger's words, too."""
        lines = super().formatException(ei).split("\n")  # type: ignore[arg-type] # logging's own
        return "\n".join(f"  {_printable(line)}" for line in lines)


def _printable(text: str) -> str:
    cut = text[:_MOST_CHARACTERS]
    return cut if cut.isprintable() else "".join(each if each.isprintable() else escaped(each) for each in cut)


def log_to_stderr(form: str) -> None:
    """Write warnings, and what is worse, there from now on. `form`: as logging.Formatter has it."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine(form))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
