"""Rate limits: never more than the limit in any window, and what counts as one request."""

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forkpolicy.state.memory import MemoryStore
from forkpolicy.state.questions.rate import Limit
from tests.stores import START_S, STORES, Clock, make_store, rate

HOUR_S, DAY_S = 3600, 86400


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(params=STORES)
def store(request, clock, tmp_path):
    store = make_store(request.param, clock, tmp_path / "live")
    yield store
    getattr(store, "close", lambda: None)()


def passes(store, *limits, times=1, **more):
    """How many of equal requests pass."""
    return sum(not store.ask(rate(*limits, **more)).over for _ in range(times))


# A window.


def test_the_limit_passes_and_no_more(store):
    """The one after it holds, and says how long."""
    assert passes(store, (100, HOUR_S), times=150) == 100
    answer = store.ask(rate((100, HOUR_S)))
    assert answer.windows == ((100, 100, HOUR_S),)
    assert HOUR_S < answer.wait_s <= HOUR_S * 17 / 16 + 1


def test_it_passes_again_after_the_seconds_that_it_said(store, clock):
    """And not a second earlier."""
    clock.at(1234.5)
    passes(store, (3, HOUR_S), times=3)
    wait_s = store.ask(rate((3, HOUR_S))).wait_s
    clock.wait(wait_s - 1)
    assert store.ask(rate((3, HOUR_S))).over
    clock.wait(1)
    assert not store.ask(rate((3, HOUR_S))).over


def test_a_refused_client_that_retries_each_second_becomes_free(store, clock):
    """What the ACL holds for is not counted, so retrying prolongs nothing (rspamd#1498)."""
    passes(store, (10, 60), times=10)
    waited_s = 0
    while store.ask(rate((10, 60))).over:
        clock.wait(1)
        waited_s += 1
    assert waited_s <= 60 * 17 / 16 + 1


def test_refused_requests_count_where_the_policy_says_so(store, clock):
    """Then a client that goes on stays refused."""
    passes(store, (10, 60), times=10)
    for _ in range(200):
        clock.wait(1)
        assert passes(store, (10, 60), refused_counts=True) == 0 or clock.now_s - START_S > 60
    assert store.ask(rate((10, 60), refused_counts=True)).over


def test_what_one_window_refuses_counts_in_none(store, clock):
    """A full hour does not use up the day."""
    limits = (10, HOUR_S), (30, DAY_S)
    assert passes(store, *limits, times=1000) == 10
    assert store.peek(rate(*limits)).used == (10, 10)
    clock.wait(HOUR_S * 17 / 16)
    assert passes(store, *limits, times=1000) == 10
    clock.wait(HOUR_S * 17 / 16)
    assert passes(store, *limits, times=1000) == 10
    clock.wait(HOUR_S * 17 / 16)
    assert passes(store, *limits, times=1000) == 0
    assert store.ask(rate(*limits)).wait_s > 12 * HOUR_S


def test_a_changed_limit_keeps_what_was_counted(store):
    """Another window, count or key begins anew."""
    passes(store, (10, HOUR_S), times=8)
    assert store.peek(rate((5, HOUR_S))).used == (8,)
    assert store.peek(rate((10, DAY_S))).used == (0,)
    assert store.peek(rate((10, HOUR_S), counting="recipients")).used == (0,)
    assert store.peek(rate((10, HOUR_S), key=("b@example.com",))).used == (0,)


def test_a_limit_of_nothing_holds_always(store):
    """For whatever counts."""
    assert passes(store, (0, HOUR_S), times=3) == 0
    assert passes(store, (0, HOUR_S), amount=0) == 1


def test_an_amount_above_its_limit_never_passes(store):
    """Twenty recipients at once with ten an hour."""
    answer = store.ask(rate((10, HOUR_S), amount=20, counting="recipients"))
    assert answer.over
    assert answer.wait_s >= 1
    assert passes(store, (10, HOUR_S), amount=10, counting="recipients") == 1


@pytest.mark.parametrize("counting", ["bytes", "messages"])
def test_amounts_that_no_count_can_hold_are_counted_as_the_most(store, counting):
    """Whatever a request says, a worker does not die of it."""
    most = (1 << 90, HOUR_S)
    assert passes(store, most, amount=1 << 70, counting=counting, times=3) == 3
    assert store.peek(rate((1000, HOUR_S), counting=counting)).over


def test_gigabytes_are_counted_exactly(store):
    """Sizes have 64 bits."""
    assert passes(store, (50 << 30, DAY_S), amount=10 << 30, counting="bytes", times=7) == 5


def test_a_peek_counts_nothing(store):
    """`explain` shows what `ask` would say."""
    passes(store, (3, HOUR_S), times=2)
    assert [store.peek(rate((3, HOUR_S))).used for _ in range(3)] == [(2,)] * 3
    assert not store.ask(rate((3, HOUR_S))).over


# Against the exact log.

GAPS = st.one_of(st.floats(0, 5), st.floats(0, 80), st.sampled_from([0, 60, 3.75, 63.75, 1000]))
REQUESTS = st.lists(st.tuples(GAPS, st.integers(1, 4)), min_size=1, max_size=60)


