"""Whatever is sent between processes is a message of the vocabulary or refused with the field's name; nothing else."""

from __future__ import annotations

import math
import os
import re

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forkpolicy import link
from forkpolicy.documents import GREATEST_INT, LEAST_INT, plain
from forkpolicy.link import Decoder, InvalidMessageError
from forkpolicy.messages import FROM_LOADER, TO_MASTER, TO_WORKER

EXAMPLES = settings(max_examples=int(os.environ.get("FORKPOLICY_EXAMPLES", "800")), deadline=None)
# A byte of a file's name that is no UTF-8 is a lone surrogate of this range.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]) | st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF))
st.register_type_strategy(str, TEXTS)
st.register_type_strategy(int, st.integers(LEAST_INT, GREATEST_INT))
st.register_type_strategy(float, st.floats(allow_nan=False, allow_infinity=False))

VOCABULARIES = {"to worker": TO_WORKER, "to master": TO_MASTER, "from loader": FROM_LOADER}


def messages_of(vocabulary):
    return st.one_of(*(st.builds(kind) for kind in vocabulary.kinds.values()))


SENT = st.sampled_from(list(VOCABULARIES.values())).flatmap(
    lambda each: st.tuples(st.just(each), st.lists(messages_of(each), max_size=4))
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(LEAST_INT, GREATEST_INT) | st.floats() | TEXTS | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=8,
)


@EXAMPLES
@given(SENT, st.integers(1, 40))
def test_messages_survive_any_split(sent, size):
    """Whole, byte by byte, anything in between."""
    vocabulary, messages = sent
    stream = b"".join(link.encode(message) for message in messages)
    decoder = Decoder(vocabulary)
    assert [each for at in range(0, len(stream), size) for each in decoder.feed(stream[at : at + size])] == messages


@EXAMPLES
@given(st.binary(max_size=60))
def test_any_bytes_are_messages_or_refused(data):
    """No other exception, whatever the bytes are."""
    try:
        Decoder(TO_MASTER).feed(data)
        Decoder(TO_MASTER).feed(len(data).to_bytes(4, "big") + data)
    except InvalidMessageError:
        return


def places(value, path=()):
    """Every place of a plain value, as the keys that lead to it."""
    yield path
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in children:
        yield from places(each, (*path, key))


def put(value, path, other):
    """The value with something else at one place."""
    if not path:
        return other
    copied = dict(value) if isinstance(value, dict) else list(value)
    copied[path[0]] = put(value[path[0]], path[1:], other)
    return copied


@EXAMPLES
@given(messages_of(TO_MASTER), ANYTHING, st.data())
def test_a_wrong_value_anywhere_is_refused_with_its_field(message, other, data):
    """Or it is as good there as what it replaces, and arrives."""
    fields = msgpack.unpackb(msgpack.packb(plain(message), unicode_errors=link.NAMES), unicode_errors=link.NAMES)
    path = data.draw(st.sampled_from(sorted(places(fields), key=repr)))
    packed = msgpack.packb([link.VERSION, type(message).__name__, put(fields, path, other)], unicode_errors=link.NAMES)
    reason = ""
    try:
        assert type(TO_MASTER.decode(packed)) is type(message)
    except InvalidMessageError as error:
        reason = str(error)
    assert not reason or reason.startswith(f"{type(message).__name__}: {path[0] if path else ''}")


TABLE = {"name": "a", "kind": "cidr", "version": "", "entries": 1, "created": 0.5, "inode": 1, "refused": ""}
WRONG = [
    ([link.VERSION, "Retiring", {}], "Retiring: reason: is missing"),
    ([link.VERSION, "Retiring", {"reason": None}], "Retiring: reason: expected a text, found None"),
    ([link.VERSION, "Retiring", {"reason": "age", "how": 1}], "Retiring: 'how': is not a field"),
    ([link.VERSION, "Retiring", ["age"]], "Retiring: the document: expected a map, found a list"),
    ([link.VERSION, "Hurry", {}], "unknown message 'Hurry'"),
    ([link.VERSION + 1, "Retiring", {"reason": "age"}], f"version {link.VERSION + 1}, expected {link.VERSION}"),
    ([link.VERSION, "Retiring"], "expected a version, a name and fields"),
    ({"is": "ready"}, "expected a version, a name and fields"),
    ([link.VERSION, "Prepared", {"generation": True, "diagnostics": []}], "Prepared: generation: expected a whole"),
    (
        [link.VERSION, "Prepared", {"generation": 1, "diagnostics": ["a", 7]}],
        "Prepared: diagnostics[1]: expected a text",
    ),
    ([link.VERSION, "Prepared", {"generation": 1, "diagnostics": "a"}], "Prepared: diagnostics: expected a list"),
    (
        [link.VERSION, "Ready", {"state": {"tables": [TABLE, {**TABLE, "created": math.nan}]}}],
        "Ready: state.tables[1].created: expected a number, found nan",
    ),
    (
        [
            link.VERSION,
            "Ready",
            {"state": {"shadow": {"compared": 1, "differs": 0, "failed": 0, "pairs": {"a": -0.5}}}},
        ],
        "Ready: state.shadow.pairs['a']: expected a whole number of 64 bits, found -0.5",
    ),
    ([link.VERSION, "Prepared", {"generation": 1, "diagnostics": [""] * ((1 << 16) + 1)}], "not msgpack: "),
    ([link.VERSION, "Retiring", {"reason": "a" * (1 << 22)}], "bytes, expected 4194304 at most"),
]


@pytest.mark.parametrize(("frame", "reason"), WRONG, ids=[reason for _, reason in WRONG])
def test_what_is_wrong_is_named(frame, reason):
    """Message, field, what was expected and what stands there."""
    packed = msgpack.packb(frame)
    with pytest.raises(InvalidMessageError, match=re.escape(reason)):
        Decoder(TO_MASTER).feed(len(packed).to_bytes(4, "big") + packed)


def test_a_message_of_absurd_length_is_refused_before_it_comes():
    """Memory is not spent on it."""
    with pytest.raises(InvalidMessageError, match="4294967295 bytes, expected 4194304 at most"):
        Decoder(TO_MASTER).feed(b"\xff\xff\xff\xff")
