"""What `forkpolicy-compile --json` says of tables, whatever became of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from forkpolicy.compile.output.writer import TableWriter
from tests.compiling import Compiler

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def compiler(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Compiler:
    return Compiler(tmp_path, capsys)


def test_too_little_memory_costs_its_table_and_no_other(compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python has no room for a table: a sentence, a status, and the next one."""
    put = TableWriter.put

    def put_small(writer: TableWriter, batch: list[tuple[bytes, bytes]]) -> None:
        if "large" in writer.path.name:
            raise MemoryError
        put(writer, batch)

    monkeypatch.setattr(TableWriter, "put", put_small)
    compiler.policy("table large domain list", "table small domain list")
    compiler.source("list", "example.com\n")
    outcome = compiler.run()
    assert outcome.status == 73
    assert "table large: there is not enough memory to compile it; the table in use is unchanged" in outcome.err
    assert outcome.out.startswith("small: compiled")
    assert compiler.files() == {"small.lmdb"}


def test_a_table_that_cannot_be_written_is_in_the_document(compiler: Compiler) -> None:
    """Every table that was to be compiled is, in its order, with what became of it and why."""
    compiler.policy("table a domain list", "table b domain list", "table c domain bad", "table d domain list")
    compiler.source("list", "example.com\n")
    compiler.source("bad", "*.example.com\n")
    # A directory where the table goes: nothing can be renamed to its name.
    (compiler.table_path("b") / "x").mkdir(parents=True)
    outcome = compiler.run("--json")
    assert outcome.status == 78
    assert [(each["name"], each["state"]) for each in outcome.json] == [
        ("a", "compiled"),
        ("b", "not written"),
        ("c", "refused"),
        ("d", "compiled"),
    ]
    written, not_written = outcome.json[:2]
    assert set(not_written) == {*written, "reason"}
    assert not_written["path"] == str(compiler.table_path("b"))
    assert not_written["reason"]
    assert f"table b: {not_written['reason']}; the table in use is unchanged" in outcome.err
    assert compiler.run("--json", "b").status == 73
