"""The live map with real processes: exact under contention, and what is left when one of them dies or stands still."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import subprocess
import sys
import traceback

import pytest

from forkpolicy.errors import StateError
from forkpolicy.state import keys, map_file
from forkpolicy.state.live_map import LiveMap
from forkpolicy.state.lock_holder import lock_holder
from forkpolicy.state.questions.listed import Listed, Remember
from forkpolicy.state.sweeping import pages_of
from tests.process.waiting import DEADLINE_S, ended, eventually
from tests.stores import MIB, greylisting, rate


class Child:
    """A process with the map open. `said()`: the next line that it says, `tell` lets it read one."""

    def __init__(self, program, *arguments):
        said, self._say = os.pipe()
        self._told, tell = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            self._live(program, arguments)
        os.close(self._say)
        os.close(self._told)
        self._said, self._tell = os.fdopen(said), tell

    def _live(self, program, arguments):
        status = 1
        try:
            program(self, *arguments)
            status = 0
        except BaseException:  # noqa: BLE001 - it must not come to the end of the test in two processes
            traceback.print_exc(file=sys.__stderr__)
        finally:
            os._exit(status)

    def say(self, *words):
        os.write(self._say, (" ".join(map(str, words)) + "\n").encode())

    def hear(self):
        assert os.read(self._told, 1)

    def tell(self):
        os.write(self._tell, b"x")

    def said(self):
        assert select.select([self._said], [], [], DEADLINE_S)[0], "said nothing"
        return self._said.readline().strip()

    def signal(self, number):
        os.kill(self.pid, number)

    def status(self):
        ended(self.pid)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def close(self):
        """Nothing of a test survives it."""
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            self.signal(signal.SIGKILL)
            os.waitpid(self.pid, 0)
        self._said.close()
        os.close(self._tell)


@pytest.fixture
def children():
    """Start children; the last ones of a test end with it."""
    with contextlib.ExitStack() as stack:

        def start(program, *arguments):
            child = Child(program, *arguments)
            stack.callback(child.close)
            return child

        yield start


@pytest.fixture
def directory(tmp_path):
    map_file.make(str(tmp_path / "live"), 16 * MIB)
    return str(tmp_path / "live")


class Inside:
    """A question that does something to its process in the middle of its transaction, after it has written."""

    kind = "listed"

    def __init__(self, act):
        self._act = act

    def step(self, records):
        Remember("half", ("done",), 60).step(records)
        self._act()


# Programs of children.


def count(child, directory, times, most):
    live = LiveMap.open(directory)
    child.say("open")
    child.hear()
    child.say(sum(not live.ask(rate((most, 3600))).over for _ in range(times)))


def die_inside(child, directory):
    live = LiveMap.open(directory)
    live.ask(Remember("all", ("done",), 60))
    live.ask(Inside(lambda: os.kill(os.getpid(), signal.SIGKILL)))


def stop_inside(child, directory):
    live = LiveMap.open(directory)
    child.say(live.shows_holder())
    live.ask(Inside(lambda: os.kill(os.getpid(), signal.SIGSTOP)))
    child.say("went on")


def ask_once(child, directory):
    live = LiveMap.open(directory)
    child.say("open")
    child.hear()
    live.ask(Remember("mine", ("x",), 60))
    child.say("done" if live.ask(Listed("mine", ("x",))).until_s else "lost")
    child.say("half" if live.ask(Listed("half", ("done",))).until_s else "whole")


def read_inside(child, directory):
    live = LiveMap.open(directory, read_only=True)
    with live._begin_reading() as txn:
        txn.get(b"x")
        child.say("reads")
        child.hear()


def list_and_stop(child, directory):
    """A `state list` between two of its steps."""
    live = LiveMap.open(directory, read_only=True)
    live.walk(b"", b"", 10)
    child.say("read")
    os.kill(os.getpid(), signal.SIGSTOP)


def write_often(child, directory):
    """After each thousand commits that were asked for, say how many pages the file has used, or why it failed."""
    live = LiveMap.open(directory)
    for number in range(200):
        live.ask(Remember("some", (str(number),), 600))
    child.say("open")
    while True:
        child.hear()
        live.reader_check()
        try:
            for number in range(1000):
                live.ask(Remember("some", (str(number % 200),), 600))
        except StateError as error:
            child.say(error)
        else:
            child.say(live._env.info()["last_pgno"])


def test_four_writers_let_exactly_the_limit_through(children, directory):
    """10,000 requests on one key, limit 3,700."""
    writers = [children(count, directory, 2500, 3700) for _ in range(4)]
    assert [writer.said() for writer in writers] == ["open"] * 4
    for writer in writers:
        writer.tell()
    assert sum(int(writer.said()) for writer in writers) == 3700


def test_a_killed_writer_leaves_nothing_half_done(children, directory):
    """The next one takes its lock over at once, and sees what was committed alone."""
    assert children(die_inside, directory).status() == -signal.SIGKILL
    other = children(ask_once, directory)
    assert other.said() == "open"
    other.tell()
    assert [other.said(), other.said()] == ["done", "whole"]


def test_a_writer_waits_for_a_killed_one_no_longer_than_it_lives(children, directory):
    """It waited for the lock when the holder was killed."""
    holder, other = children(stop_inside, directory), children(ask_once, directory)
    assert [holder.said(), other.said()] == ["True", "open"]
    eventually(lambda: lock_holder(directory) == holder.pid)
    other.tell()
    holder.signal(signal.SIGKILL)
    assert [other.said(), other.said()] == ["done", "whole"]


def test_the_holder_of_the_lock_is_found_when_it_stands_still(children, directory):
    """By a process without LMDB, and not after it went on."""
    holder, other = children(stop_inside, directory), children(ask_once, directory)
    assert [holder.said(), other.said()] == ["True", "open"]
    eventually(lambda: lock_holder(directory) == holder.pid)
    os.waitid(os.P_PID, holder.pid, os.WSTOPPED | os.WNOWAIT)
    other.tell()
    assert lock_holder(directory) == holder.pid
    holder.signal(signal.SIGCONT)
    assert holder.said() == "went on"
    assert [other.said(), other.said()] == ["done", "half"]
    assert lock_holder(directory) == 0


def test_where_there_is_no_map_nobody_holds_its_lock(tmp_path):
    """The master asks from its start on."""
    assert lock_holder(tmp_path) == 0


@pytest.mark.parametrize("ending", ["killed", "stopped between two steps"])
def test_readers_that_end_badly_cost_no_pages(children, directory, ending):
    """A killed one is found by the next beat; a stopped list holds no page."""
    writer = children(write_often, directory)
    assert writer.said() == "open"
    reader = children(read_inside if ending == "killed" else list_and_stop, directory)
    reader.said()
    if ending == "killed":
        reader.signal(signal.SIGKILL)
        reader.status()
    else:
        os.waitid(os.P_PID, reader.pid, os.WSTOPPED | os.WNOWAIT)
    pages = []
    for _ in range(4):
        writer.tell()
        pages.append(int(writer.said()))
    assert pages[-1] <= pages[0] + 2


def test_a_reader_in_the_way_is_named(children, directory):
    """Its pages fill the map; the message says whose they are, and not that the map is too small."""
    writer, reader = children(write_often, directory), children(read_inside, directory)
    assert [writer.said(), reader.said()] == ["open", "reads"]
    said = ""
    while "full" not in said:
        writer.tell()
        said = writer.said()
    assert f"process {reader.pid} reads it since long" in said
    reader.signal(signal.SIGKILL)
    reader.status()
    writer.tell()
    assert writer.said().isdecimal()


def fill(child, directory, times, keep_every):
    """Ask about triplets that are always new; every so manieth comes again after its delay. Say who is left."""
    now_s = 1e9
    live = LiveMap.open(directory, clock=lambda: now_s)
    live.ask(rate((100, 86400)))
    live.ask(Remember("bad", ("x",), 86400))
    passed = 0
    for number in range(times):
        now_s += 0.1
        delay_s = 0 if number % keep_every == 0 else 290
        live.ask(greylisting(sender=f"sender{number}@example.org", delay_s=delay_s, auto=0))
        passed += number % keep_every == 0
    triplets = live.walk(keys.prefix(keys.GREYLISTING), b"", 10**9)
    left = [int(keys.show(key).parts[1].removeprefix("sender").partition("@")[0]) for key, _ in triplets]
    waiting = sorted(number for number in left if number % keep_every)
    figures = live.describe()
    child.say(
        live.peek(rate((100, 86400))).used[0],
        bool(live.peek(Listed("bad", ("x",))).until_s),
        passed - sum(number % keep_every == 0 for number in left),
        figures.evicted,
        pages_of(live._env).share,
        waiting[0],
        len(waiting),
        times,
    )


@pytest.mark.parametrize("megabytes", [1, 8])
def test_a_full_map_forgets_what_waits_longest(children, tmp_path, megabytes):
    """Three times as many as fit: the oldest that never passed go; counters, lists and what has passed stay."""
    directory = str(tmp_path / "small")
    map_file.make(directory, megabytes * MIB)
    times = 20_000 * megabytes
    child = children(fill, directory, times, 50)
    counted, listed, lost, evicted, share, oldest, waiting, _ = child.said().split()
    assert (counted, listed, lost) == ("1", "True", "0")
    assert int(evicted) > times // 3
    assert float(share) < 0.96
    # All that are younger than the oldest one are there: what goes, goes by age.
    younger = sum(number % 50 != 0 for number in range(int(oldest), times))
    assert int(waiting) == younger


FILL_A_SMALL_TMPFS = """
import sys
from forkpolicy.errors import CannotWriteError
from forkpolicy.state import map_file
from forkpolicy.state.live_map import LiveMap
from forkpolicy.state.questions.listed import Remember
import os, pathlib

