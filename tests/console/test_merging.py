"""Differences and merges of texts by lines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forkpolicy.console.change import merging
from forkpolicy.console.change.merging import difference, lines_of, merge, tidy

BASE = "a\nb\nc\nd\n"
texts = st.lists(st.sampled_from("abcd"), max_size=12).map(lambda lines: "".join(f"{line}\n" for line in lines))


@pytest.mark.parametrize(
    ("mine", "theirs", "merged"),
    [
        ("a\nX\nb\nc\nd\n", "a\nb\nc\nd\nY\n", "a\nX\nb\nc\nd\nY\n"),
        ("b\nc\nd\n", "a\nb\nc\n", "b\nc\n"),
        ("a\nX\nc\nd\n", "a\nX\nc\nd\n", "a\nX\nc\nd\n"),
        ("a\nc\nd\n", "a\nb\nX\nc\nd\n", "a\nX\nc\nd\n"),
        ("a\nb\nd\n", "a\nb\nX\nc\nd\n", "a\nb\nX\nd\n"),
        (BASE, "", ""),
        ("a\nB\nc\nd\n", "a\nb\nC\nd\n", "a\nB\nC\nd\n"),
    ],
)
def test_changes_of_other_lines_are_merged(mine, theirs, merged):
    """Also of lines next to each other, and the same change once."""
    assert merge(BASE, mine, theirs) == merging.Merged(merged, ())


@pytest.mark.parametrize(
    ("mine", "theirs", "base"),
    [
        ("a\nX\nc\nd\n", "a\nY\nc\nd\n", ("b",)),
        ("a\nX\nc\nd\n", "a\nc\nd\n", ("b",)),
        (f"{BASE}X\n", f"{BASE}Y\n", ()),
        ("a\nd\n", "a\nb\nX\nc\nd\n", ("b", "c")),
    ],
)
def test_changes_of_the_same_lines_are_not(mine, theirs, base):
    """The text has both for a person to look at."""
    found = merge(BASE, mine, theirs)
    (conflict,) = found.conflicts
    assert conflict.base == base
    assert (*conflict.theirs, *conflict.mine) in {
        tuple(lines_of(found.text)[at : at + len(conflict.theirs) + len(conflict.mine)]) for at in range(6)
    }


@given(texts, texts)
def test_one_change_is_itself(base, mine):
    """Whichever side it is on; and who undoes it at once gets the base again."""
    assert merge(base, mine, base) == merging.Merged(mine, ())
    assert merge(base, base, mine) == merging.Merged(mine, ())
    assert merge(mine, mine, base) == merging.Merged(base, ())
    assert merge(base, mine, mine) == merging.Merged(mine, ())


@given(texts, texts, st.integers(0, 3))
def test_a_difference_makes_one_text_of_the_other(before, after, context):
    """Its lines have the numbers that they have in both texts."""
    one, other = lines_of(before), lines_of(after)
    groups = difference(before, after, context)
    for line in (line for group in groups for line in group):
        assert line.sign == "+" or one[line.before - 1] == line.text
        assert line.sign == "-" or other[line.after - 1] == line.text
    gone = {line.before - 1 for group in groups for line in group if line.sign == "-"}
    new = {line.after - 1 for group in groups for line in group if line.sign == "+"}
    assert [each for at, each in enumerate(one) if at not in gone] == [
        each for at, each in enumerate(other) if at not in new
    ]
    numbers = [line.before for group in groups for line in group if line.before]
    assert numbers == sorted(set(numbers))


def test_very_different_texts_take_no_long_time():
    """Many lines without one in common are one block."""
    before, after = ("".join(f"{name}{number}\n" for number in range(4000)) for name in "ab")
    (group,) = difference(before, after)
    assert len(group) == 8000


def test_a_text_of_a_browser_becomes_one_of_a_file():
    """Line ends, and the last one."""
    assert (tidy("a\r\nb"), tidy("a\rb\n"), tidy("")) == ("a\nb\n", "a\nb\n", "")
