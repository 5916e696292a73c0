"""The benchmark of the memory, small: it runs, counts exactly, and leaves nothing behind."""

import pytest

from loadtest.__main__ import main
from loadtest.commands import state
from loadtest.errors import VerdictError
from loadtest.state import contention
from loadtest.state.cost import cases
from tests.stores import Clock, make_map


def test_it_prints_three_tables(tmp_path, capsys):
    """Costs, writers on one key, and room."""
    arguments = ["--rounds", "1", "--questions", "120", "--writers", "1,2", "--entries", "300"]
    assert main(["state", *arguments, "--directory", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "| rate of two windows |" in said
    assert "| 2 | " in said
    assert "80, as allowed" in said
    assert "| triplets | 300 | " in said
    assert list(tmp_path.iterdir()) == []


def test_a_limit_that_is_not_exact_is_a_verdict(tmp_path, monkeypatch):
    """A benchmark of a store that lets more through is worth nothing."""
    received = contention._received
    monkeypatch.setattr(contention, "_received", lambda end: received(end)._replace(passed=5))
    with pytest.raises(VerdictError, match="5 of 4 passed"):
        contention.contention(1, 10, 4, tmp_path)


@pytest.mark.parametrize("case", cases(100), ids=lambda case: case.name)
def test_each_case_asks_what_its_name_says(case, tmp_path):
    """The prepared questions leave the map as the case needs it, and its record is as large as the bare one."""
    clock = Clock()
    live = make_map(tmp_path / "live", clock)
    for question in case.prepared:
        live.ask(question)
    clock.wait(case.later_s)
    answers = [live.ask(question) for question in case.questions]
    if "greylisting" in case.name:
        assert {answer.result for answer in answers} == {case.name.rpartition(" ")[2]}
    if "rate" in case.name:
        assert {answer.over for answer in answers} == {"refused" in case.name}
        sizes = {len(record) for _, record in live.walk(b"r", b"", 1000)}
        assert sizes == {case.record_bytes}
    live.close()


def test_the_help_names_it(capsys):
    """As the other commands."""
    assert main([]) == 2
    assert "state" in capsys.readouterr().out
    assert state.main.__doc__
