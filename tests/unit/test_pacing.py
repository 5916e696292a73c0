"""How long the logger leaves lines in its pipe."""

from __future__ import annotations

from forkpolicy.master.processes.pacing import FULL_ENOUGH, LONGEST_PAUSE_S, QUICK_READS, Pacing

CAPACITY_BYTES = 1 << 20
LINE_BYTES = 400


def paused(pacing, reads, *, every_s, size_bytes=LINE_BYTES, at_s=100.0):
    """The pauses after so many reads."""
    return [pacing.pause_s(at_s + number * every_s, size_bytes) for number in range(reads)]


def test_lines_far_apart_are_never_delayed():
    """However many there are."""
    assert set(paused(Pacing(CAPACITY_BYTES), 1000, every_s=3 * LONGEST_PAUSE_S)) == {0.0}


def test_a_short_burst_is_not_delayed_and_a_stream_is():
    """The first reads of a stream are like those of a burst."""
    pauses = paused(Pacing(CAPACITY_BYTES), 40, every_s=0.001)
    assert set(pauses[:QUICK_READS]) == {0.0}
    assert set(pauses[QUICK_READS + 1 :]) == {LONGEST_PAUSE_S}


def test_after_a_rest_the_next_line_is_written_at_once():
    """A stream that has ended leaves nothing behind."""
    pacing = Pacing(CAPACITY_BYTES)
    assert paused(pacing, 40, every_s=0.001)[-1]
    assert pacing.pause_s(200.0, LINE_BYTES) == 0.0


def test_a_small_pipe_or_a_flood_has_shorter_pauses():
    """What comes in one pause fills a quarter of the pipe at most, whatever its size and the rate."""
    for capacity_bytes, bytes_a_second in ((1 << 16, 2e6), (1 << 20, 5e7), (1 << 20, 1e6)):
        pacing, pause_s, now_s = Pacing(capacity_bytes), 0.0, 100.0
        for _ in range(100):
            came_bytes = int(bytes_a_second * max(pause_s, 0.001))
            pause_s = pacing.pause_s(now_s, came_bytes)
            now_s += max(pause_s, 0.001)
        assert bytes_a_second * pause_s <= capacity_bytes * FULL_ENOUGH * 1.01
        assert pause_s >= min(LONGEST_PAUSE_S, 0.99 * capacity_bytes * FULL_ENOUGH / bytes_a_second)
