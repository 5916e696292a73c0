"""A table file that is not what was written is refused in words, and a slot keeps what it has."""

from __future__ import annotations

import os
import shutil
import struct
from pathlib import Path

import lmdb
import pytest

from forkpolicy.errors import TableError
from forkpolicy.tables import format as layout
from forkpolicy.tables.live_table import LiveTable
from tests.compiling import Compiler

PAGE_BYTES = 4096


@pytest.fixture
def compiler(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Compiler:
    made = Compiler(tmp_path, capsys)
    made.one("cidr", "192.0.2.0/24 old\n2001:db8::/32 old\n")
    return made


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def refusal(compiler: Compiler) -> str:
    with pytest.raises(TableError) as refused:
        compiler.open("cidr")
    return str(refused.value)


def test_cut_at_every_page(compiler: Compiler) -> None:
    """A file cut anywhere is refused, and so are no bytes at all."""
    whole = compiler.table_path().read_bytes()
    for length in [*range(0, len(whole), PAGE_BYTES), 1, len(whole) - 1, len(whole) - layout.TRAILER_BYTES]:
        compiler.table_path().write_bytes(whole[:length])
        assert (
            "is empty" in refusal(compiler)
            if not length
            else "is damaged or not a forkpolicy table" in refusal(compiler)
        ), length


def test_one_flipped_bit_anywhere(compiler: Compiler) -> None:
    """No byte of the file may differ from what was written, whether LMDB would notice or not."""
    whole = compiler.table_path().read_bytes()
    for at in [*range(0, len(whole), 97), *range(len(whole) - layout.TRAILER_BYTES, len(whole))]:
        damaged = bytearray(whole)
        damaged[at] ^= 1 << (at % 8)
        compiler.table_path().write_bytes(damaged)
        assert refusal(compiler).startswith(str(compiler.table_path())), at


def test_bytes_behind_the_end(compiler: Compiler) -> None:
    """A longer file is not the file."""
    with compiler.table_path().open("ab") as file:
        file.write(b"x")
    assert "is damaged or not a forkpolicy table" in refusal(compiler)


def test_another_kind_name_version_or_machine(compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
    """A good file in the wrong place is refused with what it is."""
    with pytest.raises(TableError, match='kind cidr, and the policy declares "t" as domain'):
        compiler.open("domain")
    shutil.copy(compiler.table_path(), compiler.table_path("u"))
    with pytest.raises(TableError, match='is the table "t" under the name of "u"'):
        compiler.open("cidr", "u")
    with monkeypatch.context() as patch:
        patch.setattr(layout, "READABLE_VERSIONS", (4, 5))
        assert "has format 3, this forkpolicy reads 4 and 5: compile it again" in refusal(compiler)
    monkeypatch.setattr(layout, "MACHINE", b"b64 ")
    assert "written on a 64-bit little-endian machine, this one is 64-bit big-endian" in refusal(compiler)


@pytest.mark.parametrize(
    ("sealed_as", "reason"),
    [(b"b64 ", "written on a 64-bit big-endian machine"), (layout.MACHINE, "is not an LMDB file of this version")],
)
def test_a_file_with_its_bytes_the_other_way_round(
    compiler: Compiler, monkeypatch: pytest.MonkeyPatch, sealed_as: bytes, reason: str
) -> None:
    """Pages of the other byte order are refused by what the trailer says, and by LMDB where the trailer lies."""
    pages = bytearray(compiler.table_path().read_bytes()[: -layout.TRAILER_BYTES])
    words = struct.Struct("<1024I")
    for at in range(0, len(pages), PAGE_BYTES):
        pages[at : at + PAGE_BYTES] = struct.pack(">1024I", *words.unpack(pages[at : at + PAGE_BYTES]))
    compiler.table_path().write_bytes(pages)
    fd = os.open(compiler.table_path(), os.O_RDWR)
    with monkeypatch.context() as patch:
        patch.setattr(layout, "MACHINE", sealed_as)
        layout.seal(fd, len(pages))
    os.close(fd)
    assert reason in refusal(compiler)


def test_a_foreign_lmdb_file(compiler: Compiler, tmp_path: Path) -> None:
    """Postfix's own map, or anything else, in a table's place is refused."""
    path = tmp_path / "foreign.lmdb"
    with lmdb.open(str(path), subdir=False, lock=False) as env, env.begin(write=True) as txn:
        txn.put(b"192.0.2.0/24", b"OK")
    shutil.copy(path, compiler.table_path())
    assert "written by another program" in refusal(compiler)
    fd = os.open(compiler.table_path(), os.O_RDWR)
    layout.seal(fd, path.stat().st_size)
    os.close(fd)
    assert "cannot be opened by LMDB" in refusal(compiler)


def test_missing_and_out_of_reach(compiler: Compiler) -> None:
    """A file that is not there says what to run."""
    compiler.table_path().unlink()
    assert "is not there: run forkpolicy-compile" in refusal(compiler)
    compiler.table_path().mkdir()
    assert "cannot be read: Is a directory" in refusal(compiler)


def test_opening_leaves_nothing_behind(compiler: Compiler) -> None:
    """A hundred refused and a hundred good opens cost no descriptor, and no file appears next to the table."""
    before = descriptors()
    good = compiler.table_path().read_bytes()
    for content in (good, good[:-1]) * 100:
        compiler.table_path().write_bytes(content)
        try:
            compiler.open("cidr").close()
        except TableError:
            assert content != good
    assert descriptors() == before
    assert compiler.files() == {"t.lmdb"}


def test_a_slot_without_a_table_raises(tmp_path: Path) -> None:
    """While there never was a table, a look-up is a failure and never "no match"."""
    slot = LiveTable("t", "cidr", str(tmp_path / "t.lmdb"))
    assert not slot.refresh()
    with pytest.raises(TableError, match="does not exist: compile it with forkpolicy-compile"):
        slot.find("192.0.2.1")
    assert slot.status().refused == slot.refused


def test_a_slot_takes_up_what_is_new(compiler: Compiler) -> None:
    """A new file under the name serves from the next look-up; the old one is closed."""
    before = descriptors()
    slot = LiveTable("t", "cidr", str(compiler.table_path()))
    assert slot.refresh()
    version, open_now = slot.version, descriptors()
    assert not slot.refresh()
    for round_ in range(5):
        compiler.one("cidr", f"192.0.2.0/24 new{round_}\n")
        assert slot.refresh()
        raw = slot.find("192.0.2.1")
        assert raw
        assert slot.value(raw) == f"new{round_}"
    assert slot.version != version
    assert descriptors() == open_now
    slot.close()
    assert descriptors() == before


def test_a_slot_keeps_the_good_table(compiler: Compiler) -> None:
    """A damaged, missing or foreign successor is refused once, with the reason; the one before goes on serving."""
    slot = LiveTable("t", "cidr", str(compiler.table_path()))
    assert slot.refresh()
    good = compiler.table_path().read_bytes()

    def replace(content: bytes) -> None:
        aside = compiler.tables / "aside"
        aside.write_bytes(content)
        aside.rename(compiler.table_path())

    replace(good[:5000])
    assert not slot.refresh()
    assert "is damaged or not a forkpolicy table" in slot.refused
    assert not slot.changed(), "a refused file is not read again every second"
    compiler.table_path().unlink()
    assert not slot.refresh()
    assert "does not exist" in slot.refused
    compiler.tables.rename(compiler.directory / "elsewhere")
    assert not slot.refresh()
    raw = slot.find("192.0.2.1")
    assert raw
    assert slot.value(raw) == "old"
    (compiler.directory / "elsewhere").rename(compiler.tables)
    replace(good)
    assert slot.refresh()
    assert slot.refused == ""
    slot.close()


def test_a_copy_in_place_does_not_change_what_serves(compiler: Compiler) -> None:
    """Verification reads the file that is mapped: what was swapped in between has no part in it."""
    slot = LiveTable("t", "cidr", str(compiler.table_path()))
    file = slot.prepare()
    assert file
    compiler.one("cidr", "198.51.100.0/24 new\n2001:db8::/32 new\n")
    assert slot.take(file)
    assert slot.find("192.0.2.1")
    assert slot.refresh()
    assert slot.find("192.0.2.1") is None
    slot.close()


def test_a_touched_file_serves_on(compiler: Compiler) -> None:
    """Another time on the same file is not damage: LMDB would not open it a second time next to the first."""
    slot = LiveTable("t", "cidr", str(compiler.table_path()))
    assert slot.refresh()
    os.utime(compiler.table_path(), ns=(0, 0))
    assert slot.changed()
    assert slot.refresh()
    assert slot.refused == ""
    assert slot.find("192.0.2.1")
    slot.close()


def test_a_table_written_in_place_is_taken_up(compiler: Compiler) -> None:
    """A copy over a table in use changes what is mapped; the whole new file is opened again."""
    slot = LiveTable("t", "cidr", str(compiler.table_path()))
    assert slot.refresh()
    kept = compiler.tables / "kept"
    compiler.table_path().rename(kept)
    compiler.one("cidr", "198.51.100.0/24 new\n2001:db8::/32 new\n")
    content = compiler.table_path().read_bytes()
    kept.rename(compiler.table_path())
    compiler.table_path().write_bytes(content)
    assert slot.refresh()
    assert slot.find("192.0.2.1") is None
    assert slot.find("198.51.100.1")
    slot.close()


def test_a_pipe_in_a_tables_place_keeps_nobody_waiting(compiler: Compiler) -> None:
    """Opening it would wait for a writer that never comes, and no other table would be loaded."""
    slot = LiveTable("t", "cidr", str(compiler.table_path()))
    assert slot.refresh()
    compiler.table_path().unlink()
    os.mkfifo(compiler.table_path())
    assert not slot.refresh()
    assert "is not a file" in slot.refused
    assert slot.find("192.0.2.1")
    slot.close()