def assert_between(clock, limits, log, answer, amount):
    """It passes only if the log of each window allows it, and surely if the log of a sixteenth more does."""
    for most, window_s in limits:
        in_window = sum(number for at_s, number in log if at_s > clock.now_s - window_s)
        in_more = sum(number for at_s, number in log if at_s > clock.now_s - window_s * 17 / 16 - 1e-3)
        assert answer.over or in_window + amount <= most
        if answer.over and in_more + amount > most:
            return
    assert not answer.over


def run_against_log(store, clock, requests, limits=((10, 60), (25, 300))):
    """The requests of a stream against a store and an exact log."""
    log = []
    for gap_s, amount in requests:
        clock.wait(gap_s)
        answer = store.ask(rate(*limits, amount=amount))
        assert_between(clock, limits, log, answer, amount)
        if not answer.over:
            log.append((clock.now_s, amount))


@given(REQUESTS, st.floats(0, 100))
def test_no_window_has_more_than_its_limit_in_memory(requests, offset):
    """Whatever arrives, and wherever a window's slots begin."""
    clock = Clock(START_S + offset)
    run_against_log(MemoryStore(clock), clock, requests)


@settings(max_examples=25)
@given(st.data())
def test_no_window_has_more_than_its_limit_in_the_map(shared_map, data):
    """The same in the map that workers share: a far later time each, in which nothing counts any more."""
    store, clock = shared_map
    clock.wait(100_000)
    run_against_log(store, clock, data.draw(REQUESTS))


@pytest.fixture(scope="module")
def shared_map(tmp_path_factory):
    clock = Clock()
    store = make_store("live map", clock, tmp_path_factory.mktemp("rate") / "live")
    yield store, clock
    store.close()


@given(st.lists(st.tuples(GAPS, st.floats(-500, 500)), min_size=1, max_size=60))
def test_a_clock_that_jumps_lets_no_more_through_in_real_time(steps):
    """Set back or forward, no window of real time has more where it goes back, and nobody waits for longer than one."""
    clock, real_s, passed = Clock(), 0.0, []
    store = MemoryStore(clock)
    for gap_s, jump_s in steps:
        clock.wait(gap_s)
        real_s += gap_s
        clock.wait(min(0, jump_s))
        if not store.ask(rate((5, 60))).over:
            passed.append(real_s)
            assert sum(at_s > real_s - 60 for at_s in passed) <= 5
    clock.wait(60 * 17 / 16)
    assert not store.ask(rate((5, 60))).over


def test_a_clock_set_back_to_later_in_a_slot_lets_no_more_through(store, clock):
    """A slot has a second here. The first passes at the end of one, and is 0.01 s old when the clock goes back."""
    clock.at(0.99)
    assert not store.ask(rate((2, 16))).over
    clock.at(1)
    assert not store.ask(rate((2, 16))).over
    clock.at(-3.01)
    assert store.ask(rate((2, 16))).over
    clock.wait(15.02)
    assert store.ask(rate((2, 16))).over
    clock.wait(2)
    assert not store.ask(rate((2, 16))).over


def poisson(rng, per_hour, hours):
    at_s = 0.0
    while at_s < hours * HOUR_S:
        at_s += rng.expovariate(per_hour / HOUR_S)
        yield at_s


def streams():
    """The five of the design's table: each with the least share of the exact log's passes that it must reach."""
    rng = random.Random(5)
    border = [hour * HOUR_S + at_s for hour in range(1, 40) for at_s in [*range(-100, 0), *range(100)]]
    office = sorted(
        day * DAY_S + rng.uniform(9, 17) * HOUR_S + at_s for day in range(5) for _ in range(40) for at_s in range(30)
    )
    return {
        "flood": (range(8 * HOUR_S), 0.9),
        "border": (border, 0.6),
        "poisson 0.9": (list(poisson(rng, 90, 100)), 0.97),
        "poisson 1.5": (list(poisson(rng, 150, 100)), 0.93),
        "office": (office, 0.9),
    }


@pytest.mark.parametrize("name", ["flood", "border", "poisson 0.9", "poisson 1.5", "office"])
def test_a_hundred_an_hour(name):
    """Never more in any hour, and not many less than the exact log lets through."""
    arrivals, least_share = streams()[name]
    clock = Clock()
    store = MemoryStore(clock)
    ours, exact = [], []
    for at_s in arrivals:
        clock.at(at_s)
        if not store.ask(rate((100, HOUR_S))).over:
            ours.append(at_s)
        if len(exact) < 100 or exact[-100] <= at_s - HOUR_S:
            exact.append(at_s)
    assert all(later - first >= HOUR_S for first, later in itertools.pairwise(ours[::100]))
    assert all(ours[at + 100] - ours[at] >= HOUR_S for at in range(len(ours) - 100))
    assert len(ours) >= least_share * len(exact)


# Instances.


def ask_of(store, instance, item="", amount=1, most=1000, **more):
    return store.ask(rate((most, HOUR_S), amount=amount, instance=instance, item=item, **more))


def used(store, **more):
    return store.peek(rate((1000, HOUR_S), **more)).used[0]


