"""Files with one secret in their first line."""

from __future__ import annotations

from pathlib import Path

from forkpolicy.console.access.directory.errors import DirectoryAwayError
from forkpolicy.rights import others_may_read


def read_secret(setting: str, path: str) -> str:
    """Raises DirectoryAwayError where it cannot be read, or everybody can."""
    try:
        first = Path(path).read_text("utf-8").partition("\n")[0].rstrip("\r")
    except (OSError, ValueError) as error:
        raise DirectoryAwayError(f"{setting}: {path} cannot be read: {getattr(error, 'strerror', error)}") from error
    if others_may_read(path):
        raise DirectoryAwayError(f"{setting}: everybody may read {path}: chmod o= {path}")
    if not first:
        raise DirectoryAwayError(f"{setting}: {path} is empty: expected a password in its first line")
    return first
