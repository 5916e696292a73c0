"""Keeps what decisions are made with: copies the policy and the tables that the log's `in force` lines name.

A line names its versions by digests. What is on disk is kept only if it has these digests, taken of the very bytes that
are kept; what has changed since is noted as missing. The files are read with the rights of the ingester. Nothing here
keeps a decision from being taken in: what goes wrong is reported once, and tried again each minute while that version
is in force.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from forkpolicy.decision_ids import ALPHABET, IN_FORCE_CHARS, in_force_id
from forkpolicy.errors import ForkpolicyError
from forkpolicy.history.errors import HistoryError
from forkpolicy.history.files_now import FilesNow
from forkpolicy.history.versions import Version, VersionDirectory, policy_part, table_part

if TYPE_CHECKING:
    from collections.abc import Callable

    from forkpolicy.history.lines import Versions
    from forkpolicy.history_settings import HistorySettings

RETRY_S: Final = 60.0
TIDY_EVERY_S: Final = 600.0
# What becomes the name of a file.
_ID: Final = re.compile(rf"[{ALPHABET}]{{{IN_FORCE_CHARS}}}")
_DIGEST: Final = re.compile(r"[0-9a-f]{12}")
_LISTED: Final = re.compile(r"([A-Za-z0-9_.-]+)@([0-9a-f]{12}|none)")
OLDER_SERVER: Final = "the server that logged it is older and does not say which settings were in force"


class Keeper:
    """The versions of one log: `note` each line about them, then `keep`, before the lines count as taken in."""

    def __init__(
        self, settings_path: str, settings: HistorySettings, say: Callable[[str], None], clock: Callable[[], float]
    ) -> None:
        self._settings_path, self._keep_days = settings_path, settings.keep_days
        self._most_bytes = settings.most_version_bytes
        self._directory = VersionDirectory(settings.path)
        self._say, self._clock = say, clock
        self._said: set[str] = set()
        self._known: dict[str, Version] = {}
        self._has_begun = False
        self._noted: dict[str, Versions] = {}
        self._retry_at_s = self._tidy_at_s = 0.0

    def note(self, line: Versions) -> None:
        """A version is in force since then."""
        if not (_ID.fullmatch(line.id) and _DIGEST.fullmatch(line.policy)):
            return
        if line.id not in self._noted:
            self._retry_at_s = 0.0
        self._noted[line.id] = line

    def keep(self) -> None:
        """Keep what was noted, and remove what is too old or more than there is room for. Raises nothing but bugs."""
        now_s = self._clock()
        try:
            if self._noted and now_s >= self._retry_at_s:
                self._retry_at_s = now_s + RETRY_S
                self._begin()
                self._keep_noted()
                self._tidy_at_s = 0.0
            if self._has_begun and now_s >= self._tidy_at_s:
                self._tidy_at_s = now_s + TIDY_EVERY_S
                self._tidy()
        except OSError as error:
            self._once(f"versions of policy and tables are not kept, tried again each minute: {error}")

    def _keep_noted(self) -> None:
        now = FilesNow(self._settings_path)
        lines = sorted(self._noted.values(), key=lambda line: line.at_ms)
        versions = [self._kept(line, now) for line in lines]
        for version in versions:
            if not version.missing or version.since_ms < self._newest_ms():
                self._noted.pop(version.id)
            # What is in force may still come. What was before has only changed since, and `show` says so.
            for reason in version.missing if version.id in self._noted else ():
                self._once(f"what is in force is not kept for history show, tried again each minute: {reason}")

    def _tidy(self) -> None:
        today = datetime.fromtimestamp(self._clock(), UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        oldest_ms = int((today - timedelta(days=self._keep_days)).timestamp() * 1000)
        for removed in self._directory.tidy(oldest_ms, self._most_bytes):
            self._known.pop(removed, None)

    def _begin(self) -> None:
        if not self._has_begun:
            self._directory.begin()
            self._known = {each.id: each for each in self._directory.every()}
            self._has_begun = True

    def _newest_ms(self) -> int:
        return max((each.since_ms for each in self._known.values()), default=0)

    def _kept(self, line: Versions, now: FilesNow) -> Version:
        """The version of a line. Raises OSError for what cannot be written."""
        known = self._known.get(line.id)
        if known and not known.missing:
            if line.at_ms <= known.since_ms or known.since_ms == self._newest_ms():
                # Each worker logs what it decides with, and each file of the log begins with it.
                return known
            version = replace(known, since_ms=line.at_ms)
        elif known and line.at_ms < self._newest_ms():
            return known
        else:
            version = self._copied(line, now)
            if version.missing and not known and line.at_ms < self._newest_ms():
                # Most likely it was kept, and has gone for want of room: nothing else must be said of it.
                return version
        if version != known:
            self._directory.write_version(version)
            self._known[line.id] = version
        return version

    def _copied(self, line: Versions, now: FilesNow) -> Version:
        version = Version(line.id, line.at_ms, line.policy, line.settings, {}, ())
        if not line.settings:
            return replace(version, missing=(OLDER_SERVER,))
        part = policy_part(line.policy, line.settings)
        try:
            kinds = self._tables_of(part)
            if kinds is None:
                now.copy_policy(line.policy, line.settings, lambda chunks: self._directory.write(part, chunks))
                kinds = self._tables_of(part) or {}
        except ForkpolicyError as error:
            return replace(version, missing=(str(error),))
        return self._with_tables(version, line, kinds, now)

    def _with_tables(self, version: Version, line: Versions, kinds: dict[str, str], now: FilesNow) -> Version:
        # Where not all had room in the line, the id shows whether those on disk are meant.
        listed = {} if line.is_cut else dict(_LISTED.findall(line.tables))
        tables, missing = {}, []
        for name, kind in kinds.items():
            try:
                tables[name] = self._table(name, kind, listed.get(name, ""), now)
            except ForkpolicyError as error:
                missing.append(str(error))
        if not missing and in_force_id(line.policy, line.settings, tables.items()) != line.id:
            missing.append("the tables are others: they were compiled again before they were kept")
        return replace(version, tables=tables, missing=tuple(missing))

    def _table(self, name: str, kind: str, wanted: str, now: FilesNow) -> str:
        """Keep a table; its version, empty where none served. Raises TableError and ConfigError."""
        if wanted == "none":
            return ""
        if wanted and self._directory.has(table_part(name, wanted)):
            return wanted
        with now.table(name, kind) as table:
            if wanted and table.version != wanted:
                raise HistoryError(f"table {name} was compiled again before it was kept")
            part = table_part(name, table.version)
            if not self._directory.has(part):
                self._directory.write(part, table.chunks())
            return table.version

    def _tables_of(self, part: str) -> dict[str, str] | None:
        """The kinds of the tables of a policy that is kept."""
        with suppress(HistoryError):
            if self._directory.has(part):
                return self._directory.policy(part).tables
        return None

    def _once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._say(text)
