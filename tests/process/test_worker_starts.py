"""Workers that die before they have served: throttled, logged, and the end of a start that never succeeds."""

from __future__ import annotations

import contextlib
import os
import signal
import sys

import pytest

from loadtest.clients.policy_client import PolicyClient
from loadtest.errors import SetupError
from loadtest.measure.processes import descendants
from tests.process.conftest import FORGED, POLICY, REJECT
from tests.process.waiting import eventually

# The real program, whose workers meet a bug of the kind named by a file as long as that file is there.
SABOTAGED = """
import os, pathlib, signal, sys
from forkpolicy.master import two_phase_commit
from forkpolicy.messages import Ready
from forkpolicy.worker.run import WorkerProcess
two_phase_commit.STARTING_S = 1.0
trouble, run = pathlib.Path(sys.argv.pop(1)), WorkerProcess.run

def sabotaged(self):
    kind = trouble.read_text() if trouble.exists() else ""
    if kind == "bug":
        raise RuntimeError("a bug at its start")
    if kind == "stuck":
        os.write(2, b"stuck for ever")
        signal.pause()
    if kind == "first job":
        self.master_link.report(Ready(self._state()))
        os._exit(3)
    run(self)

def beat(self, real=WorkerProcess._beat):
    while trouble.exists() and trouble.read_text() == "hang":
        pass
    if trouble.exists() and trouble.read_text() == "beat":
        raise RuntimeError("a bug in a beat")
    real(self)

WorkerProcess.run, WorkerProcess._beat = sabotaged, beat
from forkpolicy.commands import main
sys.exit(main())
"""


@pytest.fixture
def sabotage(folder, monkeypatch):
    """Where to write what goes wrong."""
    trouble = folder / "trouble"
    monkeypatch.setattr("loadtest.servers.server.FORKPOLICY", (sys.executable, "-c", SABOTAGED, str(trouble)))
    return trouble


def test_a_start_whose_workers_all_die_is_given_up(make_server, sabotage):
    """Status 1 after some tries, with delays that grow, and the bug's traceback in the log."""
    server = make_server(workers=2)
    sabotage.write_text("bug")
    with pytest.raises(SetupError):
        server.start()
    said = server.said()
    assert "a bug at its start" in said
    assert "Traceback" in said
    assert [f"next_try_s={delay}" in said for delay in ("0.5", "1", "2", "4")] == [True] * 4
    assert said.count("worker died") <= 7
    assert "event=stopped" in said
    assert not server.socket_path.exists()


@pytest.mark.parametrize("kind", ["bug", "first job"])
def test_failed_starts_are_throttled_and_the_others_serve_on(make_server, sabotage, kind):
    """A sibling that lives answers; starts come later and later, and when the fault is over all is as it was."""
    server = make_server(workers=2)
    server.start()
    sabotage.write_text(kind)
    victim, sibling = server.worker_pids()
    os.kill(victim, signal.SIGKILL)
    eventually(lambda: "next_try_s=1 " in server.said() or server.said().count("next_try_s=") >= 2)
    assert server.said().count('event="worker died"') < 6
    assert sibling in server.worker_pids()
    sabotage.unlink()
    eventually(lambda: [worker["ready"] for worker in server.status()["workers"]] == [True] * 2)
    with PolicyClient(server.socket_path) as client:
        assert client.ask(FORGED) == REJECT


def test_a_worker_that_is_stuck_at_its_start_holds_no_reload(make_server, sabotage):
    """The others serve the new policy, and the stuck one is replaced by one that does."""
    server = make_server(workers=2)
    server.start()
    sabotage.write_text("stuck")
    victim, sibling = server.worker_pids()
    os.kill(victim, signal.SIGKILL)
    (stuck,) = eventually(lambda: set(server.worker_pids()) - {victim, sibling})
    eventually(lambda: "stuck for ever" in server.said())
    sabotage.unlink()
    server.write_policy(POLICY.replace("5.7.1", "5.7.9"))
    done = server.command("reload")
    assert done.returncode == 0, done.stderr
    said = server.said()
    assert [f"worker_pid={stuck} " in line for line in said.splitlines() if "worker hangs" in line] == [True]
    assert "killed from outside" not in said.split(f"worker_pid={stuck} how=")[1]
    eventually(lambda: [worker["ready"] for worker in server.status()["workers"]] == [True] * 2)
    assert {worker["generation"] for worker in server.status()["workers"]} == {2}
    with PolicyClient(server.socket_path) as client:
        assert "5.7.9" in client.ask(FORGED)


def test_the_stack_of_a_worker_that_hangs_is_logged(make_server, sabotage):
    """Before it is killed: what it was stuck in."""
    server = make_server(extra="hang_timeout = 2")
    server.start()
    (victim,) = server.worker_pids()
    sabotage.write_text("hang")
    eventually(lambda: "worker stderr" in server.said())
    sabotage.unlink()
    (line,) = [line for line in server.log.read_text().splitlines() if "worker stderr" in line]
    assert f"worker_pid={victim}" in line
    assert "most recent call first" in line
    assert "in beat" in line


def test_a_bug_outside_of_requests_is_logged_with_its_traceback(make_server, sabotage):
    """Once a minute, with its traceback; requests are answered."""
    server = make_server()
    server.start()
    sabotage.write_text("beat")
    eventually(lambda: "a bug in a beat" in server.log.read_text())
    with PolicyClient(server.socket_path) as client:
        assert client.ask(FORGED) == REJECT
    assert server.log.read_text().count("event=bug") == 1


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1], ids=lambda signum: signum.name)
def test_a_signal_to_a_worker_that_is_being_started(server, signum):
    """It comes before the worker has a handler for it: TERM retires it when it can, the others are ignored as ever."""
    master = server.process.pid
    known = set(descendants(master))
    hit = 0
    while hit < 10:
        # One that retires is replaced by itself; one that does not ends with the next step.
        server.obey("scale", workers=1)
        server.obey("scale", workers=4)
        new = eventually(lambda: set(descendants(master)).difference(known))
        known.update(new)
        for pid in new:
            # A worker that was scaled away meanwhile ignores it.
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signum)
                hit += 1
    eventually(lambda: [w["ready"] and not w["retiring"] for w in server.obey("status")["workers"]] == [True] * 4)
    assert "worker died" not in server.said()
    assert ('event="worker retires"' in server.said()) == (signum == signal.SIGTERM)
