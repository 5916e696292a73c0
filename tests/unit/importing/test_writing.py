"""--out writes all of an import, or nothing of it."""

from __future__ import annotations

import resource

import pytest

from forkpolicy.commands.import_rules.writing import write_out
from forkpolicy.errors import CannotWriteError, UsageError
from forkpolicy.importing.draft import Draft
from forkpolicy.importing.left_out import Origin
from forkpolicy.importing.table_text import TableEntry


@pytest.fixture
def draft():
    """A policy of a few bytes, whose table has more than 4096."""
    made = Draft()
    name = made.table("many", "key", [TableEntry(f"key{number}") for number in range(1000)], Origin("file", 1))
    found = made.acl("found", "sasl_username", [f"table:{name}"], Origin("file", 1))
    made.access([found], made.action("no", "REJECT no"), Origin("file", 1))
    return made


@pytest.fixture
def small_files():
    """No file may have more than 4096 bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("small_files")
def test_nothing_stays_where_a_file_cannot_be_written(draft, tmp_path):
    """The file is named, and neither it nor what was written before stays, so that the next try finds no directory."""
    with pytest.raises(CannotWriteError, match=r"new/tables/many cannot be written: file too large"):
        write_out(str(tmp_path / "new"), draft)
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_stays(draft, tmp_path):
    """A directory that has other files is written into; one that has any of ours is not."""
    (tmp_path / "forkpolicy.toml").touch()
    write_out(str(tmp_path), draft)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match=r"policy\.conf exists already"):
        write_out(str(tmp_path), draft)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
