"""A draft of the console's rule file, checked where it will stand: the whole policy is loaded with it.

The rule file is the one that the policy includes with `restricted`; a policy without one has nothing that the console
could change. What loads is bounded: a draft is as large as the loader reads one, and one is checked at a time.
"""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from forkpolicy.errors import ConfigError, Diagnostic, ForkpolicyError
from forkpolicy.explaining.checking import policy_warnings
from forkpolicy.files import GLOB_PREFIX, Files
from forkpolicy.loading import load_with, uncollected
from forkpolicy.policy.parser import parse_policy
from forkpolicy.regular_files import MAX_BYTES_OF_OTHERS
from forkpolicy.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from forkpolicy.loading import Loaded

    Stamp = tuple[int, int, int]

Value = TypeVar("Value")
_PATIENCE_S: Final = 10.0
# Of the clock of a file system: 10 ms at most on Linux.
_TICK_NS: Final = 100_000_000


class BusyError(ForkpolicyError):
    """Others are checking drafts all the time."""


class NoRuleFileError(ForkpolicyError):
    """The policy includes no file that the console may write."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What is wrong with a draft. `mistakes`: in its own lines; `elsewhere`: errors of other files, which keep it from
    being applied, too; `warnings`: those that come with it; `loaded`: the policy with a right rule file, unopened.
    """

    mistakes: tuple[Diagnostic, ...]
    elsewhere: tuple[Diagnostic, ...]
    warnings: tuple[Diagnostic, ...]
    loaded: Loaded | None

    @property
    def is_right(self) -> bool:
        """Whether it can be applied."""
        return not self.mistakes and not self.elsewhere


@dataclass(frozen=True, slots=True)
class _Base:
    """The rule file, and the warnings of the policy without a rule in it: what comes in addition comes with a draft."""

    path: Path
    warnings: frozenset[Diagnostic]


class _Kept(Generic[Value]):
    """What was made of files, for as long as each of them is the one that was read."""

    def __init__(self) -> None:
        self._value: Value | None = None
        self._stamps: Mapping[str, Stamp] = {}

    def get(self) -> Value | None:
        """None where a file is another one."""
        return self._value if self._value is not None and self._stamps == _stamps(self._stamps) else None

    def put(self, value: Value, names: Iterable[str]) -> None:
        """Keep it. A file that was written a moment ago may be written again within the same tick of its clock."""
        self._stamps = _stamps(names)
        is_old = all(changed_ns < time.time_ns() - _TICK_NS for _, _, changed_ns in self._stamps.values())
        self._value = value if is_old else None


def _stamps(names: Iterable[str]) -> dict[str, Stamp]:
    """Of each file which one it is, how large, and when it was written; a pattern is known by its directory."""
    found = {}
    for name in names:
        path = Path(name.removeprefix(GLOB_PREFIX)).parent if name.startswith(GLOB_PREFIX) else Path(name)
        try:
            status = path.stat()
        except OSError:
            found[name] = (0, 0, 0)
        else:
            found[name] = (status.st_ino, status.st_size, status.st_mtime_ns)
    return found


class Drafts:
    """Drafts of the rule file of these settings. What is in the files is kept loaded until a file is another one."""

    def __init__(self, settings_path: str) -> None:
        self._settings_path = settings_path
        self._one = threading.Lock()
        self._base: _Kept[_Base] = _Kept()
        self._now: _Kept[Loaded] = _Kept()

    def path(self) -> Path:
        """The rule file. Raises NoRuleFileError with the line that an administrator has to add; ConfigError."""
        with self._alone():
            return self._known_base().path

    def now(self) -> Loaded:
        """What is in the files, unopened; many have it. Raises ConfigError."""
        with self._alone():
            now = self._now.get()
            if now is None:
                now = self._load(Files())
                self._now.put(now, now.snapshot)
            return now

    def check(self, path: Path, text: str) -> Checked:
        """A draft of that file. Raises BusyError."""
        size = len(text.encode("utf-8", "surrogatepass"))
        if size > MAX_BYTES_OF_OTHERS:
            return _refused(path, f"has {size:,} bytes: at most {MAX_BYTES_OF_OTHERS:,} are read")
        if any("\ud800" <= character <= "\udfff" for character in text):
            return _refused(path, "has characters that UTF-8 cannot write")
        with self._alone():
            before = self._warnings()
            files = Files()
            files.snapshot[str(path)] = text.encode("utf-8")
            try:
                loaded = self._load(files)
            except ConfigError as error:
                own = [each for each in error.diagnostics if each.path == str(path)]
                others = [each for each in error.diagnostics if each.path != str(path)]
                warnings = [each for each in own if each.severity == "warning"]
                mistakes = [each for each in own if each.severity == "error"]
                return Checked(tuple(mistakes), tuple(others), tuple(warnings), None)
        warnings = [each for each in policy_warnings(loaded) if each.path == str(path) or each not in before]
        return Checked((), (), tuple(warnings), loaded)

    def _warnings(self) -> frozenset[Diagnostic]:
        """Those of the policy without a rule of the console; none where the settings or the include are wrong."""
        try:
            return self._known_base().warnings
        except ForkpolicyError:
            return frozenset()

    def _known_base(self) -> _Base:
        base = self._base.get()
        if base:
            return base
        files = Files()
        settings = load_settings(self._settings_path, files)
        path = rule_file(settings.policy, files, settings.console.rules)
        files.snapshot[str(path)] = b""
        try:
            loaded = self._load(files)
        except ConfigError:
            # Which file would mend it is not known: the next one to ask looks again.
            return _Base(path, frozenset())
        base = _Base(path, frozenset(policy_warnings(loaded)))
        self._base.put(base, [name for name in files.snapshot if name != str(path)])
        return base

    def _load(self, files: Files) -> Loaded:
        with uncollected():
            return load_with(load_settings(self._settings_path, files), files, {})

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        if not self._one.acquire(timeout=_PATIENCE_S):
            raise BusyError("others are checking drafts: try again in a moment")
        try:
            yield
        finally:
            self._one.release()


def rule_file(policy: str, files: Files, usual: Path) -> Path:
    """The file that a policy includes with `restricted`. `usual`: the one of the console where there are several, and
    what to name in the line that is missing. Raises NoRuleFileError.
    """
    found = parse_policy(policy, files).restricted
    if str(usual) in found or len(found) == 1:
        return usual if str(usual) in found else Path(*found)
    why = "several files" if found else "no file"
    raise NoRuleFileError(
        f"{policy} includes {why} for the console: put `include {usual} restricted` where its rules shall stand, and "
        "reload the server"
    )


def _refused(path: Path, why: str) -> Checked:
    return Checked((Diagnostic(str(path), 0, 0, why),), (), (), None)
