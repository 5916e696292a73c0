"""Different values of a key, and lists that the policy fills."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forkpolicy.state.memory import MemoryStore
from forkpolicy.state.questions.listed import Forget, Listed, Remember
from tests.stores import START_S, STORES, Clock, distinct, make_store


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(params=STORES)
def store(request, clock, tmp_path):
    store = make_store(request.param, clock, tmp_path / "live")
    yield store
    getattr(store, "close", lambda: None)()


def test_more_different_values_than_allowed_hold(store):
    """The same again makes no more; the one too many does."""
    assert [store.ask(distinct(value)).over for value in "abab"] == [False] * 4
    assert store.ask(distinct("c")) == (True, 3)


def test_a_locked_key_stays_locked_until_values_age_out(store, clock):
    """Also for a value that was there first."""
    for value in "abc":
        store.ask(distinct(value))
        clock.wait(600)
    assert store.ask(distinct("a")).over
    clock.wait(2999)
    assert store.ask(distinct("c")) == (False, 2)


def test_values_count_whether_it_holds_or_not(store, clock):
    """Who tries new ones all the time stays locked."""
    for number in range(5000):
        assert store.ask(distinct(str(number), window_s=60)).over == (number >= 2)
        clock.wait(20)


def test_no_more_than_one_above_the_limit_are_kept(store):
    """A key that an attacker uses does not grow."""
    for number in range(500):
        assert store.ask(distinct(str(number), most=20)).different <= 21
    ((_, record),) = store.walk(b"d", b"", 10)
    assert len(record) == 5 + 21 * 10


def test_a_changed_limit_keeps_the_values(store):
    """A lower one holds at once, another window begins anew."""
    for value in "abcd":
        store.ask(distinct(value, most=10))
    assert store.peek(distinct("a", most=2)).over
    assert not store.peek(distinct("a", most=2, window_s=60)).over


def test_a_clock_that_was_set_back_locks_nobody_for_longer(store, clock):
    """What was seen later than now counts as seen now."""
    for value in "abc":
        store.ask(distinct(value))
    clock.wait(-100 * 3600)
    assert store.ask(distinct("a")).over
    clock.wait(3600)
    assert not store.ask(distinct("a")).over


VALUES = st.lists(st.tuples(st.sampled_from([0, 0.5, 1, 10, 59, 60, 61]), st.integers(0, 6)), max_size=60)


def run_against_model(store, clock, values, most):
    seen = {}
    for wait_s, value in values:
        clock.wait(wait_s)
        seen[value] = clock.now_s
        # Times are kept in whole seconds, rounded up: a value may count for up to one more.
        surely = sum(at_s > clock.now_s - 60 for at_s in seen.values())
        perhaps = sum(at_s > clock.now_s - 61 for at_s in seen.values())
        answer = store.ask(distinct(str(value), most=most, window_s=60))
        assert (surely > most) <= answer.over <= (perhaps > most)
        assert min(surely, most + 1) <= answer.different <= min(perhaps, most + 1)


@given(VALUES, st.integers(1, 4))
def test_any_values_are_as_in_an_exact_set(values, most):
    """Against a dict of times."""
    clock = Clock()
    run_against_model(MemoryStore(clock), clock, values, most)


@pytest.fixture(scope="module")
def shared_map(tmp_path_factory):
    clock = Clock()
    store = make_store("live map", clock, tmp_path_factory.mktemp("distinct") / "live")
    yield store, clock
    store.close()


@settings(max_examples=25)
@given(VALUES, st.integers(1, 4))
def test_any_values_are_as_in_an_exact_set_in_the_map(shared_map, values, most):
    """The same in the map that workers share."""
    store, clock = shared_map
    clock.wait(1000)
    run_against_model(store, clock, values, most)


def test_a_key_is_listed_until_its_time_is_over(store, clock):
    """Remembering it again begins the time anew."""
    assert store.ask(Listed("bad", ("x",))).until_s is None
    store.ask(Remember("bad", ("x",), 60))
    assert store.ask(Listed("bad", ("x",))).until_s == START_S + 60
    clock.wait(59)
    store.ask(Remember("bad", ("x",), 60))
    clock.wait(59)
    assert store.ask(Listed("bad", ("x",))).until_s == START_S + 119
    clock.wait(1)
    assert store.ask(Listed("bad", ("x",))).until_s is None


def test_a_forgotten_key_is_not_listed(store):
    """Others stay; to forget what is not there is fine."""
    for part in "xy":
        store.ask(Remember("bad", (part,), 60))
    store.ask(Forget("bad", ("x",)))
    store.ask(Forget("bad", ("x",)))
    assert store.ask(Listed("bad", ("x",))).until_s is None
    assert store.ask(Listed("bad", ("y",))).until_s
    assert store.ask(Listed("worse", ("y",))).until_s is None


def test_a_hundred_years_are_remembered(store):
    """As long as 32 bits of seconds last."""
    store.ask(Remember("bad", ("x",), 100 * 365 * 86400))
    assert store.ask(Listed("bad", ("x",))).until_s > START_S + 50 * 365 * 86400


def test_reset_and_walk_know_prefixes(store):
    """The same in both stores."""
    for part in "abc":
        store.ask(Remember("bad", (part,), 60))
    store.ask(Remember("badly", ("a",), 60))
    found = store.walk(b"l\0bad\0", b"", 2)
    assert [key for key, _ in found] == [b"l\0bad\0a\0", b"l\0bad\0b\0"]
    assert [key for key, _ in store.walk(b"l\0bad\0", found[-1][0], 2)] == [b"l\0bad\0c\0"]
    assert store.reset(b"l\0bad\0") == 3
    assert store.describe().entries == 1
