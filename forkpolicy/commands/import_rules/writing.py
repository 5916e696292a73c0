"""A draft as files: policy.conf, tables/NAME, and what a format adds. Raises UsageError, CannotWriteError.

policy.conf comes last, so that a directory that has one has everything; where something fails, nothing of it stays.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from forkpolicy.errors import CannotWriteError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forkpolicy.importing.draft import Draft


def write_out(out: str, draft: Draft) -> None:
    """Write everything into a directory that has none of it yet: an import never replaces what somebody changed."""
    files = {f"tables/{name}": text for name, text in draft.table_texts().items()}
    files |= {**draft.files, "policy.conf": draft.policy_text()}
    directory = Path(out)
    try:
        there = next((directory / name for name in reversed(files) if (directory / name).exists()), None)
        if there:
            raise UsageError(f"{there} exists already: name a directory that has none, or move it away")
        _write_all(directory, files)
    except OSError as error:
        where = error.filename or out
        raise CannotWriteError(f"{where} cannot be written: {(error.strerror or str(error)).lower()}") from error


def _write_all(directory: Path, files: Mapping[str, str]) -> None:
    """Write new files, all or none: a disk may be full, and Ctrl-C may come. Raises OSError."""
    made: list[Path] = []
    name = ""
    try:
        for name, text in files.items():
            path = directory / name
            for parent in reversed(path.parents):
                if not parent.exists():
                    parent.mkdir()
                    made.append(parent)
            with path.open("x", encoding="utf-8") as file:
                made.append(path)
                file.write(text)
    except BaseException as error:
        for path in reversed(made):
            with suppress(OSError):
                path.rmdir() if path.is_dir() else path.unlink()
        if isinstance(error, OSError) and not error.filename:
            raise OSError(error.errno, error.strerror, str(directory / name)) from error
        raise
