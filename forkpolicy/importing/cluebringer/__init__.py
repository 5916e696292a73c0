"""policyd version 2, called cluebringer: the tables of its database and cluebringer.conf."""

from __future__ import annotations

import re
from typing import Final

from forkpolicy.importing.cluebringer.config import looks_like_config
from forkpolicy.importing.cluebringer.translate import read
from forkpolicy.importing.formats import Format

_ITS_TABLES: Final = re.compile(
    r"\b(?:policy_members|policy_group_members|policy_groups|quotas_limits|checkhelo\w*|checkspf|access_control"
    r"|greylisting_autowhitelist|amavis_rules)\b",
    re.IGNORECASE,
)
_SQL: Final = re.compile(r"\b(?:INSERT|CREATE TABLE|COPY)\b", re.IGNORECASE)
NO_ORIGINAL: Final = "policyd version 2 is a distribution's package no more"


def looks_like(head: str) -> bool:
    """Whether a text is SQL of its tables, or its configuration."""
    return looks_like_config(head) or (_SQL.search(head) is not None and _ITS_TABLES.search(head) is not None)


FORMAT: Final = Format(
    "cluebringer", "policyd version 2 (cluebringer)", read, looks_like, no_original=NO_ORIGINAL, takes_databases=True
)
