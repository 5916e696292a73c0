"""A draft is tried before anybody uses it: written into a temporary directory, compiled, checked, and asked.

The commands that the operator will run are run, each as a process, with a copy of main.cf and master.cf to which the
changes for Postfix were applied. Paths in what they say are those of the draft's own place. Raises UnusableError where
a table cannot be compiled or Postfix would not read its configuration, and CannotWriteError.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from forkpolicy.commands.init.policy_text import TABLES
from forkpolicy.errors import EXIT_CONFIG, CannotWriteError, Diagnostic, ForkpolicyError
from forkpolicy.postfix.postconf import PostconfError, change
from forkpolicy.replaced_files import MODE
from forkpolicy.tables.format import SUFFIX

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import FrameType

    from forkpolicy.commands.init.place import Place
    from forkpolicy.commands.init.site import Site

_COMPILE: Final = "import sys; from forkpolicy.compile.command import main; sys.exit(main())"
_TIMEOUT_S: Final = 600


class UnusableError(ForkpolicyError):
    """The draft does not work here; the message has the words of the command that refused it."""

    exit_code = EXIT_CONFIG


@dataclass(frozen=True, slots=True)
class Answer:
    """What the draft replies to a mail: the reply, and the rule as FILE:LINE: TEXT."""

    reply: str
    rule: str


@contextmanager
def tried(site: Site, place: Place, files: Mapping[str, str]) -> Iterator[Trial]:
    """A draft in a temporary directory, which is removed afterwards. Raises CannotWriteError."""
    with _writing():
        directory = tempfile.TemporaryDirectory(prefix="forkpolicy-init-")
    with _ended_by_exception(), directory as name:
        # As root, `check` looks with the eyes of the server's user: at the draft, which that user will read.
        Path(name).chmod(0o711)
        yield Trial(Path(name), site, place, files)


@contextmanager
def _ended_by_exception() -> Iterator[None]:
    """Have a signal that ends us clean up first."""

    def end(signum: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + signum)

    before = {each: signal.signal(each, end) for each in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


@contextmanager
def _writing() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where, why = error.filename or "a temporary directory", (error.strerror or str(error)).lower()
        raise CannotWriteError(f"the draft cannot be tried: {where}: {why}") from error


class Trial:
    """One draft below `base`."""

    def __init__(self, base: Path, site: Site, place: Place, files: Mapping[str, str]) -> None:
        self._base, self._site, self._place = base, site, place
        self._settings = base / "draft" / place.settings.name
        self.postfix = base / "postfix"
        # Whether the tables in use lose more than forkpolicy-compile accepts by itself.
        self.shrinks = False
        for name, text in files.items():
            self._write(base / "draft" / name, text, _mode_of(place.directory / name))
        # As in the file that is written, but for this line: every message has the right line number.
        text = files[place.settings.name]
        self._write(self._settings, text.replace(place.compiled, str(base / "compiled"), 1), MODE)

    def _write(self, path: Path, text: str, mode: int) -> None:
        with _writing():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode)
            path.write_text(text, encoding="utf-8", errors="surrogateescape")

    def change_postfix(self) -> None:
        """Apply the changes for Postfix to a copy. Raises UnusableError."""
        with _writing():
            # They may be for root alone; postconf(1) writes its own for everybody, so the directory keeps others out.
            self.postfix.mkdir(0o700)
            for name in ("main.cf", "master.cf"):
                (self.postfix / name).touch(0o600)
                shutil.copyfile(self._site.directory / name, self.postfix / name)
        try:
            for each in self._site.changes:
                change(str(self.postfix), each.option, each.assignment)
        except PostconfError as error:
            raise UnusableError(f"Postfix does not accept the change: {self._named(str(error))}") from error

    def compile(self) -> None:
        """Compile every table, as if in place of those in use. Raises UnusableError."""
        command = ("-c", _COMPILE, "-c", str(self._settings))
        self._copy_tables_in_use()
        done = self._run(*command)
        if done.returncode:
            done = self._run(*command, "--allow-shrink")
            self.shrinks = not done.returncode
        if done.returncode:
            raise UnusableError(f"the tables cannot be compiled:\n{self._named(done.stderr.strip())}")

    def _copy_tables_in_use(self) -> None:
        compiled = self._base / "compiled"
        with _writing():
            compiled.mkdir()
        for name in TABLES:
            # Who may not read it cannot compile it either, and a damaged one is no obstacle.
            with suppress(OSError):
                shutil.copyfile(Path(self._place.compiled, name + SUFFIX), compiled / (name + SUFFIX))

    def check(self) -> list[Diagnostic]:
        """What `check --postfix` finds about the draft and the changed Postfix. Raises UnusableError."""
        where = ("-c", str(self._settings), "--postfix", str(self.postfix))
        done = self._run("-m", "forkpolicy", "check", *where, "--json")
        try:
            found = json.loads(done.stdout)["diagnostics"]
        except ValueError as error:
            raise UnusableError(f"the draft cannot be checked: {self._named(done.stderr.strip())}") from error
        return [
            Diagnostic(
                self._named(each["path"]),
                each["line"],
                each["column"],
                self._named(each["message"]),
                hint=self._named(each["hint"]),
                severity=each["severity"],
            )
            for each in found
        ]

    def ask(self, requests: Sequence[Mapping[str, str]]) -> list[Answer]:
        """What `explain` says about each request. Raises UnusableError."""
        path = self._base / "requests"
        self._write(path, "".join(_as_text(request) for request in requests), 0o600)
        done = self._run("-m", "forkpolicy", "explain", "-c", str(self._settings), "--json", str(path))
        if done.returncode:
            raise UnusableError(f"the draft cannot be asked: {self._named(done.stderr.strip())}")
        return [self._answer(line) for line in done.stdout.splitlines()]

    def _answer(self, line: str) -> Answer:
        explained = json.loads(line)
        rule = explained["decided_by"]
        place = f"{rule['path']}:{rule['line']}: {rule['text']}" if rule["path"] else "no rule applies"
        return Answer(explained["action"], self._named(place))

    def _named(self, text: str) -> str:
        """A text with the paths that the operator knows."""
        for ours, theirs in (
            (self._base / "draft", self._place.directory),
            (self._base / "compiled", Path(self._place.compiled)),
            (self.postfix, self._site.directory),
        ):
            text = text.replace(str(ours), str(theirs))
        return text

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(  # noqa: S603 - this very Python, and arguments of our own
                [sys.executable, *arguments],
                env={**os.environ, "MAIL_CONFIG": str(self._site.directory)},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise UnusableError(f"the draft cannot be tried: {error}") from error


def _mode_of(path: Path) -> int:
    """That of a file which the draft replaces, or of a new one."""
    try:
        return path.stat().st_mode & 0o777
    except OSError:
        return MODE


def _as_text(request: Mapping[str, str]) -> str:
    """A request as Postfix sends it."""
    common = {"request": "smtpd_access_policy", "protocol_state": "RCPT", "protocol_name": "ESMTP", "instance": "1.2.0"}
    return "".join(f"{name}={value}\n" for name, value in {**common, **request}.items()) + "\n"
