"""The policy and the tables that are on disk now, to be copied under the digests that they have.

What is copied is what was digested: of a policy the bytes that were read once, of a table the copied bytes themselves,
which must be those that were verified. Raises ConfigError, TableError and HistoryError for what cannot be copied; its
message is what an operator should know.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

from forkpolicy.decisive_settings import DecisiveSettings
from forkpolicy.documents import plain
from forkpolicy.errors import ConfigError, TableError
from forkpolicy.history.errors import HistoryError
from forkpolicy.history.versions import KeptPolicy
from forkpolicy.loading import load_everything, table_path
from forkpolicy.policy.parser import is_comment
from forkpolicy.secrets import READABLE_MASK, masked, masked_lines
from forkpolicy.settings import load_settings
from forkpolicy.tables.format import TRAILER_BYTES
from forkpolicy.tables.reader import open_verified, verify_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from forkpolicy.loading import Loaded
    from forkpolicy.settings import Settings

_CHUNK_BYTES: Final = 1 << 20
_WORD: Final = re.compile(r"\S+")
_DIGEST_BYTES: Final = hashlib.sha256().digest_size


class TableNow(NamedTuple):
    """A table that is on disk: an open file that was verified."""

    path: str
    version: str
    fd: int
    digest: str
    size_bytes: int

    def chunks(self) -> Iterator[bytes]:
        """The file. Raises TableError at its end if it is not the one that was verified."""
        digest, at = hashlib.sha256(), 0
        digested = self.size_bytes - _DIGEST_BYTES
        while at < self.size_bytes:
            chunk = os.pread(self.fd, min(_CHUNK_BYTES, self.size_bytes - at), at)
            if not chunk:
                break
            digest.update(chunk[: max(0, digested - at)])
            at += len(chunk)
            yield chunk
        if digest.hexdigest() != self.digest or at != self.size_bytes:
            raise TableError(f"{self.path} was written in place while it was copied")


class FilesNow:
    """What the settings at a path lead to. Everything is read when it is first asked for, once."""

    def __init__(self, settings_path: str) -> None:
        self._settings_path = settings_path

    def copy_policy(self, policy: str, settings: str, write: Callable[[Iterable[bytes]], None]) -> None:
        """Write the policy of these versions, with the settings that change decisions, without secrets."""
        loaded = self._loaded
        if loaded.policy_version() != policy:
            raise HistoryError(f"{loaded.settings.policy} (with what it includes) has changed before it was kept")
        if DecisiveSettings.of(loaded.settings).version != settings:
            raise HistoryError(f"{loaded.settings.path} has changed before it was kept")
        write([json.dumps(plain(_kept(loaded))).encode()])

    @contextmanager
    def table(self, name: str, kind: str) -> Iterator[TableNow]:
        """A table, open until the block ends."""
        file = verify_file(table_path(self._settings.tables, name))
        table = open_verified(file, name, kind)
        try:
            size_bytes = file.trailer.lmdb_bytes + TRAILER_BYTES
            yield TableNow(table.path, table.version, table.fd, file.trailer.digest, size_bytes)
        finally:
            table.close()

    @cached_property
    def _settings(self) -> Settings:
        return load_settings(self._settings_path)

    @cached_property
    def _loaded(self) -> Loaded:
        try:
            return load_everything(self._settings_path)
        except ConfigError as error:
            raise HistoryError(error.first) from error


def _kept(loaded: Loaded) -> KeptPolicy:
    """Everything of a policy that an explanation needs."""
    files = {name: _without_secrets(loaded, name) for name in loaded.snapshot if name != loaded.settings.path}
    tables = {name: table.kind for name, table in loaded.tables.items()}
    return KeptPolicy(loaded.settings.policy, DecisiveSettings.of(loaded.settings), files, tables)


def _without_secrets(loaded: Loaded, name: str) -> str:
    if name in loaded.secrets:
        return READABLE_MASK
    text = loaded.snapshot[name].decode("utf-8", "surrogateescape")
    return masked_policy(text) if name in loaded.policy.paths else masked_lines(text)


def masked_policy(text: str) -> str:
    """A file of a policy without its secrets. The texts of replies stay as they are, since strangers read them, and so
    do expressions: what looks like a password in them is none, and the explanation needs it.
    """
    lines, is_reply = [], False
    for line in text.splitlines(keepends=True):
        if is_comment(line):
            lines.append(masked(line, READABLE_MASK))
            continue
        if not line[0].isspace():
            is_reply = line.split(maxsplit=1)[0].lower() == "action"
        lines.append(line if is_reply else _WORD.sub(_masked_word, line))
    return "".join(lines)


def _masked_word(word: re.Match[str]) -> str:
    return word[0] if word[0].startswith("/") else masked(word[0], READABLE_MASK)
