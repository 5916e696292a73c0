"""Standard input, output and error that are closed or full: words and an exit status, never a traceback."""

from __future__ import annotations

import os
import subprocess

import pytest

from loadtest.servers.server import COMPILE, FORKPOLICY

COMMANDS = {
    "status": ["status"],
    "status --json": ["status", "--json"],
    "top": ["top", "-n", "1"],
    "check": ["check"],
    "explain": ["explain", "sender=a@example.org"],
    "lookup": ["lookup", "domains", "example.com"],
}
FULL = "standard output cannot be written: No space left on device\n"
CLOSED = "standard output cannot be written: it is closed\n"


@pytest.fixture
def run(server):
    """A function: a command with a redirection of the shell, its output in a buffer or not; what came of it."""

    def run_it(words, redirection, unbuffered="", settings=True, **environment):
        more = ["-c", str(server.settings)] if settings else []
        return subprocess.run(
            ["sh", "-c", f'exec "$@" {redirection}', "sh", *FORKPOLICY, *words, *more],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered, **environment},
        )

    return run_it


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("command", list(COMMANDS))
def test_results_that_cannot_be_written(run, command, unbuffered):
    """Since the commands exist these ended in a traceback and status 1."""
    for redirection, said in ((">/dev/full", FULL), (">&-", CLOSED)):
        done = run(COMMANDS[command], redirection, unbuffered)
        assert (done.returncode, done.stderr.splitlines(keepends=True)[-1]) == (73, said)
        assert "Traceback" not in done.stderr
        assert "Exception" not in done.stderr


@pytest.mark.parametrize("word", ["--help", "--version"])
def test_help_that_cannot_be_written(run, word):
    """The same of what argparse prints and ends after."""
    done = run([word], ">/dev/full", settings=False)
    assert (done.returncode, done.stderr) == (73, FULL)


@pytest.mark.parametrize("command", list(COMMANDS))
def test_other_streams_that_are_closed(run, command):
    """Standard input that nobody reads and messages that nobody gets change nothing."""
    expected = run(COMMANDS[command], "")
    for redirection in ("<&-", "2>&-", "<&- 2>&-"):
        done = run(COMMANDS[command], redirection)
        assert (done.returncode, done.stdout.count("\n")) == (expected.returncode, expected.stdout.count("\n"))


def test_standard_input_that_is_closed_is_no_table(run):
    """Since 0.1.0 `explain` read descriptor 0, which by then was a table that it had opened itself."""
    done = run(["explain"], "<&-")
    assert done.returncode == 2
    assert done.stderr == "standard input cannot be read: it is closed\n"


NAMES = [["check", "--json"], ["explain", "sender=b\u00fcro@example.org"], ["lookup", "domains", "b\u00fcro.example"]]


@pytest.mark.parametrize("words", NAMES)
def test_names_that_the_locale_has_no_letters_for(run, words):
    """Since the commands exist a name such as this one ended in a traceback where the locale was ASCII."""
    as_usual = run(words, "")
    done = run(words, "", PYTHONIOENCODING="ascii")
    assert done.returncode == as_usual.returncode
    assert "Traceback" not in done.stderr
    assert (done.stdout + done.stderr).isascii()


def test_a_path_that_the_locale_has_no_letters_for(run, tmp_path):
    """It is shown with escapes in the messages of check and of the compiler."""
    path = tmp_path / "r\u00e8gles.toml"
    for command in (FORKPOLICY, COMPILE):
        words = [*command, *(["check"] if command is FORKPOLICY else []), "-c", str(path)]
        env = {**os.environ, "PYTHONIOENCODING": "ascii"}
        done = subprocess.run(words, capture_output=True, text=True, check=False, env=env)
        assert done.returncode == (1 if command is FORKPOLICY else 78)
        assert "Traceback" not in done.stderr
        assert "r\\xe8gles.toml" in done.stderr + done.stdout
