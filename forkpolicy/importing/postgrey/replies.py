"""Whether a reply of postgrey and one of ours are the same but for what differs by design. Pure."""

from __future__ import annotations


def same_reply(theirs: str, ours: str) -> bool:
    """Their mail that has waited gets a header."""
    return theirs == ours or (theirs.startswith("PREPEND X-Greylist: ") and ours == "DUNNO")
