"""docs/personal-data.md names every kind of copy that the code knows, and says the same of it."""

from __future__ import annotations

from pathlib import Path

from forkpolicy.history.personal.copies import COPIES

PAGE = Path(__file__).parents[2] / "docs" / "personal-data.md"


def words(has_it, by_hand):
    """What the page says in a column."""
    return "yes" if has_it else by_hand


def test_the_page_and_the_code_list_the_same_copies():
    """In the same order, with what export and forget do."""
    rows = [line.strip("| ").split(" | ") for line in PAGE.read_text().splitlines() if line.startswith("| ")][1:]
    expected = [
        [
            copy.name,
            words(copy.is_exported, "no" if copy.by_hand else "no address"),
            words(copy.is_forgotten, "by hand" if copy.by_hand else "no address"),
        ]
        for copy in COPIES
    ]
    assert [[row[0], *row[-2:]] for row in rows] == expected
