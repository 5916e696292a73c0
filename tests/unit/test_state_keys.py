"""Keys of records: what is a prefix of what, and how long they may be."""

from hypothesis import given
from hypothesis import strategies as st

from forkpolicy.state import keys

TEXTS = st.text(st.characters(exclude_categories=()), max_size=60) | st.sampled_from(
    ["", "\0", "a\0b", "x" * 900, "\udcff"]
)
PARTS = st.lists(TEXTS, min_size=1, max_size=3)
SUFFIX = b"messages/3600,86400"


def test_a_key_is_shown_in_clear():
    """Kind, name, parts and what else tells it apart."""
    key = keys.make(keys.RATE, "busy", ("a@example.com", "192.0.2.0/24"), SUFFIX)
    assert keys.show(key) == ("rate", "busy", ("a@example.com", "192.0.2.0/24"), SUFFIX.decode(), False)


def test_a_name_is_not_a_prefix_of_a_longer_one():
    """`reset busy` leaves `busy2` alone."""
    assert not keys.make(keys.RATE, "busy2", ("a",)).startswith(keys.prefix(keys.RATE, "busy"))


@given(PARTS)
def test_keys_fit_into_lmdb_with_what_belongs_to_them(parts):
    """511 bytes at most, whatever came in, and all parts are its prefix."""
    key = keys.make(keys.GREYLISTING, "g" * 60, parts, SUFFIX)
    assert key.startswith(keys.prefix(keys.GREYLISTING, "g" * 60, parts))
    assert len(keys.with_suffix(key, "instance" * 100)) <= keys.LONGEST_BYTES


@given(PARTS, PARTS)
def test_other_parts_are_another_key(one, other):
    """Also with a NUL in a value, and with values that are not UTF-8."""
    equal = keys.make(keys.RATE, "a", one, SUFFIX) == keys.make(keys.RATE, "a", other, SUFFIX)
    assert equal == (one == other)


@given(PARTS)
def test_short_parts_are_read_back(parts):
    """What is shown is what was asked, unless it was too long."""
    shown = keys.show(keys.make(keys.LISTED, "bad", parts))
    assert shown.is_digest or shown.parts == tuple(parts)
