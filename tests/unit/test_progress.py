"""What a terminal sees of work that takes long."""

from __future__ import annotations

import io

import pytest

from forkpolicy import progress


class Terminal(io.StringIO):
    """A stream that is one."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _drawn_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "DRAWN_EVERY_S", 0.0)


def test_a_terminal_sees_progress_and_a_pipe_does_not() -> None:
    """A bar with the share, the requests and the rate, wiped at the end; a file gets not one byte."""
    terminal, pipe = Terminal(), io.StringIO()
    for stream in (terminal, pipe, None):
        with progress.Progress(stream) as bar:
            bar.begin(1000, "requests")
            bar.at(500, 20)
    assert pipe.getvalue() == ""
    assert f"[{'#' * 15}{' ' * 15}]  50%  20 requests" in terminal.getvalue()
    assert terminal.getvalue().endswith("\r\x1b[K")


def test_each_step_has_its_own_bar_and_one_without_an_end_has_none() -> None:
    """What comes through a pipe is counted; a file that grew while it was read is not more than whole."""
    terminal = Terminal()
    bar = progress.Progress(terminal, "ours: ")
    bar.at(7, 3)
    bar.begin(1000, "entries written")
    bar.at(2000, 5)
    shown = terminal.getvalue().split("\r")[1:]
    assert shown[0].startswith("ours: 3 ,")
    assert shown[1].startswith(f"ours: [{'#' * 30}] 100%  5 entries written")


def test_what_was_never_drawn_is_not_wiped() -> None:
    """A line that the terminal has already is none of ours."""
    terminal = Terminal()
    progress.Progress(terminal).end()
    assert terminal.getvalue() == ""
