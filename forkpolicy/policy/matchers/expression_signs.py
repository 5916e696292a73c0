"""What makes a value a regular expression. Here and not in regex.py, so that a policy without one never imports re2."""

from __future__ import annotations

from typing import Final

# No address, network or name has one of these, so a value that has one was meant as an expression (apolicy knew no
# other).
REGEX_CHARS: Final = frozenset("()|^$*[]\\?")


def is_regex(text: str) -> bool:
    """Whether a value is an expression: between slashes, or with a character that no address or name can have."""
    return (len(text) > 2 and text[0] == text[-1] == "/") or (text[0] != "/" and not REGEX_CHARS.isdisjoint(text))
