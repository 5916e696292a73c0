"""iRedAPD, the policy server of iRedMail: its SQL tables, amavisd's white and black lists, and settings.py."""

from __future__ import annotations

import re
from typing import Final

from forkpolicy.importing.formats import Format
from forkpolicy.importing.iredapd.settings import looks_like_settings
from forkpolicy.importing.iredapd.translate import read

_SQL: Final = re.compile(r"\b(?:INSERT|CREATE TABLE|COPY)\b", re.IGNORECASE)
_ITS_TABLES: Final = re.compile(
    r"\b(?:wblist_rdns|outbound_wblist|wblist|mailaddr|throttle_tracking|greylisting_whitelist_domain\w*"
    r"|greylisting_whitelists|max_msgs|sender_priority)\b",
    re.IGNORECASE,
)
NO_ORIGINAL: Final = "iRedAPD runs with the databases of iRedMail alone"


def looks_like(head: str) -> bool:
    """Whether a text is SQL of its tables, or its settings."""
    return looks_like_settings(head) or (_SQL.search(head) is not None and _ITS_TABLES.search(head) is not None)


FORMAT: Final = Format(
    "iredapd", "iRedAPD of iRedMail", read, looks_like, no_original=NO_ORIGINAL, takes_databases=True
)
