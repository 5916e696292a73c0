"""The map that workers share: made whole, opened only where it is, full in words, and with its changed keys."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from forkpolicy.errors import CannotWriteError, StateError
from forkpolicy.state import keys, live_map, map_file, sweeping
from forkpolicy.state.kept_map import KeptMap, open_both
from forkpolicy.state.live_map import LiveMap
from forkpolicy.state.live_state import LiveState
from forkpolicy.state.questions.listed import Forget, Listed, Remember
from tests.stores import MIB, START_S, Clock, greylisting, make_map, rate


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def live(tmp_path, clock):
    live = make_map(tmp_path / "live", clock)
    yield live
    live.close()


def test_all_of_a_map_is_reserved(live):
    """No page of it can be missing later, when a write into the mapping would kill the worker."""
    found = Path(live.directory, "data.mdb").stat()
    assert found.st_blocks * 512 >= found.st_size == 4 * MIB


def test_a_map_that_is_not_there_is_not_made(tmp_path):
    """A tool of root must not make files that workers cannot open."""
    with pytest.raises(StateError, match="there is no map"):
        LiveMap.open(str(tmp_path / "live"), read_only=True)
    assert list(tmp_path.iterdir()) == []


def test_a_tool_reads_the_map_of_a_worker(live):
    """In another process: LMDB opens no file twice in one, nor after a fork."""
    live.ask(Remember("bad", ("192.0.2.1",), 60))
    program = (
        "import sys; from forkpolicy.state.live_map import LiveMap;"
        f"tool = LiveMap.open(sys.argv[1], read_only=True, clock=lambda: {START_S});"
        "print(tool.describe().entries, tool.walk(b'', b'', 10))"
    )
    tool = subprocess.run([sys.executable, "-c", program, live.directory], capture_output=True, text=True, check=True)
    assert tool.stdout == f"1 {live.walk(b'', b'', 10)}\n"


def test_a_file_system_that_is_too_small_says_how_much_lacks(tmp_path):
    """In bytes, at the start, with nothing left behind."""
    directory = tmp_path / "live"
    free = os.statvfs(tmp_path)
    size = free.f_bavail * free.f_frsize + (1 << 30)
    with pytest.raises(CannotWriteError, match=r"takes \d+ bytes, \d+ more than its file system has free"):
        map_file.make(str(directory), size)
    assert list(directory.iterdir()) == []


def test_a_question_inside_a_question_is_reported_as_a_bug(live):
    """LMDB would wait for itself."""

    class Inner:
        kind = "rate"

        def step(self, _records):
            return live.ask(rate((1, 60)))

    with pytest.raises(StateError, match="a bug of forkpolicy"):
        live.ask(Inner())
    assert not live.ask(rate((1, 60))).over


def test_a_question_that_fails_has_written_nothing(live):
    """Also what it wrote before it failed."""

    class Failing:
        kind = "listed"

        def step(self, records):
            Remember("bad", ("x",), 60).step(records)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        live.ask(Failing())
    assert live.ask(Listed("bad", ("x",))).until_s is None


def test_peek_writes_nothing(live):
    """It gives the answer that `ask` would."""
    for _ in range(3):
        assert live.peek(rate((2, 60))).used == (0,)
    assert live.describe().entries == 0


def test_changed_keys_are_given_once(live):
    """Each key once, deleted ones too."""
    live.ask(Remember("bad", ("x",), 60))
    live.ask(Remember("bad", ("x",), 90))
    live.ask(Forget("bad", ("y",)))
    assert live.take_changed() == {keys.make(keys.LISTED, "bad", (part,)) for part in "xy"}
    assert live.take_changed() == set()


def test_reset_forgets_a_name_and_reports_it(live):
    """What was kept of it must go, too."""
    for number in range(2500):
        live.ask(Remember("bad", (str(number),), 60))
    live.ask(Remember("badly", ("x",), 60))
    live.take_changed()
    assert live.reset(keys.prefix(keys.LISTED, "bad")) == 2500
    assert len(live.take_changed()) == 2500
    assert live.describe().entries == 1


def test_walk_goes_on_behind_a_key_and_leaves_out_what_has_expired(live, clock):
    """Also when more than one step has expired."""
    for number in range(1500):
        live.ask(Remember("bad", (f"a{number:04}",), 60))
    for number in range(5):
        live.ask(Remember("bad", (f"b{number}",), 600))
    clock.wait(61)
    first = live.walk(keys.prefix(keys.LISTED), b"", 3)
    rest = live.walk(keys.prefix(keys.LISTED), first[-1][0], 3)
    assert [keys.show(key).parts[0] for key, _ in first + rest] == ["b0", "b1", "b2", "b3", "b4"]


def test_a_tool_is_not_suspended_inside_a_transaction(live, monkeypatch):
    """^Z waits until the read transaction has ended: a suspended reader would keep all pages that it may see."""
    pending = []

    def read_after(*arguments):
        # To this thread: another, of an earlier test, could take what is sent to the process.
        signal.pthread_kill(threading.get_ident(), signal.SIGTSTP)
        pending.append(signal.SIGTSTP in signal.sigpending())
        return sweeping.read_after(*arguments)

    arrived = []
    monkeypatch.setattr(live_map, "read_after", read_after)
    before = signal.signal(signal.SIGTSTP, lambda *_: arrived.append(True))
    try:
        live.walk(b"", b"", 10)
    finally:
        signal.signal(signal.SIGTSTP, before)
    assert (pending, arrived) == ([True], [True])


def test_sweeping_deletes_what_has_expired(live, clock):
    """In steps, until nothing else is left."""
    for number in range(250):
        live.ask(Remember("bad", (str(number),), 60 if number % 2 else 600))
    clock.wait(61)
    assert sum(live.sweep() for _ in range(5)) == 125
    assert live.describe().entries == 125


def test_the_lock_file_shows_the_holder(live):
    """The master can find a worker that stands still inside a transaction."""
    assert live.shows_holder()
    assert live.shows_holder()


def test_a_map_of_another_boot_is_filled_from_the_kept_one(tmp_path):
    """And one of this boot is used as it is."""
    directories = str(tmp_path / "live"), str(tmp_path / "kept")
    live, kept, restored = open_both(*directories, 2 * MIB)
    assert restored == 0
    live.ask(Remember("bad", ("x",), 600))
    live.ask(greylisting())
    assert kept.keep(live, live.take_changed()) == 2
    live.ask(Remember("bad", ("y",), 600))
    live.close()
    kept.close()
    live, kept, restored = open_both(*directories, 2 * MIB)
    assert restored == 0
    assert live.ask(Listed("bad", ("y",))).until_s
    live.close()
    kept.close()
    (tmp_path / "live" / "boot").write_text("another boot")
    live, kept, restored = open_both(*directories, 2 * MIB)
    assert restored == 2
    assert live.ask(Listed("bad", ("x",))).until_s
    assert live.ask(Listed("bad", ("y",))).until_s is None
    live.close()
    kept.close()


def test_another_size_takes_what_was_remembered_along(tmp_path):
    """A restart with another max_size makes the map anew."""
    directories = str(tmp_path / "live"), str(tmp_path / "kept")
    live, kept, _ = open_both(*directories, 2 * MIB)
    for number in range(3000):
        live.ask(Remember("bad", (str(number),), 600))
    live.close()
    kept.close()
    live, kept, restored = open_both(*directories, 4 * MIB)
    assert (restored, live.describe().max_bytes) == (3000, 4 * MIB)
    live.close()
    kept.close()


def test_a_full_pass_keeps_what_was_never_reported(tmp_path, live):
    """And forgets what is gone."""
    kept = KeptMap.open(str(tmp_path / "kept"), 4 * MIB)
    for number in range(300):
        live.ask(Remember("bad", (str(number),), 600))
    kept.keep(live, live.take_changed())
    live.reset(keys.prefix(keys.LISTED))
    for number in range(200, 400):
        live.ask(Remember("worse", (str(number),), 600))
    after = kept.full_pass_step(live, b"", 50)
    while after:
        after = kept.full_pass_step(live, after, 50)
    fresh = make_map(tmp_path / "fresh", Clock(START_S))
    assert kept.restore(fresh) == 200
    assert fresh.walk(b"", b"", 1000) == live.walk(b"", b"", 1000)
    fresh.close()
    kept.close()


def test_a_state_is_opened_late_and_taken_over(tmp_path, live):
    """A worker may start before the map is there, and a reload keeps the open map."""
    live.close()
    early, later = LiveState(str(tmp_path / "not yet")), LiveState(live.directory)
    assert not early.refresh()
    with pytest.raises(StateError, match="there is no map"):
        early.ask(rate((1, 60)))
    assert later.refresh()
    newer = LiveState(live.directory)
    newer.take_over(later)
    assert newer.refresh()
    assert not newer.ask(rate((1, 60))).over
    with pytest.raises(StateError, match="closed"):
        later.ask(rate((1, 60)))
    newer.close()


def test_a_map_that_was_made_again_is_opened(tmp_path, clock):
    """Somebody removed the directory while workers had it open."""
    live = make_map(tmp_path / "live", clock)
    state = LiveState(live.directory)
    live.ask(Remember("bad", ("x",), 600))
    live.close()
    assert state.refresh()
    map_file.make(live.directory, MIB)
    assert state.refresh()
    assert state.ask(Listed("bad", ("x",))).until_s is None
    state.close()
