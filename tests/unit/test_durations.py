"""Durations as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forkpolicy.durations import LONGEST_S, parse_duration, show_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("5m", 300), ("2h", 7200), ("7d", 604800), ("4m50s", 290), ("1D12H", 129600), ("0s", 0)],
)
def test_a_number_and_its_unit(text, seconds):
    """One unit or several, in either case."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "m", "5x", "1.5h", "-5m", "5 m", "50s4m", "٣s", "36501d", "9" * 5000 + "s"])
def test_what_is_not_a_duration_is_refused(text):
    """The message says what was expected."""
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


def test_a_bare_number_is_asked_back():
    """Seconds are the likeliest meaning."""
    with pytest.raises(ValueError, match="did you mean 300s"):
        parse_duration("300")


@given(st.integers(0, LONGEST_S))
def test_what_is_shown_is_read_back(seconds):
    """Showing and reading are inverse."""
    assert parse_duration(show_duration(seconds)) == seconds
