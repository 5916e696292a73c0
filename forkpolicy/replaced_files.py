"""An operator's files on disk: read as they are, compared, and written one by one, each completely or not at all.

A file that is replaced is kept next to it as NAME.before-BY, where BY names the command. Raises CannotWriteError: what
was written before stays, and a second run writes the rest.
"""

from __future__ import annotations

import difflib
import errno
import os
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from forkpolicy.errors import CannotWriteError, ConfigError, Diagnostic

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

# Of a new file.
MODE: Final = 0o644


def read_texts(directory: Path, names: Iterable[str]) -> dict[str, str]:
    """The texts of the files that exist. Raises ConfigError for one that cannot be read."""
    texts = {}
    for name in names:
        path = directory / name
        try:
            texts[name] = _text_of(path)
        except FileNotFoundError:
            continue
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            hint = "run this as a user who may read it, or name another place"
            raise ConfigError([Diagnostic(str(path), 0, 0, f"cannot be read: {why}", hint=hint)]) from error
    return texts


def _text_of(path: Path) -> str:
    # A FIFO would wait for a writer.
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise OSError(errno.EINVAL, "it is not a regular file")
    return path.read_text(encoding="utf-8", errors="surrogateescape")


def difference(path: Path, old: str | None, new: str) -> str:
    """A unified difference; empty when there is none."""
    if old == new:
        return ""
    lines = difflib.unified_diff(
        (old or "").splitlines(keepends=True),
        new.splitlines(keepends=True),
        "/dev/null" if old is None else str(path),
        str(path),
    )
    text = "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)
    return text.rstrip("\n").encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def write_files(directory: Path, files: Mapping[str, str], there: Mapping[str, str], by: str) -> list[str]:
    """Write what differs; what was done, in words. Raises CannotWriteError."""
    done: list[str] = []
    for name, text in files.items():
        path = directory / name
        if there.get(name) == text:
            continue
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            kept = _keep(path, by) if name in there else None
            _replace(path, text, by)
        except OSError as error:
            where, why = error.filename or path, (error.strerror or str(error)).lower()
            written = f" ({'; '.join(done)})" if done else ""
            rights = ": run this as root" if isinstance(error, PermissionError) and os.geteuid() else ""
            raise CannotWriteError(f"{where} cannot be written: {why}{rights}{written}") from error
        real = f" ({path.resolve()})" if path.is_symlink() else ""
        done.append(f"wrote {path}{real}" + (f", the previous one is {kept}" if kept else ""))
    return done


def _keep(path: Path, by: str) -> Path:
    """A copy of a file under a name that was free."""
    number = 1
    while os.path.lexists(kept := path.with_name(f"{path.name}.before-{by}{f'.{number}' if number > 1 else ''}")):
        number += 1
    shutil.copy2(path, kept)
    with suppress(PermissionError):
        os.chown(kept, path.stat().st_uid, path.stat().st_gid)
    return kept


def _replace(path: Path, text: str, by: str) -> None:
    """Written next to it, synced, renamed: readers see the old file or the new one."""
    found = path.stat() if path.exists() else None
    # What a symbolic link names is replaced, not the link.
    path = path.resolve()
    # One name: what a run that was killed has left is replaced, too.
    new = path.with_name(f".{path.name}.{by}")
    new.unlink(missing_ok=True)
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(fd, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
            file.flush()
            os.fchmod(fd, found.st_mode & 0o7777 if found else MODE)
            if found:
                os.fchown(fd, found.st_uid, found.st_gid)
            os.fsync(fd)
        new.rename(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
