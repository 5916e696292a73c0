"""A line of words: split, joined, and what each means."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forkpolicy.history.asking.words import line_of, meaning_of, name_of, with_word, words_in
from tests.history_logs import NOON_S


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("to:anna@example.com since:2h", ["to:anna@example.com", "since:2h"]),
        ('~"two words"  from:<>', ["~two words", "from:<>"]),
        ("login:'two words'", ["login:two words"]),
        ("o'brien@example.com d'or@example.com", ["o'brien@example.com", "d'or@example.com"]),
        ('"anna', ['"anna']),
        (r"login:\xff\\", [r"login:\xff\\"]),
        ("", []),
    ],
)
def test_a_line_has_words(line, words):
    """Quotes hold blanks together, and count only where a value begins."""
    assert words_in(line) == words


@given(
    st.lists(
        st.builds("{}{}".format, st.sampled_from(["to:", "~", ""]), st.text(st.characters(codec="utf-8"), min_size=1))
    )
)
def test_a_line_is_its_words(words):
    """Back and forth, but for what nobody can quote."""
    words = [each for each in words if not ("'" in each and '"' in each) and not each.startswith(("'", '"'))]
    words = [each for each in words if each not in ("to:", "~")]
    assert words_in(line_of(words)) == words


@pytest.mark.parametrize(
    ("word", "meaning"),
    [
        ("to:anna@example.com", "recipient anna@example.com"),
        ("anna@example.com", "sender, recipient or login anna@example.com"),
        ("from:@example.com", "sender in the domain example.com"),
        ("from:<>", "sender is the null sender"),
        ("login:an*", "login begins with an"),
        ("192.0.2.0/24", "client 192.0.2.0 to 192.0.2.255"),
        ("client:2001:db8::1", "client 2001:db8::1"),
        ("rule:policy.conf:7", "rule policy.conf:7"),
        ("action:4NN", "action 4NN"),
        ("queue:4F2A", "queue id 4F2A"),
        ("~two words", "its line contains two words"),
        ("since:2h", "since 2026-11-28 10:00 UTC"),
        ("until:2026-11-28T09:30+00:00", "until 2026-11-28 09:30 UTC"),
    ],
)
def test_a_word_means_something(word, meaning):
    """As the page says it."""
    assert meaning_of(word, NOON_S) == meaning


def test_a_word_takes_the_place_of_its_like():
    """One filter of a kind: a click on another client is no search for both."""
    assert with_word(["to:a@example.com", "client:192.0.2.1"], "client:192.0.2.2") == [
        "to:a@example.com",
        "client:192.0.2.2",
    ]
    assert with_word(["recipient:a@example.com"], "to:b@example.com") == ["to:b@example.com"]
    assert with_word(["example.com"], "example.org") == ["example.com", "example.org"]
    assert name_of("anna@example.com") == ""
