"""The master's part that has the state process: real processes, whose life is a function of the test."""

from __future__ import annotations

import os
import select
import signal
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from forkpolicy import link
from forkpolicy.control_messages import StateForgetCommand, StateReply
from forkpolicy.errors import CannotWriteError, ForkpolicyError
from forkpolicy.log import LogPipe
from forkpolicy.master.processes.state_process import StateProgram
from forkpolicy.master.processes.waitpid import exited_children
from forkpolicy.master.sockets.loop import Loop
from forkpolicy.master.state_keeper import StateKeeper
from forkpolicy.master.state_lock import StateLock
from forkpolicy.process import Identity
from forkpolicy.settings import Settings
from forkpolicy.state.lock_holder import lock_holder
from forkpolicy.state_messages import TO_STATE, StateDone, StateReady, StateRefused, StateReport
from forkpolicy.state_places import make_directories
from forkpolicy.state_settings import StateSettings
from forkpolicy.status import StateFigures


def serve(sock):
    """A process that is ready, answers each command with the length of its name, and ends with its link."""
    sock.sendall(link.encode(StateReady()) + link.encode(StateReport(StateFigures(used_bytes=7))))
    decoder = link.Decoder(TO_STATE)
    while data := sock.recv(4096):
        for command in decoder.feed(data):
            if command.name == "die":
                os._exit(3)
            sock.sendall(link.encode(StateDone(len(command.name))))


def refuse(sock):
    """One that cannot work."""
    sock.sendall(link.encode(StateRefused(73, "there is no room: 4096 bytes are missing")))


class Master:
    """A loop with a keeper in it; `events` is what was logged, `answers` what commands were answered."""

    def __init__(self, folder, run=serve):
        self.run = run
        state = StateSettings(live=str(folder / "live"), kept=str(folder / "kept"))
        self.settings = Settings(state=state, path=str(folder / "forkpolicy.toml"))
        self.events = []
        self.answers = []
        read_end, write_end = os.pipe()
        self.pipe = LogPipe(write_end, "logfmt")
        self.fds = [read_end, write_end]
        log = SimpleNamespace(
            event=lambda _level, event, **fields: self.events.append((event, fields)), named=self.pipe.named
        )
        program = StateProgram(lambda: None, self.run, (write_end,))
        self.keeper = StateKeeper(program, StateLock(self.settings), state, log)
        self.loop = Loop()

    def turn(self, until, timeout_s=10.0):
        """Turn until something is so."""
        end_s = time.monotonic() + timeout_s
        while not until():
            assert time.monotonic() < end_s, self.events
            for callback, events in self.loop.wait(0.05):
                callback(events)
            for pid, status in exited_children():
                assert self.keeper.on_exit(pid, status)
            self.keeper.tick(time.monotonic())

    def command(self, name):
        """Send a command."""
        self.keeper.command(StateForgetCommand(name, ("x",)), self.answers.append)


@pytest.fixture
def make_master(tmp_path):
    """Makes masters, whose processes and descriptors are gone at the end."""
    made = []

    def make(*arguments):
        made.append(Master(tmp_path, *arguments))
        return made[-1]

    yield make
    for master in made:
        master.keeper.end()
        for fd in master.fds:
            os.close(fd)


def test_a_start_waits_until_it_is_ready_and_passes_commands_on(make_master):
    """Each is answered in its order; `status` has what it reports."""
    master = make_master()
    master.keeper.start_first()
    assert master.keeper.describe([]).up
    master.keeper.listen(master.loop)
    master.command("four")
    master.command("eleven chars")
    master.turn(lambda: len(master.answers) == 2)
    assert master.answers == [StateReply(True, 4), StateReply(True, 12)]
    assert master.keeper.describe_process()[0].name == "state"


def test_a_start_that_is_refused_says_why(make_master):
    """With the exit status of the process's own fault."""
    master = make_master(refuse)
    with pytest.raises(ForkpolicyError, match="4096 bytes are missing") as refused:
        master.keeper.start_first()
    assert refused.value.exit_code == 73


def test_one_that_dies_is_started_again(make_master):
    """What waited for it is answered; the log says why and what that means."""
    master = make_master()
    master.keeper.start_first()
    master.keeper.listen(master.loop)
    first = master.keeper.pid
    master.command("die")
    master.turn(lambda: master.answers)
    assert "died" in master.answers[0].error
    assert not master.keeper.describe([]).up
    master.command("early")
    assert "does not answer" in master.answers[1].error
    master.turn(lambda: master.keeper.pid not in (0, first) and master.keeper.describe([]).up)
    assert master.keeper.describe_process()[0].ended == 1
    (fields,) = [fields for event, fields in master.events if event == "state process ended"]
    assert fields["reason"] == "it died: exit 3"
    assert "workers go on" in fields["hint"]


