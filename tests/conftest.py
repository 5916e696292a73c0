"""What holds for every test: the turn of a connection runs both in C, built from today's source, and in Python.
Postfix's tests run where Postfix can, and say clearly where they did not.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import sys
from pathlib import Path

import hypothesis
import pytest

from loadtest.native import extension
from loadtest.servers.postfix import missing

WHY_NO_POSTFIX = missing()
TURN_SOURCE = Path(__file__).parent.parent / "forkpolicy" / "worker" / "_turn.c"


def pytest_configure():
    """Before anything imports it. FORKPOLICY_TURN_FILE: another build of it, which tests/sanitize.py makes."""
    if path := os.environ.get("FORKPOLICY_TURN_FILE"):
        name = "forkpolicy.worker._turn"
        spec = importlib.util.spec_from_file_location(name, path)
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    else:
        extension(TURN_SOURCE)
    # An example that took longer than 200 ms says that the machine is busy, and nothing about the code.
    hypothesis.settings.register_profile("forkpolicy", deadline=None)
    hypothesis.settings.load_profile("forkpolicy")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol():
    """A command that a test runs within this process may end with signals blocked, as `serve` does where it does not
    start. Programs that later tests start would have them blocked, too: a Postfix without SIGCHLD logs nothing.
    """
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        return (yield)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@pytest.fixture(params=["python", "c"])
def implementation(request):
    """Both implementations of a connection's turn."""
    module = importlib.import_module("forkpolicy.worker.implementation")
    found = {"python": module.PYTHON, "c": module.C}[request.param]
    if found is None:
        pytest.skip("no C compiler, or no headers of Python: apt-get install gcc python3-dev")
    return found


def pytest_collection_modifyitems(items):
    for item in items:
        if "/tests/postfix/" in str(item.path):
            item.add_marker(pytest.mark.postfix)
            if WHY_NO_POSTFIX:
                item.add_marker(pytest.mark.skip(reason=WHY_NO_POSTFIX))


def pytest_terminal_summary(terminalreporter):
    skipped = [each for each in terminalreporter.stats.get("skipped", []) if "postfix" in each.keywords]
    if skipped and WHY_NO_POSTFIX:
        terminalreporter.write_sep("=", "POSTFIX TESTS WERE NOT RUN", yellow=True, bold=True)
        terminalreporter.write_line(f"{len(skipped)} tests through a real Postfix were left out: {WHY_NO_POSTFIX}.")
