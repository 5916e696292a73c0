"""`python -m loadtest chaos` in small: everything that an operator does, at the same time, and some injected faults."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent.parent
pytestmark = pytest.mark.timeout(120)


def chaos(*words):
    """What it reports; its exit status says the same."""
    command = [sys.executable, "-m", "loadtest", "chaos", *map(str, words)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdout=pipe, stderr=pipe, text=True, start_new_session=True) as process:
        try:
            stdout, stderr = process.communicate(timeout=100)
        finally:
            # Masters that have replaced each other are nobody's children.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert stdout, stderr
    report = json.loads(stdout)
    assert report["broken"] == [], "\n".join(report["broken"])
    assert process.returncode == 0
    assert report["sent"] == report["answered"] > 1000
    assert report["outdated_replies"] == report["lost"] == report["smtpds"]["given_up"] == 0
    return report


def test_no_operator_costs_a_client_anything():
    """Reloads, HUPs, scaling up and down, retiring, recycling and upgrades at once, under full load: no connection is
    closed, nobody has to ask twice, nobody is answered by an older policy than the last finished reload.
    """
    report = chaos("--seconds", 8, "--connections", 60)
    for name in ("reload", "hup", "scale up", "scale down", "retire", "upgrade"):
        assert report["actions"][name], report["actions"]
    assert report["recycled"]
    cost = [report[name] for name in ("asked_again", "waited_s", "closed_in_use", "closed_idle", "refused_connects")]
    assert cost == [0, 0, 0, 0, 0]
    assert report["smtpds"]["asked_again"] == report["smtpds"]["waited_s"] == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take descriptors away from workers of another user")
def test_a_killed_worker_costs_what_it_held_and_nobody_is_lost():
    """Beside all that, workers are killed, nobody has a descriptor left for a while, and the wall clock is set."""
    report = chaos("--seconds", 9, "--connections", 60, "--rough", "--only", "kill,step_clock,exhaust")
    for name in ("kill", "step_clock", "exhaust"):
        assert report["actions"][name], report["actions"]
    assert 0 < report["closed_in_use"] + report["closed_idle"] <= report["sockets_of_killed_workers"]
    assert report["waited_s"] == report["asked_again"]
