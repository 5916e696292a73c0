"""The first diagnostics of many, however they come."""

from __future__ import annotations

import random

from forkpolicy.compile.diagnostics import MAX_DIAGNOSTICS, FirstDiagnostics
from forkpolicy.errors import Diagnostic


def diagnostic(line: int) -> Diagnostic:
    return Diagnostic("list", line, 1, "wrong")


def test_the_first_by_line_of_several_parts_that_come_in_any_order() -> None:
    """As children find them: each its part, in an order of its own; all are counted."""
    lines = list(range(1, 3001))
    random.Random(1).shuffle(lines)
    whole = FirstDiagnostics()
    for part in (lines[:1500], lines[1500:1600], lines[1600:]):
        found = FirstDiagnostics()
        for line in part:
            found.add(line, lambda line=line: diagnostic(line))  # type: ignore[misc]
        whole.add_all(found)
    assert [each.line for each in whole.diagnostics] == list(range(1, MAX_DIAGNOSTICS + 1))
    assert (whole.count, whole.unshown) == (3000, 3000 - MAX_DIAGNOSTICS)


def test_diagnostics_without_a_line_stay_in_their_order() -> None:
    """Rows of a database have no lines: the first that came are the first."""
    found = FirstDiagnostics()
    for number in range(1000):
        found.add(0, lambda number=number: diagnostic(number))  # type: ignore[misc]
    assert [each.line for each in found.diagnostics] == list(range(MAX_DIAGNOSTICS))


def test_what_is_not_among_the_first_is_not_made() -> None:
    """A million wrong lines cost a comparison each."""
    found, made = FirstDiagnostics(), []
    for line in range(10 * MAX_DIAGNOSTICS):
        found.add(line, lambda line=line: made.append(line) or diagnostic(line))  # type: ignore[misc,func-returns-value]
    assert len(made) == 2 * MAX_DIAGNOSTICS
    assert found.count == 10 * MAX_DIAGNOSTICS
    assert found.unshown == 9 * MAX_DIAGNOSTICS
