"""The child that loads: whatever happens to it, the master hears an outcome and goes on."""

from __future__ import annotations

import os
import select
import signal
from pathlib import Path

import pytest

from forkpolicy.errors import CannotWriteError, ConfigError, Diagnostic, TableError
from forkpolicy.master import loader as module
from forkpolicy.master.loader import Loader
from forkpolicy.messages import LoadedFiles, Outline
from forkpolicy.status import PolicySummary

DEADLINE_S = 30.0


def outcome_of(load):
    """What a real child says of `load`; its death is waited for, as the master's loop does."""
    loader = Loader(load)
    while not loader.ended:
        assert select.select([loader], [], [], DEADLINE_S)[0], "neither a word nor an end"
        if outcome := loader.read():
            loader.end()
            os.waitpid(loader.pid, 0)
            return outcome
    outcome = loader.exited(os.waitpid(loader.pid, 0)[1])
    loader.end()
    return outcome


def raising(error):
    def load(_reading):
        raise error

    return load


def test_what_was_loaded_arrives():
    """Plain data of any size, with paths that are no UTF-8."""
    outline = outline_of({"/etc/p\udce4.conf": b"x" * 1_000_000})
    assert outcome_of(lambda _reading: outline) == LoadedFiles(outline)


def outline_of(files):
    return Outline(files, PolicySummary("/etc/policy.conf", lines=1000), ("a",) * 1000, ("/var/a.lmdb",), ("odd",))


def test_something_else_than_an_outline_is_refused():
    """With the field, and the master goes on."""
    outcome = outcome_of(lambda _reading: Outline({"/etc/p": "no bytes"}, PolicySummary("p"), (), (), ()))
    wrong = "LoadedFiles: outline.snapshot['/etc/p']: expected bytes, found 'no bytes'"
    assert outcome.reasons == (f"the process that reads the files sent no valid message: {wrong}",)


def test_mistakes_of_the_operator_are_reasons():
    """Each diagnostic in its words, and no traceback."""
    diagnostics = [Diagnostic("policy.conf", 3, 1, "unknown statement"), Diagnostic("list", 0, 0, "is a socket")]
    outcome = outcome_of(raising(ConfigError(diagnostics)))
    assert outcome.reasons == ("policy.conf:3:1: unknown statement", "list: is a socket")
    assert outcome.bug == ""


class OwnBaseError(BaseException):
    """Nobody's."""


ERRORS = [
    OSError(5, "Input/output error"),
    FileNotFoundError(2, "No such file or directory"),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    UnicodeEncodeError("utf-8", "\udc80", 0, 1, "surrogates not allowed"),
    RecursionError("maximum recursion depth exceeded"),
    ValueError("embedded null byte"),
    OverflowError("too large"),
    SyntaxError("too many statically nested blocks"),
    SystemError("a C library"),
    KeyError("missing"),
    AssertionError(),
    StopIteration(),
    TableError("no table"),
    CannotWriteError("no disk"),
    SystemExit(3),
    KeyboardInterrupt(),
    GeneratorExit(),
    OwnBaseError("\udce4 is no UTF-8"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_any_exception_is_a_reason_and_a_bug(error):
    """The kind and its words for the operator, the traceback for the log."""
    outcome = outcome_of(raising(error))
    assert f"{type(error).__name__}: {error}" in outcome.reasons[0]
    assert "fault of forkpolicy's own" in outcome.reasons[0]
    assert "in load" in outcome.bug


def test_memory_that_is_short_is_no_bug():
    """It is the machine's."""
    outcome = outcome_of(raising(MemoryError()))
    assert outcome.reasons == ("there is not enough memory to load it",)
    assert outcome.bug == ""


@pytest.mark.parametrize(
    ("end", "how"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "signal SIGKILL"),
        (lambda: os.kill(os.getpid(), signal.SIGXCPU), "signal SIGXCPU"),
        (lambda: os._exit(7), "exit 7"),
    ],
    ids=["killed", "limit", "exit"],
)
def test_a_child_that_dies_without_a_word(end, how):
    """As of a library that crashes, or of the kernel's want of memory."""
    assert outcome_of(lambda _reading: end()).reasons == (f"the process that reads the files died: {how}",)


def test_files_that_are_too_large_together(monkeypatch):
    """More than a message to a worker may have is refused with its size, before anybody has to hold it."""
    monkeypatch.setattr(module, "MAX_FILES_BYTES", 1 << 20)
    outcome = outcome_of(lambda _reading: outline_of({"list": bytes(3 << 20)}))
    assert outcome.reasons == ("the files have 3 MiB together: 1 at most",)


@pytest.fixture
def stuck():
    """A child that hangs while it reads, and one that hangs behind it."""
    made = []

    def make(*paths):
        def load(reading):
            for path in paths:
                reading(path)
            signal.pause()

        loader = Loader(load)
        made.append(loader)
        while loader._since_s == loader._begun_s or loader._path != paths[-1]:
            assert select.select([loader], [], [], DEADLINE_S)[0]
            assert loader.read() is None
        return loader

    yield make
    for loader in made:
        loader.end()
        assert os.WTERMSIG(os.waitpid(loader.pid, 0)[1]) == signal.SIGKILL


def test_a_file_that_does_not_come_is_named(stuck):
    """Ten seconds for one file."""
    loader = stuck("/mnt/gone/list")
    now_s = loader._begun_s
    assert loader.late(now_s + module.READ_TIMEOUT_S - 1) is None
    told = loader.late(now_s + module.READ_TIMEOUT_S + 5)
    assert "/mnt/gone/list: could not be read within 10 s" in told.reasons[0]


def test_a_load_that_does_not_end_is_given_up(stuck):
    """No file is to blame for what takes long behind it."""
    loader = stuck("/etc/list", "")
    now_s = loader._begun_s
    assert loader.late(now_s + module.LOAD_TIMEOUT_S - 1) is None
    assert loader.late(now_s + module.LOAD_TIMEOUT_S + 5).reasons == (
        "settings and policy could not be loaded within 60 s",
    )


def test_no_process_to_be_had_leaves_no_descriptor(monkeypatch):
    """It is an OSError, and both ends of the pipe are closed."""

    def no_fork():
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", no_fork)
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(OSError, match="temporarily"):
        Loader(raising(ValueError()))
    assert len(list(Path("/proc/self/fd").iterdir())) == before
