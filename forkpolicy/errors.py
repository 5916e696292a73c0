"""The three kinds of failure and what each leads to.

* Our bug: any other exception. Let it raise; a worker dies of it and the master starts another.
* The operator's error: `ConfigError` with every `Diagnostic` found, `UsageError`. Commands print it and exit;
  a reload keeps what serves.
* The world's fault: `TableError`, `StateError`, `WorldError`, `CannotWriteError`, `NotRunningError`. Warn, degrade,
  go on.

Exit codes follow sysexits(3), as the commands' documentation lists them. No user ever sees a traceback for
an error of theirs: `forkpolicy.commands` prints `str(error)` and exits with `error.exit_code`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from forkpolicy.secrets import masked, masked_at

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

EXIT_DONE = 0
EXIT_NO = 1
EXIT_USAGE = 2
EXIT_NOT_RUNNING = 69
EXIT_CANNOT_WRITE = 73
EXIT_CONFIG = 78

# A caret under column 300 of a pasted line does not help; the line is cut around the error.
SHOWN_COLUMNS = 100
# A message quotes what is wrong, and a list of another server may have a word of megabytes.
MAX_MESSAGE_CHARS = 2000
# More names than this are not compared one by one with an unknown name.
MANY_NAMES = 1000


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One mistake in one place of a file: where, what, what was expected and what to do.

    `line` and `column` count from 1; 0 means that the whole file (or line) is meant. `source` is the text of the
    line.
    """

    path: str
    line: int
    column: int
    message: str
    source: str = ""
    width: int = 1
    hint: str = ""
    severity: Literal["error", "warning"] = "error"

    @property
    def place(self) -> str:
        """`file:line:column`, as editors and CI systems parse it."""
        return ":".join([self.path, *(str(number) for number in (self.line, self.column) if number)])

    def __str__(self) -> str:
        """One line, then the source line with a caret and the hint, where there are any."""
        label = "warning: " if self.severity == "warning" else ""
        lines = [printable(masked(f"{self.place}: {label}{_cut(self.message)}"))]
        if self.source and self.column:
            lines += _with_caret(self.source, self.column, self.width)
        if self.hint:
            lines.append(printable(masked(f"    {_cut(self.hint)}")))
        return "\n".join(lines)

    def as_json(self) -> dict[str, object]:
        """The same for `--json`."""
        return {
            "path": masked(self.path),
            "line": self.line,
            "column": self.column,
            "severity": self.severity,
            "message": masked(_cut(self.message)),
            "hint": masked(_cut(self.hint)),
        }


def printable(text: str) -> str:
    """A text without what a terminal would take for orders: `?` for each such character."""
    return text if text.isprintable() else "".join(char if char.isprintable() else "?" for char in text)


def _cut(text: str) -> str:
    """The beginning, and the end from a blank on, which says what is wrong with the long word in front of it. Not from
    within a word: it may be the rest of a password.
    """
    if len(text) <= MAX_MESSAGE_CHARS:
        return text
    begin = f"{text[: MAX_MESSAGE_CHARS * 3 // 4]}... ({len(text)} characters)"
    _, blank, end = text[-MAX_MESSAGE_CHARS // 4 :].partition(" ")
    return f"{begin} ...{blank}{end}" if blank else begin


def _with_caret(source: str, column: int, width: int) -> list[str]:
    shown, before = masked_at(source.replace("\t", " "), column - 1)
    column = before + 1
    start = max(0, column - 1 - SHOWN_COLUMNS // 2) if len(shown) > SHOWN_COLUMNS else 0
    shown = printable(shown[start : start + SHOWN_COLUMNS])
    at = column - 1 - start
    return [f"    {shown}", f"    {' ' * at}{'^' * max(1, min(width, len(shown) - at))}"]


class ForkpolicyError(Exception):
    """What a command reports in words and with an exit code; never a traceback."""

    exit_code = EXIT_NO

    def __str__(self) -> str:
        """The message, without passwords."""
        return masked(super().__str__())


class UsageError(ForkpolicyError):
    """The command line is wrong."""

    exit_code = EXIT_USAGE


class NotRunningError(ForkpolicyError):
    """No master replies on the control socket."""

    exit_code = EXIT_NOT_RUNNING


class CannotWriteError(ForkpolicyError):
    """A file cannot be written: rights, a full disk, a missing directory, too little memory for what it takes."""

    exit_code = EXIT_CANNOT_WRITE


class TableError(ForkpolicyError):
    """A compiled table cannot be used: missing, damaged, another kind or version, no permission."""

    exit_code = EXIT_CONFIG


class StateError(ForkpolicyError):
    """What the policy remembers cannot be read or written: the store is missing, full, or does not answer."""

    exit_code = EXIT_NOT_RUNNING


class WorldError(ForkpolicyError):
    """What the policy asks of the world has no answer: a name server or a service failed, or took too long."""

    exit_code = EXIT_NOT_RUNNING


@dataclass
class ConfigError(ForkpolicyError):
    """Everything that is wrong with settings, policy or table sources, found in one run."""

    diagnostics: Sequence[Diagnostic] = field(default_factory=list)

    exit_code = EXIT_CONFIG

    def __str__(self) -> str:
        """All diagnostics, one below another."""
        return "\n".join(str(diagnostic) for diagnostic in self.diagnostics)

    @property
    def first(self) -> str:
        """The first mistake, on one line. What follows it is most often its consequence."""
        errors = [each for each in self.diagnostics if each.severity == "error"]
        return str((errors or self.diagnostics)[0]).partition("\n")[0]


def nearest(word: str, known: Iterable[str], likeness: float = 0.6) -> str | None:
    """The known name that `word` was probably meant to be, or None. `likeness`: 1.0 is equal, as difflib measures."""
    names = list(known)
    if len(names) > MANY_NAMES:
        # A policy of thousands of names may have errors by the hundred, and a comparison takes 10 us.
        names = [name for name in names if name[:1] == word[:1] and abs(len(name) - len(word)) <= 2][:MANY_NAMES]
    folded = word.lower()
    names = [name for name in names if _may_be_like(folded, name, likeness)]
    if not names:
        return None
    import difflib  # noqa: PLC0415 - for who has misspelt something

    found = difflib.get_close_matches(folded, names, n=1, cutoff=likeness)
    return found[0] if found else None


def _may_be_like(word: str, name: str, likeness: float) -> bool:
    """Whether they share enough characters in any order: in the right one they do not share more."""
    chars = len(word) + len(name)
    return not chars or 2.0 * (Counter(word) & Counter(name)).total() / chars >= likeness