def test_a_message_counts_once(store):
    """Five recipients, DATA and END-OF-MESSAGE are one message; the next transaction is another."""
    for _ in range(7):
        assert not ask_of(store, "a.1.0", counting="messages").over
    assert used(store, counting="messages") == 1
    ask_of(store, "a.2.0", counting="messages")
    assert used(store, counting="messages") == 2


def test_each_recipient_of_a_message_counts_once(store):
    """Also when Postfix repeats a request; DATA counts what no RCPT has counted."""
    for recipient in "abcab":
        ask_of(store, "a.1.0", recipient, counting="recipients")
    assert used(store, counting="recipients") == 3
    ask_of(store, "a.1.0", "", 5, counting="recipients", is_total=True)
    assert used(store, counting="recipients") == 5
    ask_of(store, "a.1.0", "", 5, counting="recipients", is_total=True)
    assert used(store, counting="recipients") == 5


def test_a_policy_that_asks_at_data_alone_counts_all_recipients(store):
    """Once, with END-OF-MESSAGE."""
    ask_of(store, "a.1.0", "DATA", 5, counting="recipients", is_total=True)
    ask_of(store, "a.1.0", "END-OF-MESSAGE", 5, counting="recipients", is_total=True)
    assert used(store, counting="recipients") == 5


def test_the_size_of_a_message_counts_once(store):
    """However often it is asked."""
    for _ in range(3):
        ask_of(store, "a.1.0", "size", 12345, most=20000, counting="bytes")
    assert used(store, counting="bytes") == 12345


def test_without_an_instance_each_request_counts(store):
    """Requests of a Postfix that sends none."""
    for _ in range(3):
        ask_of(store, "", "a", counting="messages")
    assert used(store, counting="messages") == 3


def test_a_repeated_request_gets_the_same_answer(store):
    """Postfix asks again on a new connection: what passed passes though the limit is reached by now."""
    assert not ask_of(store, "a.1.0", most=1, counting="messages").over
    assert ask_of(store, "b.1.0", most=1, counting="messages").over
    assert not ask_of(store, "a.1.0", most=1, counting="messages").over
    assert ask_of(store, "b.1.0", most=1, counting="messages").over


def test_a_held_request_is_asked_anew(store, clock):
    """It has counted nothing, so it passes when there is room."""
    ask_of(store, "a.1.0", most=1, counting="messages")
    held = ask_of(store, "b.1.0", most=1, counting="messages")
    clock.wait(held.wait_s)
    assert not ask_of(store, "b.1.0", most=1, counting="messages").over


def test_a_held_request_that_counted_holds_again_and_counts_once(store):
    """With `refused=count`."""
    ask_of(store, "a.1.0", most=1, counting="messages", refused_counts=True)
    for _ in range(3):
        answer = ask_of(store, "b.1.0", most=1, counting="messages", refused_counts=True)
        assert answer.over
        assert answer.wait_s >= 1
    assert used(store, counting="messages") == 2


def test_many_messages_in_flight_on_one_key(store):
    """50 of 20 recipients, round robin, each request repeated: nothing is pushed out of memory."""
    for recipient in range(20):
        for message in range(50):
            for _ in range(2):
                ask_of(store, f"a.{message}.0", f"r{recipient}", counting="recipients")
    assert used(store, counting="recipients") == 1000
    for message in range(50):
        ask_of(store, f"a.{message}.0", "", 20, counting="recipients", is_total=True)
    assert used(store, counting="recipients") == 1000


def test_an_instance_is_remembered_for_an_hour_after_its_last_request(store, clock):
    """Each request begins the hour anew."""
    limit = {"counting": "messages", "most": 1000}
    ask_of(store, "a.1.0", **limit)
    for _ in range(3):
        clock.wait(3599)
        ask_of(store, "a.1.0", **limit)
    assert store.peek(rate((1000, DAY_S), counting="messages")).used == (0,)
    counted = [key for key, _ in store.walk(b"i", b"", 10)]
    assert len(counted) == 1
    clock.wait(3601)
    assert store.walk(b"i", b"", 10) == []


def test_two_keys_of_one_message_count_each(store):
    """`rate {recipient}`: a message to two recipients is one message for each of them."""
    for recipient in "ab":
        ask_of(store, "a.1.0", counting="messages", key=(recipient,))
    assert [used(store, counting="messages", key=(recipient,)) for recipient in "ab"] == [1, 1]


def test_a_message_of_very_many_recipients_counts_them_all(store):
    """More than one instance remembers: the total stays right."""
    for number in range(5000):
        ask_of(store, "a.1.0", str(number), most=10**6, counting="recipients")
    answer = ask_of(store, "a.1.0", "", 5001, most=10**6, counting="recipients", is_total=True)
    assert answer.used == (5000,)
    assert store.peek(rate((10**6, HOUR_S), counting="recipients")).used == (5001,)


def test_limits_are_hashable_with_their_question():
    """Equal questions of one request are asked once."""
    assert hash(rate((1, 60))) == hash(rate((1, 60)))
    assert rate((1, 60)).limits == (Limit(1, 60),)
