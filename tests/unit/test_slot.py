"""A table's place in a running worker: what it answers without a table, and what status shows of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from forkpolicy.documents import plain
from forkpolicy.errors import TableError
from forkpolicy.tables.live_table import LiveTable
from tests.compiling import Compiler

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def compiler(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Compiler:
    made = Compiler(tmp_path, capsys)
    made.one("address", "user@a.example\n")
    return made


def slot_of(compiler: Compiler, kind: str = "address", **more: str) -> LiveTable:
    return LiveTable("t", kind, str(compiler.table_path()), **more)  # type: ignore[arg-type]


def test_a_slot_without_a_table(compiler: Compiler) -> None:
    """Nothing was looked for yet: every question fails, with the name of the table."""
    slot = slot_of(compiler)
    for ask in (lambda: slot.find("a"), lambda: slot.entry(b""), lambda: slot.value(b"")):
        with pytest.raises(TableError, match=r"^table t is not loaded$"):
            ask()
    assert plain(slot.status()) == {
        "name": "t",
        "kind": "address",
        "version": "",
        "entries": 0,
        "created": 0.0,
        "inode": 0,
        "refused": "",
        "expires": "",
    }
    assert slot.changed()
    slot.close()


def test_status_of_a_table(compiler: Compiler) -> None:
    """What `forkpolicy status` shows."""
    slot = slot_of(compiler)
    assert slot.refresh()
    assert slot.table
    assert plain(slot.status()) == {
        "name": "t",
        "kind": "address",
        "version": slot.table.version,
        "entries": 1,
        "created": slot.table.info.created,
        "inode": compiler.table_path().stat().st_ino,
        "refused": "",
        "expires": "",
    }
    assert slot.table.version
    assert slot.table.info.created > 0
    raw = slot.find("user@a.example")
    assert raw
    assert (slot.entry(raw).key, slot.value(raw)) == ("user@a.example", None)
    slot.close()
    for ask in (lambda: slot.find("user@a.example"), lambda: slot.entry(raw)):
        with pytest.raises(TableError, match=r"^table t is not loaded$"):
            ask()


def test_a_file_that_was_written_in_place_below_two_slots(compiler: Compiler) -> None:
    """A process maps it once: the first slot waits, with the reason, until the second has let go of what was there."""
    first, second = slot_of(compiler), slot_of(compiler)
    assert first.refresh()
    assert second.refresh()
    os.utime(compiler.table_path(), ns=(0, 0))
    assert first.refresh() is False
    why = "was written in place, and what was there before is still in use: try again later"
    assert first.refused == f"{compiler.table_path()} {why}"
    assert first.changed()
    assert second.find("user@a.example")
    assert second.refresh()
    assert first.refresh()
    assert first.refused == ""
    first.close()
    second.close()


def test_a_slot_splits_extensions(compiler: Compiler) -> None:
    """With the delimiter that it was made with, in every version."""
    slot = slot_of(compiler, delimiter="+")
    assert slot.refresh()
    assert slot.find("user+x@a.example")
    compiler.one("address", "user@a.example\nb.example\n")
    assert slot.refresh()
    assert slot.find("user+x@a.example")
    slot.close()
    plain = slot_of(compiler)
    assert plain.refresh()
    assert plain.find("user+x@a.example") is None
    plain.close()


def test_a_table_of_another_kind_is_refused_once(compiler: Compiler) -> None:
    """Whole, and not what the policy declares: the reason stays, and the file is not read again every second."""
    slot = slot_of(compiler, "cidr")
    file = slot.prepare()
    assert file
    assert slot.take(file) is False
    why = f'{compiler.table_path()} is a table of kind address, and the policy declares "t" as cidr'
    assert slot.refused == why
    assert not slot.changed()
    with pytest.raises(TableError) as failed:
        slot.find("192.0.2.1")
    assert str(failed.value) == why


def test_a_file_that_is_gone(compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it is looked at, or between two looks: status says so, and when it is back it is loaded."""
    slot = slot_of(compiler)
    kept = compiler.table_path().rename(compiler.tables / "kept")
    gone = f"{compiler.table_path()} does not exist: compile it with forkpolicy-compile t"
    assert slot.changed() is False
    assert slot.refused == gone
    slot.refused = ""
    with monkeypatch.context() as patch:
        patch.setattr(LiveTable, "changed", lambda _: True)
        assert slot.prepare() is None
    assert slot.refused == gone
    kept.rename(compiler.table_path())
    assert slot.refresh()
    assert slot.refused == ""
    slot.refused = "something"
    assert slot.changed() is False
    assert slot.refused == ""
    slot.close()
