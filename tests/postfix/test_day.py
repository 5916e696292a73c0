"""A day of mail in small, through a real Postfix: every kind of mail, every verdict compared with the oracle's."""

from __future__ import annotations

import pathlib
import re
import socket
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent.parent


def day(*words):
    """`python -m loadtest day`, through Postfix."""
    return subprocess.run(
        [sys.executable, "-m", "loadtest", "day", *map(str, words)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.timeout(180)
def test_a_day_through_postfix(tmp_path):
    """Forged and legitimate, with real AUTH, several recipients and odd addresses: all as the oracle says."""
    done = day("--transactions", 600, "--report", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^wrong, lost, missing +0, 0, 0$", done.stdout, re.MULTILINE)
    for kind in ("forged", "road_warrior", "failed_auth", "several", "odd", "bounce"):
        assert f"\n{kind} " in done.stdout


@pytest.mark.timeout(180)
def test_a_day_through_postfix_that_is_remembered(tmp_path):
    """Strangers that come again or not, logins over their limit and in other hands: the rules allow each reply."""
    done = day("--profile", "remembering", "--transactions", 1200, "--report", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^wrong, lost, missing +0, 0, 0$", done.stdout, re.MULTILINE)
    for kind in ("newcomer", "busy_login", "hijacked", "prober"):
        assert f"\n{kind} " in done.stdout


def test_a_taken_port_is_said(tmp_path):
    """Postfix's port is in use by somebody else: one line, exit code 2."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = day("--port", port, "--report", tmp_path)
    assert done.returncode == 2, done
    assert f"port {port} is taken" in done.stderr
    assert "Traceback" not in done.stderr
