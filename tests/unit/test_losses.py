"""Lost log lines: counted where they are lost, and reported on standard error when that begins."""

from __future__ import annotations

import os

import pytest

from forkpolicy.master.processes.losses import QUIET_S, Losses
from forkpolicy.status import LogStatus, LostLines


@pytest.fixture
def pipe():
    read_end, write_end = os.pipe()
    yield read_end, write_end
    os.close(read_end)
    os.close(write_end)


def test_what_was_lost_is_added_up(pipe):
    """By the place, over every look, with what waits for the logger."""
    losses = Losses("/var/log/x", pipe[0], is_stderr=False)
    losses.at_pipe.add(2)
    losses.at_target.add(3)
    losses.look(0.0)
    losses.at_pipe.add(1)
    losses.at_target.add(1)
    os.write(pipe[1], b"a line\n")
    assert losses.describe() == LogStatus("/var/log/x", LostLines(pipe=3, target=4), 7)


def test_a_pipe_that_is_full_is_reported_when_it_begins(pipe, capfd):
    """Once, and again after a minute without a loss."""
    losses = Losses("/var/log/x", pipe[0], is_stderr=False)
    losses.look(0.0)
    assert capfd.readouterr().err == ""
    for now_s, told in ((1.0, 1), (2.0, 0), (2.0 + QUIET_S, 0), (2.1 + 2 * QUIET_S, 1)):
        losses.at_pipe.add(1)
        losses.look(now_s)
        assert capfd.readouterr().err.count("log lines are lost: /var/log/x does not keep up") == told, now_s


def test_standard_error_is_not_asked_to_report_itself(pipe, capfd):
    """It is what does not keep up: nothing more is written to it."""
    losses = Losses("standard error", pipe[0], is_stderr=True)
    losses.at_pipe.add(1)
    losses.look(1.0)
    assert capfd.readouterr().err == ""
    assert losses.describe().lost == LostLines(pipe=1, target=0)
