"""The ACL Policy Daemon for Postfix: its policy.conf, main.conf and value files. Its program exists no more."""

from __future__ import annotations

import re
from typing import Final

from forkpolicy.importing.apolicy.translate import read
from forkpolicy.importing.formats import Format

_STATEMENT: Final = re.compile(
    r"^[ \t]*(?:acl[ \t]+\S+[ \t]+[a-z_]+|action[ \t]+\S+[ \t]+\S|access[ \t]+!?\S)", re.MULTILINE | re.IGNORECASE
)
NO_ORIGINAL: Final = "apolicy's program was for Python 2 and is published nowhere any more"


def looks_like(head: str) -> bool:
    """Whether a text has one of its statements."""
    return _STATEMENT.search(head) is not None


FORMAT: Final = Format("apolicy", "ACL Policy Daemon for Postfix", read, looks_like, no_original=NO_ORIGINAL)
