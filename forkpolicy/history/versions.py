"""The directory of versions: what decisions were made with, kept by digest, so that they can be explained later.

    ID.json              one version, by the id that decisions have (`in_force`): which policy and tables, since when,
                         and what of it could not be kept
    POLICY-SETTINGS.policy  the files of a policy and the settings that change decisions, without their secrets
    NAME@VERSION.table   a compiled table

What several versions share is there once; everything is compressed. A part is on disk before a version names it, and
each file gets its name when it is complete: whenever this process is killed, a version is complete or not there. One
process writes: who has the lock of the history's directory. Raises OSError; HistoryError for what cannot be read.
"""

from __future__ import annotations

import json
import os
import tempfile
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from forkpolicy.decisive_settings import DecisiveSettings  # noqa: TC001 - read by `parse`
from forkpolicy.documents import parse, plain
from forkpolicy.history.errors import HistoryError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

FOLDER: Final = "versions"
# One form for each kind of part.
POLICY, TABLE, VERSION = ".policy", ".table", ".json"
# A table of a million addresses has 55 MB: 0.4 s and 17 MB at this level, 1.4 s and 15 MB at zlib's usual one.
_LEVEL: Final = 1
_CHUNK_BYTES: Final = 1 << 20
_ASIDE: Final = ".new"


@dataclass(frozen=True, slots=True)
class Version:
    """What one id of `in_force` stands for: `policy` and `settings` by digest, the version of each table (empty: none
    served); `since_ms` it was in force the last time. `missing`: why it is not complete; nothing where it is.
    """

    id: str
    since_ms: int
    policy: str
    settings: str
    tables: dict[str, str]
    missing: tuple[str, ...]

    @property
    def parts(self) -> list[str]:
        """The names of the files that it needs."""
        tables = (table_part(name, version) for name, version in self.tables.items() if version)
        return [policy_part(self.policy, self.settings), *tables]


@dataclass(frozen=True, slots=True)
class KeptPolicy:
    """A policy: the path of its file, every file that it was read from, by its path, and the kind of each table."""

    policy: str
    settings: DecisiveSettings
    files: dict[str, str]
    tables: dict[str, str]


def policy_part(policy: str, settings: str) -> str:
    """The name of a policy's file."""
    return f"{policy}-{settings}{POLICY}"


def table_part(name: str, version: str) -> str:
    """The name of a table's file."""
    return f"{name}@{version}{TABLE}"


class VersionDirectory:
    """The versions below a history's directory. Reading makes nothing."""

    def __init__(self, history: str) -> None:
        self.path = Path(history) / FOLDER

    # -- For reading --

    def version(self, in_force: str) -> Version | None:
        """The version of an id. Raises HistoryError where it cannot be read."""
        try:
            return _version(self.path / f"{in_force}{VERSION}")
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise HistoryError(f"{self.path / in_force}{VERSION} cannot be read: {error}") from error

    def every(self) -> list[Version]:
        """All of them, the oldest first; what is damaged is left out."""
        found = []
        for path in self.path.glob(f"[!.]*{VERSION}"):
            with suppress(ValueError, FileNotFoundError):
                found.append(_version(path))
        return sorted(found, key=lambda each: each.since_ms)

    def has(self, part: str) -> bool:
        """Whether a part is there."""
        return (self.path / part).exists()

    def policy(self, part: str) -> KeptPolicy:
        """A policy. Raises HistoryError."""
        try:
            return parse(KeptPolicy, json.loads(b"".join(self.chunks(part))))
        except ValueError as error:
            raise HistoryError(f"{self.path / part} is damaged: {error}") from error

    def unpack(self, part: str) -> IO[bytes]:
        """A table as a file without a name, for LMDB. Raises HistoryError."""
        unpacked = tempfile.TemporaryFile()  # noqa: SIM115 - the caller's
        try:
            unpacked.writelines(self.chunks(part))
            unpacked.flush()
        except BaseException:
            unpacked.close()
            raise
        return unpacked

    def chunks(self, part: str) -> Iterator[bytes]:
        """What a part has, piece by piece. Raises HistoryError."""
        path = self.path / part
        unpack = zlib.decompressobj()
        try:
            with path.open("rb") as packed:
                while chunk := packed.read(_CHUNK_BYTES):
                    yield unpack.decompress(chunk)
        except (OSError, zlib.error) as error:
            raise HistoryError(f"{path} cannot be read: {error}") from error
        if not unpack.eof:
            raise HistoryError(f"{path} is damaged: it ends too early")

    # -- For the one who writes --

    def begin(self) -> None:
        """Make it, and remove what a writer that was killed has left."""
        self.path.mkdir(mode=0o750, parents=True, exist_ok=True)
        if os.geteuid() == 0:
            # Made by root, it must not keep the owner of the history out.
            above = self.path.parent.stat()
            os.chown(self.path, above.st_uid, above.st_gid)
        for leftover in self.path.glob(f"{_ASIDE}*"):
            leftover.unlink(missing_ok=True)

    def write(self, part: str, chunks: Iterable[bytes]) -> None:
        """Keep a part under its name; nothing is kept where `chunks` raises."""
        pack = zlib.compressobj(_LEVEL)
        self._write(part, (packed for chunk in chunks if (packed := pack.compress(chunk))), pack.flush)

    def write_version(self, version: Version) -> None:
        """Keep a version, whose parts are there."""
        self._write(f"{version.id}{VERSION}", [json.dumps(plain(version)).encode()], bytes)

    def _write(self, name: str, chunks: Iterable[bytes], end: Callable[[], bytes]) -> None:
        aside = self.path / f"{_ASIDE}-{name}"
        fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
        try:
            with open(fd, "wb") as file:  # noqa: PTH123 - a descriptor
                file.writelines(chunks)
                file.write(end())
                if os.geteuid() == 0:
                    above = self.path.stat()
                    os.fchown(fd, above.st_uid, above.st_gid)
                file.flush()
                os.fsync(fd)
            aside.replace(self.path / name)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
        directory = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def tidy(self, oldest_ms: int, most_bytes: int) -> list[str]:
        """Remove versions that another one followed before `oldest_ms`, and the oldest ones while all together have
        more than `most_bytes`; the last one, which is in force, stays. Then parts that no version needs. The ids of
        versions that are gone.
        """
        versions, gone = self.every(), []
        while len(versions) > 1 and (versions[1].since_ms < oldest_ms or self._bytes_of(versions) > most_bytes):
            # The version first: parts without one are found again, a version without its parts would lie.
            gone.append(versions.pop(0).id)
            self._remove(f"{gone[-1]}{VERSION}")
        needed = {part for each in versions for part in each.parts}
        for path in self.path.iterdir():
            if path.suffix in {POLICY, TABLE} and path.name not in needed:
                self._remove(path.name)
        return gone

    def _bytes_of(self, versions: Iterable[Version]) -> int:
        names = {name for each in versions for name in (*each.parts, f"{each.id}{VERSION}")}
        return sum(self._bytes(name) for name in names)

    def _bytes(self, name: str) -> int:
        try:
            return (self.path / name).stat().st_size
        except FileNotFoundError:
            return 0

    def _remove(self, name: str) -> None:
        (self.path / name).unlink(missing_ok=True)


def _version(path: Path) -> Version:
    return parse(Version, json.loads(path.read_bytes()))