directory = sys.argv[1]
try:
    map_file.make(directory, 4 << 20)
except CannotWriteError as error:
    print(error.exit_code, error)
print(os.listdir(directory))
# All that is free but the last pages: what fits is reserved, and others can fill up the rest.
map_file.make(directory, 1 << 20)
pathlib.Path(directory, "other").touch()
with open(pathlib.Path(directory, "other"), "wb", buffering=0) as other:
    try:
        while other.write(bytes(4096)):
            pass
    except OSError:
        pass
live = LiveMap.open(directory)
for number in range(5000):
    live.ask(Remember("bad", (str(number % 2000),), 600))
print(live.describe().entries)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system, so it needs root")
def test_a_tmpfs_that_is_too_small_is_an_error_and_never_a_signal(tmp_path):
    """And one that others fill up later costs a map nothing: all of it is reserved."""
    script = 'mount -t tmpfs -o size=2m tmpfs "$1" && exec "$2" -c "$3" "$1"'
    command = ["unshare", "--mount", "sh", "-c", script, "sh", str(tmp_path), sys.executable, FILL_A_SMALL_TMPFS]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    error, files, entries = done.stdout.splitlines()
    assert error.startswith("73 ")
    assert re.search(r"takes 4194304 bytes, 2\d{6} more than its file system has free", error)
    assert (files, entries) == ("[]", "2000")
