"""The first diagnostics of many, however they come."""

from __future__ import annotations

import random

from forkpolicy.compile.diagnostics import MAX_DIAGNOSTICS, FirstDiagnostics
from forkpolicy.errors import MAX_MESSAGE_CHARS, Diagnostic


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


def test_what_another_wrote_gives_the_terminal_no_orders() -> None:
    """A stranger's list, and what a server says, stand in messages: `?` for each control, below the caret too."""
    wrong = Diagnostic("list", 1, 7, "a \x1b]0;x\x07 b\r\nforged:1: c", "ab \x1b[2J\xe4 c", hint="\x9b31m\ud800")
    assert str(wrong) == "list:1:7: a ?]0;x? b??forged:1: c\n    ab ?[2J\xe4 c\n          ^\n    ?31m?"


def test_a_word_of_megabytes_is_cut() -> None:
    """In the message and in the hint; the line is cut around the caret anyway."""
    wrong = Diagnostic("list", 1, 1, "w" * (1 << 20), "w" * (1 << 20), 1 << 20, hint="h" * (1 << 20))
    assert len(str(wrong)) < 3 * MAX_MESSAGE_CHARS
    assert "www... (1048576 characters)" in str(wrong)
    assert len(str(wrong.as_json())) < 3 * MAX_MESSAGE_CHARS
    message = f'"https://me:{"p" * 5000}@host" is not a valid name: expected one'
    for shown in (str(Diagnostic("list", 1, 1, message)), str(Diagnostic("list", 1, 1, message).as_json())):
        assert "is not a valid name: expected one" in shown
        assert "pp" not in shown
