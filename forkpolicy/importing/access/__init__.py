"""Postfix's own access(5) maps, and the restriction lists of a main.cf that look them up."""

from __future__ import annotations

from typing import Final

from forkpolicy.importing.access.main_cf import looks_like_main_cf
from forkpolicy.importing.access.original import original, same_reply
from forkpolicy.importing.access.translate import is_file, read
from forkpolicy.importing.formats import Format

FORMAT: Final = Format(
    "access",
    "Postfix's main.cf and access(5) maps",
    read,
    looks_like_main_cf,
    original,
    same_reply=same_reply,
    is_file=is_file,
)