def test_a_reload_begins_and_ends_it(make_master):
    """Until the process is ready the reload waits; when the policy remembers no more, the process ends by itself."""
    master = make_master()
    master.keeper.listen(master.loop)
    master.command("x")
    assert master.answers.pop().error == "the policy remembers nothing"
    assert master.keeper.describe([]) is None
    begun = []
    master.keeper.begin(begun.append)
    assert begun == []
    master.turn(lambda: begun)
    assert begun == [""]
    master.keeper.begin(begun.append)
    assert begun == ["", ""]
    master.keeper.want(wanted=False)
    master.keeper.begin(begun.append)
    # One ends while the next is wanted already.
    master.turn(lambda: len(begun) == 3)
    assert begun[-1] == ""
    master.keeper.want(wanted=False)
    master.turn(lambda: not master.keeper.pid)
    assert master.keeper.lock.fd == -1
    assert [event for event, _ in master.events if event != "state process ready"] == []


def test_a_reload_that_cannot_begin_learns_why(make_master):
    """And nothing is tried again for it."""
    master = make_master(refuse)
    master.keeper.listen(master.loop)
    begun = []
    master.keeper.begin(begun.append)
    master.turn(lambda: begun)
    assert begun == ["there is no room: 4096 bytes are missing"]
    assert master.keeper.describe([]) is None
    assert master.keeper.lock.fd == -1


def test_a_second_master_learns_whose_the_maps_are(make_master):
    """Until the first one has gone; one that it has passed the lock to may go on."""
    first, second = make_master(), make_master()
    first.keeper.start_first()
    with pytest.raises(CannotWriteError, match=rf"is used by process {os.getpid()}, which serves .*forkpolicy.toml"):
        second.keeper.start_first()
    heir = StateLock(first.settings, os.dup(first.keeper.lock.fd))
    heir.take()
    first.keeper.end()
    with pytest.raises(CannotWriteError):
        second.keeper.lock.take()
    heir.release()
    second.keeper.lock.take()


def test_it_writes_what_it_has_when_its_master_dies(tmp_path, make_master):
    """The end of the link says so, also after kill -9 of the master."""
    written = tmp_path / "written"

    def write_at_the_end(sock):
        serve(sock)
        written.write_text("everything")

    read_end, write_end = os.pipe()
    dying = os.fork()
    if not dying:
        master = Master(tmp_path, write_at_the_end)
        master.keeper.start_first()
        os.write(write_end, b"%d" % master.keeper.pid)
        signal.pause()
    pid = int(os.read(read_end, 20))
    fd = os.pidfd_open(pid)
    os.kill(dying, signal.SIGKILL)
    os.waitpid(dying, 0)
    assert select.select([fd], [], [], 10)[0]
    assert written.read_text() == "everything"
    for each in (fd, read_end, write_end):
        os.close(each)


def test_nothing_is_done_to_what_stands_in_place_of_ours(tmp_path, make_master):
    """Where the server starts as root, a captured worker may write these directories."""
    live = tmp_path / "live"
    live.mkdir()
    os.mkfifo(live / "lock.mdb")
    # It would wait for a writer.
    assert lock_holder(live) == 0
    (tmp_path / "precious").write_text("as it was")
    (tmp_path / "precious").chmod(0o600)
    os.link(tmp_path / "precious", tmp_path / "live.lock")
    with pytest.raises(CannotWriteError, match="has another name, too"):
        make_master().keeper.start_first()
    assert (tmp_path / "precious").read_text() == "as it was"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives directories away")
def test_a_link_is_not_given_away(tmp_path, monkeypatch):
    """One that has taken the place of the directory between its making and its giving."""
    (tmp_path / "other").mkdir()
    mkdir = Path.mkdir

    def replaced(path, *arguments, **more):
        if path.name == "live":
            path.symlink_to("other")
        else:
            mkdir(path, *arguments, **more)

    monkeypatch.setattr(Path, "mkdir", replaced)
    state = StateSettings(live=str(tmp_path / "live"), kept=str(tmp_path / "kept"))
    with pytest.raises(CannotWriteError, match=r"live: .* cannot be made"):
        make_directories(state, Identity("nobody", 65534, 65534, (65534,)))
    assert (tmp_path / "other").stat().st_uid == 0
