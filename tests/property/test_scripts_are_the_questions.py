"""The scripts of an engine are the questions in Lua: whatever is asked when, answers and records are those of memory.

The scripts are the real ones but for their first line: `now` comes from a key that the test sets, not from TIME.
"""

from __future__ import annotations

import os

from hypothesis import given, settings
from hypothesis import strategies as st

from forkpolicy.state.memory import MemoryStore
from forkpolicy.state.questions.distinct import Distinct
from forkpolicy.state.questions.greylisting import Greylisting
from forkpolicy.state.questions.listed import Forget, Listed, Remember
from forkpolicy.state.questions.rate import COUNTINGS, MOST_AMOUNT, Limit, Rate
from forkpolicy.state.store import expiry_of
from tests.redis_servers import AHEAD_S, clocked_store, needs_redis
from tests.stores import START_S, Clock

pytestmark = needs_redis
# FORKPOLICY_SLOW=1 looks longer.
EXAMPLES = 5000 if os.environ.get("FORKPOLICY_SLOW") else 1000

# With all that a key may have: the signs of tags and patterns, NULs, what is not UTF-8, too much.
TEXTS = st.sampled_from(["a@example.com", "b}{", "*?[a]\\", "", "x\0y", "\udcff\udce9", "long" * 200])
NAMES = st.sampled_from(["busy", "n" * 70])
KEYS = st.lists(TEXTS, min_size=1, max_size=2).map(tuple)
WINDOWS_S = st.lists(st.sampled_from([16, 60, 61, 3600, 86400 * 400]), min_size=1, max_size=3, unique=True)
AMOUNTS = st.one_of(st.integers(0, 6), st.sampled_from([1 << 31, (1 << 32) - 1, 1 << 33, MOST_AMOUNT - 1, MOST_AMOUNT]))
SMALL = st.integers(0, 3)


# Each draws what an ACL and a key are, and gives the questions that it then asks about them, and times that matter.


@st.composite
def rates(draw):
    limits = tuple(Limit(draw(AMOUNTS), window_s) for window_s in draw(WINDOWS_S))
    same = draw(NAMES), draw(KEYS), limits, draw(st.sampled_from(COUNTINGS))
    instances = st.sampled_from(draw(st.sampled_from([("",), ("1.a", "2.b"), ("", "i" * 600)])))
    questions = st.builds(
        Rate,
        *map(st.just, same),
        draw(st.sampled_from([SMALL, AMOUNTS])),
        instances,
        st.sampled_from(["", "a", "b", "\udcff"]),
        st.just(draw(st.booleans())),
        st.just(draw(st.booleans())),
    )
    return questions, [limit.window_s / part for limit in limits for part in (1, 16)]


@st.composite
def greylistings(draw):
    times_s = draw(st.sampled_from([16, 60])), draw(st.sampled_from([60, 600])), draw(st.sampled_from([60, 3600]))
    questions = st.builds(
        Greylisting,
        *map(st.just, (draw(NAMES), "192.0.2.0/24")),
        st.sampled_from(["<>", draw(TEXTS)]),
        st.just(draw(TEXTS)),
        *map(st.just, (*times_s, draw(SMALL), draw(st.booleans()))),
    )
    return questions, [*times_s, 3600]


@st.composite
def distincts(draw):
    most, window_s = draw(st.integers(1, 3)), draw(st.sampled_from([1, 60, 3600]))
    same = map(st.just, (draw(NAMES), draw(KEYS)))
    return st.builds(Distinct, *same, st.sampled_from("abcde"), st.just(most), st.just(window_s)), [window_s, 1]


@st.composite
def lists(draw):
    same, durations_s = (draw(NAMES), draw(KEYS)), [1, 60, 86400 * 36500]
    remembered = st.sampled_from(durations_s).map(lambda duration_s: Remember(*same, duration_s))
    return st.one_of(st.just(Listed(*same)), remembered, st.just(Forget(*same))), durations_s[:2]


@st.composite
def histories(draw):
    """Seconds to each question, often to where a slot, a window or a wait ends or back by as much, and the question."""
    kinds = st.sampled_from([(rates(),), (greylistings(),), (distincts(),), (lists(),), (rates(), distincts())])
    asked = [draw(kind) for kind in draw(kinds)]
    times_s = sorted({time_s for _, times_s in asked for time_s in times_s})
    meeting = [0.0, 0.5, *times_s, *(-time_s for time_s in times_s)]
    gaps_s = st.one_of(st.sampled_from(meeting), st.floats(0, 2 * times_s[0]), st.floats(-times_s[0], 2 * times_s[-1]))
    return draw(st.lists(st.tuples(gaps_s, st.one_of(*[questions for questions, _ in asked])), min_size=1, max_size=40))


def records_of(store):
    return store.walk(b"", b"", 10_000)


@settings(max_examples=EXAMPLES)
@given(histories(), st.sampled_from([0.0, 0.3, 7.75, 12.0]))
def test_answers_and_records_are_those_of_memory(steps, offset_s):
    """Also what is peeked; and the engine forgets each record when the record says so."""
    clock = Clock(START_S + offset_s)
    memory, engine = MemoryStore(clock), clocked_store(clock)
    for gap_s, question in steps:
        clock.wait(gap_s)
        assert engine.peek(question) == memory.peek(question)
        assert engine.ask(question) == memory.ask(question)
    records = records_of(memory)
    assert records_of(engine) == records
    for key, record in records:
        upper = key[: key.rfind(b"\0", 0, -1) + 1]
        assert (key, record) in engine.walk(upper, b"", 10_000)
    for engine_key in engine._client.scan_iter(match="forkpolicy:*"):
        expiry_s = expiry_of(engine._client.get(engine_key))
        assert engine._client.expiretime(engine_key) == expiry_s + AHEAD_S
    engine.close()
