"""Entries that a program lists: what a table makes of key and value where there is no grammar of lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import lmdb
import pytest

from tests.compiling import Compiler

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def compiler(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Compiler:
    """`forkpolicy-compile` in a directory of its own."""
    return Compiler(tmp_path, capsys)


def map_of(compiler: Compiler, entries: dict[bytes, bytes]) -> None:
    """A map as `postmap lmdb:map` writes it."""
    path = str(compiler.directory / "map.lmdb")
    with lmdb.open(path, subdir=False, lock=False) as env, env.begin(write=True) as txn:
        for key, value in entries.items():
            txn.put(key + b"\0", value + b"\0")


def test_quoted_local_parts_of_maps(compiler: Compiler) -> None:
    """Postfix's maps have quotes around a local part, its policy requests have none; other keys keep theirs."""
    map_of(compiler, {b'"user one"@example.com': b"OK", b'"a"': b"OK"})
    compiler.policy("table t address lmdb:map")
    assert compiler.run("--skip-bad").status == 0
    assert compiler.keys("address", "user one@example.com") == ["user one@example.com"]
    compiler.policy("table t key lmdb:map")
    assert compiler.run().status == 0
    assert compiler.keys("key", '"a"') == ['"a"']


def test_an_empty_local_part_is_not_all_of_a_domain(compiler: Compiler) -> None:
    """`""@example.com` in a file, a column or a map is itself and answers for nobody else."""
    compiler.source("list", '""@example.com REJECT\n')
    compiler.source("list.csv", '"""""@example.com",REJECT\n')
    map_of(compiler, {b'""@example.com': b"REJECT"})
    for source in ("list", "csv:list.csv:1:2", "lmdb:map"):
        compiler.policy(f"table t address {source}")
        assert compiler.run().status == 0
        assert compiler.keys("address", "anybody@example.com", '""@example.com') == [None, '""@example.com']


def test_a_wrong_entry_without_a_line_is_named(compiler: Compiler) -> None:
    """Where there is no line to look at, the sentence says which entry it is about."""
    map_of(compiler, {b"0.0.0.0/1": b"OK", b"192.0.2.1/24": b"OK"})
    compiler.policy("table t cidr lmdb:map")
    outcome = compiler.run()
    assert outcome.status == 78
    assert ": 0.0.0.0/1: /1 is wider than" in outcome.err
    assert ": 192.0.2.1/24: host bits set" in outcome.err
