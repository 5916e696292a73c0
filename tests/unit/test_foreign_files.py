"""What stands in the tables directory and is not of forkpolicy-compile: it is never replaced and never removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import lmdb
import pytest

from forkpolicy.compile import directory
from tests.compiling import Compiler

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def compiler(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Compiler:
    made = Compiler(tmp_path, capsys)
    made.tables.mkdir()
    made.policy("table t domain list")
    made.source("list", "example.com\n")
    return made


def postmap_file(path: Path) -> bytes:
    """What `postmap lmdb:FILE` leaves: an LMDB file, without our trailer."""
    with lmdb.open(str(path), subdir=False, lock=False) as env, env.begin(write=True) as txn:
        txn.put(b"example.com\0", b"OK\0")
    return path.read_bytes()


@pytest.mark.parametrize("arguments", [(), ("--allow-shrink",), ("--if-changed",), ("--dry-run",)])
def test_a_map_of_postfix_in_a_tables_place(compiler: Compiler, arguments: tuple[str, ...]) -> None:
    """`tables = "/etc/postfix"` and a table that is named as a map there: the map is not replaced."""
    before = postmap_file(compiler.table_path())
    outcome = compiler.run(*arguments)
    assert outcome.status == 73
    assert f"table t: {compiler.table_path()} is not a forkpolicy table" in outcome.err
    assert "is not replaced: move it away, and compile again" in outcome.err
    assert compiler.table_path().read_bytes() == before
    assert compiler.files() == {"t.lmdb"}


def test_a_file_that_appears_while_a_table_is_compiled(compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looked at again before the rename: a large table takes minutes."""
    put = directory.TablesDirectory.put_in_place

    def put_later(self: directory.TablesDirectory, aside: Path, name: str) -> None:
        compiler.table_path().write_text("notes\n")
        put(self, aside, name)

    monkeypatch.setattr(directory.TablesDirectory, "put_in_place", put_later)
    assert compiler.run().status == 73
    assert compiler.table_path().read_text() == "notes\n"
    assert compiler.files() == {"t.lmdb"}


def test_a_symbolic_link_in_a_tables_place(compiler: Compiler) -> None:
    """It was somebody's decision, and a rename would end it; what it leads to is left alone as well."""
    elsewhere = compiler.directory / "elsewhere"
    assert compiler.run().status == 0
    compiler.table_path().rename(elsewhere)
    compiler.table_path().symlink_to(elsewhere)
    before = elsewhere.read_bytes()
    outcome = compiler.run()
    assert outcome.status == 73
    assert "is a symbolic link, and is not replaced" in outcome.err
    assert compiler.table_path().is_symlink()
    assert elsewhere.read_bytes() == before


def test_a_table_of_ours_is_replaced_whatever_became_of_it(compiler: Compiler) -> None:
    """Damaged before its end, of another format, or empty: compiling is how it is mended."""
    assert compiler.run().status == 0
    whole = compiler.table_path().read_bytes()
    damaged, older = bytearray(whole), bytearray(whole)
    damaged[5000] ^= 1
    older[whole.rindex(b"fkp-tbl\n") + 11] ^= 1
    for content in (damaged, older, b""):
        compiler.table_path().write_bytes(content)
        outcome = compiler.run()
        assert outcome.status == 0, outcome.err
        assert "cannot compare with the table in use" in outcome.err
        assert compiler.keys("domain", "example.com") == ["example.com"]


def test_other_hidden_files_are_not_leftovers(compiler: Compiler) -> None:
    """A compile removes what dead compiles left behind, by their exact names."""
    for name in (".notes.aside", ".t.lmdb.old.aside", ".t.lmdb.17", "t.lmdb.17.aside"):
        (compiler.tables / name).write_text("mine\n")
    (compiler.tables / ".t.lmdb.17.aside").write_text("left\n")
    (compiler.tables / ".t.lmdb.17.run3.aside").write_text("left\n")
    assert compiler.run().status == 0
    assert compiler.files() == {".notes.aside", ".t.lmdb.old.aside", ".t.lmdb.17", "t.lmdb.17.aside", "t.lmdb"}
