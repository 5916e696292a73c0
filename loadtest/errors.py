"""What ends a command of these tools: one line for its user, and an exit code."""

from __future__ import annotations


class SetupError(Exception):
    """Something that a run needs is missing, taken, or wrong: the message says what, and what to do."""

    exit_code = 2


class VerdictError(Exception):
    """The run finished, and a verdict was wrong or a reply was lost."""

    exit_code = 1
