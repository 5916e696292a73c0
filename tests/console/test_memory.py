"""What the console keeps is bounded: answers of trials in number and rows, arenas of its allocator."""

from __future__ import annotations

import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest

from forkpolicy.console.whatif import replays as replays_module
from forkpolicy.console.whatif.replays import MOST_KEPT, MOST_ROWS, Replays
from forkpolicy.console.whatif.trial import Asked

_ARENAS = """
import ctypes, re, threading
from forkpolicy.console.memory import limit_arenas
assert limit_arenas()
together = threading.Barrier(8)
def take():
    held = [bytes(1000 + each) for each in range(2000)]
    together.wait(30)
    return held
threads = [threading.Thread(target=take) for _ in range(8)]
for each in threads: each.start()
for each in threads: each.join()
libc = ctypes.CDLL(None)
libc.open_memstream.restype = ctypes.c_void_p
text, size = ctypes.c_char_p(), ctypes.c_size_t()
stream = ctypes.c_void_p(libc.open_memstream(ctypes.byref(text), ctypes.byref(size)))
libc.malloc_info(0, stream)
libc.fclose(stream)
print(len(re.findall(rb"<heap ", text.value)))
"""


@pytest.fixture
def trials(monkeypatch):
    """Trials that find as many rows as their text says; `clock` is a list with the time in seconds."""
    clock = [1000.0]
    monkeypatch.setattr(replays_module, "version_of", lambda _now: "one")
    monkeypatch.setattr(Replays, "_answer", lambda _self, each: SimpleNamespace(rows=int(each.asked.statements)))
    made = Replays(SimpleNamespace(), clock=lambda: clock[0])

    def ask(rows, number):
        found = made.get(Asked(str(rows), str(number), 7, 100), None)
        assert found.done.wait(30)
        with made._lock:
            return found

    return SimpleNamespace(made=made, ask=ask, clock=clock)


def kept(made, count):
    """How many answers are kept once the thread has tidied up."""
    settled = threading.Event()
    for _ in range(1000):
        with made._lock:
            if len(made._known) == count:
                return count
        settled.wait(0.01)
    return len(made._known)


def test_so_many_answers_are_kept(trials):
    """However many are asked for, those that were looked at last."""
    for number in range(MOST_KEPT + 10):
        last = trials.ask(1, number)
    assert kept(trials.made, MOST_KEPT) == MOST_KEPT
    assert trials.ask(1, MOST_KEPT + 9) is last


def test_so_many_rows_are_kept(trials):
    """A few large answers are as good as many small ones; one that is larger than all room stays until the next."""
    for number in range(10):
        trials.ask(MOST_ROWS // 3, number)
    assert kept(trials.made, 3) == 3
    large = trials.ask(MOST_ROWS * 2, 11)
    assert kept(trials.made, 1) == 1
    assert trials.ask(MOST_ROWS * 2, 11) is large


def test_an_old_answer_is_left_out_though_nobody_asks_for_it_again(trials):
    """With the next trial of anything."""
    for number in range(5):
        trials.ask(1, number)
    trials.clock[0] += replays_module.KEPT_S + 1
    trials.ask(1, 99)
    assert kept(trials.made, 1) == 1


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="arenas are glibc's")
def test_threads_share_an_arena():
    """Eight threads that hold memory at the same time."""
    done = subprocess.run([sys.executable, "-c", _ARENAS], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("1\n", "")
