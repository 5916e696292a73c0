"""The known name that a word was meant to be: what difflib finds, without difflib where no name can be like it."""

from __future__ import annotations

import difflib
import random

import pytest

from forkpolicy.errors import nearest

ALPHABET = "abc-"


def word(chance):
    return "".join(chance.choices(ALPHABET, k=chance.randrange(7)))


@pytest.mark.parametrize("likeness", [0.5, 0.6, 0.65, 1.0])
def test_it_is_what_difflib_finds(likeness):
    """Of random words and names, some of which are alike, at each likeness that is asked for."""
    chance = random.Random(1)
    found = set()
    for _ in range(2000):
        meant, names = word(chance), [word(chance) for _ in range(3)]
        expected = difflib.get_close_matches(meant, names, n=1, cutoff=likeness)
        assert nearest(meant, names, likeness) == (expected[0] if expected else None), (meant, names)
        found.add(bool(expected))
    assert found == {True, False}
