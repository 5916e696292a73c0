"""What goes when it must, what stays, and what is said when nothing can go."""

import os
import random

import pytest

from forkpolicy.errors import StateError
from forkpolicy.state import keys, sweeping
from forkpolicy.state.questions.listed import Listed, Remember
from forkpolicy.state.store import HEAD, LATEST_S
from tests.stores import MIB, Clock, greylisting, make_map, rate


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def live(tmp_path, clock):
    live = make_map(tmp_path / "live", clock, MIB)
    yield live
    live.close()


def fill_with_lists(live, clock, duration_s=600):
    """Until the map takes no new key."""
    for number in range(100_000):
        clock.wait(0.01)
        try:
            live.ask(Remember("bad", (f"a much longer name than needed {number:07}@example.com",), duration_s))
        except StateError:
            return
    raise AssertionError("never full")


def test_where_nothing_can_go_a_new_key_fails(live, clock):
    """What is known goes on counting: that takes no room."""
    live.ask(rate((10, 3600)))
    fill_with_lists(live, clock)
    share = sweeping.pages_of(live._env).share
    for _ in range(9):
        assert not live.ask(rate((10, 3600))).over
    assert live.ask(rate((10, 3600))).over
    with pytest.raises(StateError, match=r"full: raise state\.max_size"):
        live.ask(greylisting())
    assert share < 0.95
    assert live.describe().evicted == 0


def test_a_full_map_takes_keys_again_when_some_have_expired(live, clock):
    """The sweep makes room in time."""
    fill_with_lists(live, clock)
    clock.wait(700)
    while live.sweep():
        pass
    live.ask(Remember("bad", ("x",), 60))
    assert live.ask(Listed("bad", ("x",))).until_s


def test_what_has_passed_stays_in_a_full_map(live, clock):
    """Also where triplets that wait go by thousands."""
    for number in range(200):
        live.ask(greylisting(sender=f"good{number}@example.org", delay_s=0))
    for number in range(12_000):
        clock.wait(0.01)
        live.ask(greylisting(sender=f"bad{number}@example.org"))
    assert live.describe().evicted > 1000
    for number in range(200):
        assert live.peek(greylisting(sender=f"good{number}@example.org")).result == "known"
    assert live.peek(greylisting(sender="bad11999@example.org")).result == "early"


def test_a_map_filled_to_the_last_page_can_still_be_emptied(live):
    """Deleting needs pages, too: a full map refuses a transaction of scattered deletes, and takes single ones."""
    doomed, more = [], True
    while more:
        items = [
            (b"l\0bad\0%08d\0" % (number * 7919 % 100_003), HEAD.pack(1, 1))
            for number in range(len(doomed), len(doomed) + 20)
        ]
        try:
            live.load(items)
            doomed += [key for key, _ in items]
        except StateError:
            more = False
    assert sweeping.delete(live._env, doomed[::37], lambda _record: True) == len(doomed[::37])


def test_a_record_of_an_unknown_format_is_none(live, clock):
    """A newer release wrote it: this one counts anew, and sweeps it when it has expired."""
    key = keys.make(keys.LISTED, "bad", ("x",))
    live.load([(key, b"\x02" + HEAD.pack(1, int(clock.now_s) + 60)[1:] + b"more")])
    assert live.ask(Listed("bad", ("x",))).until_s is None
    assert live.walk(b"", b"", 10) == []
    live.sweep()
    assert live.describe().entries == 1
    clock.wait(61)
    assert live.sweep() == 1


@pytest.mark.parametrize("record", [b"", b"\x01", b"\x01\xff\xff\xff\xff"])
@pytest.mark.parametrize("kind", [keys.RATE, keys.INSTANCE, keys.GREYLISTING, keys.NETWORK, keys.DISTINCT])
def test_a_record_that_is_cut_off_is_none(live, record, kind):
    """Whatever wrote it, no question dies of it."""
    question = rate((3, 60), counting="messages", instance="a.1.0")
    live.ask(question)
    live.ask(greylisting())
    for key, _ in live.walk(kind + b"\0", b"", 10):
        live.load([(key, record)])
    live.ask(question)
    live.ask(greylisting())


def test_records_of_the_year_2106_are_kept(live):
    """The last that a head can say."""
    live.load([(keys.make(keys.LISTED, "bad", ("x",)), HEAD.pack(1, LATEST_S))])
    assert live.sweep() == 0
    assert live.ask(Listed("bad", ("x",))).until_s == LATEST_S


def test_a_sweep_begins_again_behind_the_last_record(live, clock):
    """Over and over, also when the map has exactly as many records as a step."""
    for number in range(sweeping.STEP):
        live.ask(Remember("bad", (str(number),), 60))
    assert [live.sweep() for _ in range(3)] == [0, 0, 0]
    clock.wait(61)
    assert sum(live.sweep() for _ in range(3)) == sweeping.STEP


def week(live, clock, per_day):
    """The used pages at the end of each day. A mail is a triplet and counts for one of 500 users; one of 50 passes.

    What passed is kept as long as what waits, so that a week is long enough.
    """
    rng, used = random.Random(24), []
    for _ in range(8):
        for number in range(per_day):
            clock.wait(86400 / per_day)
            triplet = f"192.0.{rng.randrange(256)}.0/24", f"{rng.getrandbits(64):x}@example.org"
            live.ask(greylisting(*triplet, delay_s=0 if number % 50 == 0 else 290, keep_s=2 * 86400, auto=0))
            live.ask(rate((100, 3600), key=(f"user{rng.randrange(500)}@example.com",)))
            live.take_changed()
            if number % 20 == 0:
                # A server looks at far more: 86 million a day.
                live.sweep()
        used.append(sweeping.pages_of(live._env).used)
    return used


SLOW = pytest.param(
    143_000,
    64 * MIB,
    marks=[
        pytest.mark.skipif("FORKPOLICY_SLOW" not in os.environ, reason="minutes; FORKPOLICY_SLOW=1"),
        pytest.mark.timeout(600),
    ],
)


@pytest.mark.parametrize(("per_day", "max_bytes"), [(2000, 4 * MIB), SLOW])
def test_a_week_of_mail_does_not_grow(tmp_path, clock, per_day, max_bytes):
    """A million triplets in a week, each kept for two days. Pages fill up by the fourth day and settle for two more."""
    live = make_map(tmp_path / "week", clock, max_bytes)
    used = week(live, clock, per_day)
    evicted = live.describe().evicted
    live.close()
    assert used[7] <= used[5] * 1.05
    assert evicted == 0
