"""Several tables over one file in one process: other names, other delimiters, one map."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from forkpolicy.errors import TableError
from forkpolicy.tables.live_table import LiveTable
from tests.compiling import Compiler


@pytest.fixture
def compiler(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Compiler:
    made = Compiler(tmp_path, capsys)
    made.one("address", "anna@example.com plain\n")
    return made


def slot_at(path: Path, delimiter: str) -> LiveTable:
    slot = LiveTable("t", "address", str(path), delimiter)
    assert slot.refresh(), slot.refused
    return slot


def test_two_delimiters_look_at_one_file(compiler: Compiler) -> None:
    """Each table has its own idea of what an extension is; closing one leaves the other."""
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    plain, plus = (slot_at(compiler.table_path(), delimiter) for delimiter in ("", "+"))
    extended = "anna+list@example.com"
    assert (plain.find(extended), bool(plus.find(extended))) == (None, True)
    plain.close()
    assert plus.find(extended)
    with pytest.raises(TableError):
        plain.find("anna@example.com")
    plus.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors


def test_one_file_under_several_names(compiler: Compiler) -> None:
    """A link to the directory, a hard link, a path with dots: the file is one, and is mapped once."""
    linked = compiler.directory / "linked"
    linked.symlink_to(compiler.tables)
    hard = compiler.directory / "t.lmdb"
    os.link(compiler.table_path(), hard)
    paths = (compiler.table_path(), linked / "t.lmdb", hard, compiler.tables / ".." / "tables" / "t.lmdb")
    slots = [slot_at(path, "") for path in paths]
    maps = [line for line in Path("/proc/self/maps").read_text().splitlines() if line.endswith("t.lmdb")]
    assert len(maps) == 1
    assert all(slot.find("anna@example.com") for slot in slots)
    for slot in slots:
        slot.close()


def test_a_closed_table_answers_nothing_while_others_use_its_file(compiler: Compiler) -> None:
    """A caller that keeps its function gets an error, and never "no match"."""
    one, other = compiler.open("address"), compiler.open("address")
    find = one.find
    assert find("anna@example.com")
    one.close()
    with pytest.raises(TableError, match="closed"):
        one.find("anna@example.com")
    assert other.find("anna@example.com")
    other.close()


def test_a_file_written_in_place_is_opened_when_the_last_has_let_go(compiler: Compiler) -> None:
    """What is mapped is not what was verified: refused, tried again, and loaded when it can be."""
    first, second = (slot_at(compiler.table_path(), delimiter) for delimiter in ("", "+"))
    os.utime(compiler.table_path(), ns=(0, 0))
    assert not second.refresh()
    assert "still in use" in second.refused
    assert second.changed(), "it is tried again"
    first.close()
    assert second.refresh()
    assert second.refused == ""
    assert second.find("anna@example.com")
    second.close()


def fallen_back(compiler: Compiler) -> tuple[LiveTable, bool]:
    """A slot whose file is gone, offered the one that was there."""
    fd = os.open(compiler.table_path(), os.O_RDONLY)
    compiler.table_path().unlink()
    slot = LiveTable("t", "address", str(compiler.table_path()))
    assert not slot.refresh()
    return slot, slot.fall_back(fd)


def test_a_slot_falls_back_to_the_last_good_file(compiler: Compiler) -> None:
    """It serves, and says all the same why nothing newer does."""
    slot, serves = fallen_back(compiler)
    assert serves
    assert slot.find("anna@example.com")
    assert "does not exist" in slot.refused
    compiler.one("address", "other@example.com\n")
    assert slot.refresh()
    assert slot.refused == ""
    assert slot.find("anna@example.com") is None
    slot.close()


def test_a_damaged_file_is_nothing_to_fall_back_to(compiler: Compiler) -> None:
    """It is verified like any other, and closed; the reason of the file in place stays."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    compiler.table_path().write_bytes(compiler.table_path().read_bytes()[:5000])
    slot, serves = fallen_back(compiler)
    assert not serves
    assert "does not exist" in slot.refused
    with pytest.raises(TableError):
        slot.find("anna@example.com")
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files away")
def test_a_file_of_a_captured_worker_is_nothing_to_fall_back_to(
    compiler: Compiler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What our own user has made is not served where only somebody else may make tables."""
    for owner_of_directory, serves in ((0, False), (12345, True)):
        compiler.one("address", "anna@example.com\n")
        os.chown(compiler.table_path(), 12345, -1)
        os.chown(compiler.tables, owner_of_directory, -1)
        with monkeypatch.context() as worker:
            worker.setattr(os, "geteuid", lambda: 12345)
            slot, fell_back = fallen_back(compiler)
        assert fell_back is serves
        slot.close()
