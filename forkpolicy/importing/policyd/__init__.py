"""policyd version 1 ("Policy Daemon", up to 1.82): its MySQL tables and policyd.conf."""

from __future__ import annotations

import re
from typing import Final

from forkpolicy.importing.formats import Format
from forkpolicy.importing.policyd.config import looks_like_config
from forkpolicy.importing.policyd.translate import read

_ITS_COLUMNS: Final = re.compile(r"\b(?:_whitelist|_blacklist|_optin|_count_max|_datenew|_wblist)\b|blacklist_helo\b")
NO_ORIGINAL: Final = "policyd version 1 is published nowhere any more"


def looks_like(head: str) -> bool:
    """Whether a text has its columns, or is its policyd.conf."""
    return looks_like_config(head) or _ITS_COLUMNS.search(head) is not None


FORMAT: Final = Format("policyd", "policyd version 1", read, looks_like, no_original=NO_ORIGINAL, takes_databases=True)
