"""What strangers chose, on a terminal."""

from __future__ import annotations

from forkpolicy.log_lines import escaped


def clean(text: str) -> str:
    """A text without characters of control; quotes, and the backslashes that the log has for raw bytes, as they are."""
    return escaped(text).replace('\\"', '"').replace("\\\\", "\\")
