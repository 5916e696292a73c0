"""The policy and the tables of then, loaded again from what was kept, and the answers that a decision was given.

Raises HistoryError, which says why there is none.
"""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from forkpolicy.errors import ConfigError, TableError
from forkpolicy.files import SnapshotFiles
from forkpolicy.history.errors import HistoryError
from forkpolicy.history.recorded import given_of
from forkpolicy.history.versions import policy_part, table_part
from forkpolicy.loading import load_with, uncollected
from forkpolicy.tables.reader import verify_descriptor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkpolicy.history.versions import Version, VersionDirectory
    from forkpolicy.loading import Loaded
    from forkpolicy.policy.answers import Given
    from forkpolicy.policy.policy import Policy
    from forkpolicy.tables.live_table import LiveTable


@contextmanager
def version_of_then(versions: VersionDirectory, in_force: str, host: str) -> Iterator[Loaded]:
    """Policy and tables of an id that decisions of a host have; its tables are open until the block ends."""
    version = versions.version(in_force)
    if version is None:
        raise HistoryError(_why_none(versions, host))
    if version.missing:
        raise HistoryError("; ".join(version.missing))
    loaded = _loaded(versions, version)
    with ExitStack() as opened:
        for name, table in loaded.tables.items():
            opened.callback(table.close)
            if version.tables[name]:
                _open(versions, table, version.tables[name])
        yield loaded


def _why_none(versions: VersionDirectory, host: str) -> str:
    here = socket.gethostname()
    if host != here:
        return f"they are kept on {host}, where it was made, and this is {here}"
    try:
        os.listdir(versions.path)  # noqa: PTH208 - whether that may be done is all
    except FileNotFoundError:
        return f"none are kept in {versions.path}"
    except OSError as error:
        return f"{versions.path} cannot be read: {error.strerror}"
    return "they are not kept, or not any more ([history] versions_bytes, keep_days)"


def _loaded(versions: VersionDirectory, version: Version) -> Loaded:
    part = policy_part(version.policy, version.settings)
    kept = versions.policy(part)
    files = {name: text.encode("utf-8", "surrogateescape") for name, text in kept.files.items()}
    try:
        with uncollected():
            loaded = load_with(kept.settings.settings(kept.policy), SnapshotFiles(files), {})
    except ConfigError as error:
        raise HistoryError(f"this program does not load the policy of then: {error.first}") from error
    if loaded.tables.keys() - version.tables.keys():
        raise HistoryError(f"{versions.path / part} declares other tables than {version.id} has")
    return loaded


def _open(versions: VersionDirectory, table: LiveTable, wanted: str) -> None:
    """Serve from the table that was kept."""
    part = table_part(table.name, wanted)
    with versions.unpack(part) as unpacked:
        try:
            file = verify_descriptor(os.dup(unpacked.fileno()), str(versions.path / part))
        except TableError as error:
            raise HistoryError(str(error)) from error
    if not table.take(file):
        raise HistoryError(table.refused)
    if table.version != wanted:
        raise HistoryError(f"{versions.path / part} has version {table.version}")


def recorded_answers(policy: Policy, answers: object) -> dict[str, Given]:
    """What a line has of ACLs that remember or ask, for those that the policy still has, by their names."""
    if not isinstance(answers, dict):
        return {}
    return {
        name: given_of(acl, answer)
        for name, answer in answers.items()
        if isinstance(answer, dict) and (acl := policy.model.acls.get(name)) and acl.asks
    }
