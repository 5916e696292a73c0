"""What a table says has a digest: the same on every host, whatever says it; and a compile that says nothing new swaps
nothing.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgpack
import pytest

from forkpolicy.tables import format as layout
from tests.compiling import Compiler

if TYPE_CHECKING:
    from pathlib import Path

ENTRIES = {
    "cidr": "192.0.2.0/24 a\n198.51.100.0/25\n2001:db8::/32 a\n192.0.2.128/25 b\n",
    "domain": "example.com a\n.example.net\nb\u00fccher.example b\n",
    "address": "anna@example.com a\nexample.net\n<> b\n",
    "key": "one a\ntwo\nthree b\n",
}
KINDS = list(ENTRIES)


@pytest.fixture
def compiler(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Compiler:
    return Compiler(tmp_path, capsys)


def digest(compiler: Compiler) -> str:
    found = compiler.run("--json", "--allow-shrink").json[0]
    assert found["state"] in ("compiled", "unchanged"), found
    return str(found["digest"])


def inode(compiler: Compiler) -> int:
    return compiler.table_path().stat().st_ino


@pytest.mark.parametrize("kind", KINDS)
def test_equal_entries_have_one_digest(compiler: Compiler, kind: str) -> None:
    """Whatever their order, their file, their line, comments next to them or how often they stand there."""
    compiler.one(kind, ENTRIES[kind])
    seen = {digest(compiler)}
    lines = ENTRIES[kind].splitlines()
    compiler.source("list", "# a comment\n" * 300 + "\n".join(reversed(lines)) + "\n")
    seen.add(digest(compiler))
    compiler.source("one", lines[0] + "\n")
    compiler.source("rest", "\n".join([*lines[1:], *lines]) + "\n")
    compiler.policy(f"table t {kind} rest one")
    seen.add(digest(compiler))
    assert len(seen) == 1
    assert len(seen.pop()) == 64


@pytest.mark.parametrize("kind", KINDS)
def test_other_entries_have_another(compiler: Compiler, kind: str) -> None:
    """A value, a key, one entry less: each is another content; and so are the same texts as another kind of table."""
    first, *rest = ENTRIES[kind].splitlines()
    key = first.split()[0]
    texts = ["\n".join([line, *rest]) + "\n" for line in (first, key, f"{key} b", f"{key} aa")]
    seen = set()
    for text in [*texts, "\n".join(rest) + "\n"]:
        compiler.one(kind, text)
        seen.add(digest(compiler))
    assert len(seen) == 5
    if kind != "cidr":
        other = {"domain": "address", "address": "domain", "key": "domain"}[kind]
        digests = []
        for each in (kind, other):
            compiler.table_path().unlink()
            compiler.one(each, "example.org\n")
            digests.append(digest(compiler))
        assert digests[0] != digests[1]


def test_the_digest_is_made_so(compiler: Compiler) -> None:
    """Of the kind, and of each entry in key order the key with its length, prefix length and value: from release to
    release the same, so that hosts can be compared.
    """
    compiler.one("key", "b x\na\n")
    plain, valued = b"\xcc\x00" + msgpack.packb(None), b"\xcc\x00" + msgpack.packb("x")
    assert digest(compiler) == hashlib.sha256(b"key\0" + b"1:a" + plain + b"1:b" + valued).hexdigest()


def test_a_compile_that_says_nothing_new_swaps_nothing(compiler: Compiler) -> None:
    """Without --if-changed, too: the file stays, byte for byte; what was allowed or counted is reported as it is."""
    compiler.one("domain", "example.com a\n")
    before, content = inode(compiler), compiler.table_path().read_bytes()
    outcome = compiler.run()
    assert outcome.out.startswith("t: unchanged, 1 entries")
    assert (inode(compiler), compiler.table_path().read_bytes()) == (before, content)
    assert compiler.files() == {"t.lmdb"}


def test_lines_that_moved_are_taken_up_under_the_same_version(compiler: Compiler) -> None:
    """Explanations name the line where an entry stands now; the content is the same."""
    compiler.one("domain", "example.com a\n")
    before, old = inode(compiler), digest(compiler)
    compiler.source("list", "# moved\nexample.com a\n")
    assert digest(compiler) == old
    assert inode(compiler) != before
    (entry,) = compiler.found("domain", "example.com")
    assert entry is not None
    assert entry.line == 2


def test_a_file_of_the_release_before_serves(compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
    """Version 2, without a content digest: it is looked up in as ever, and the next compile replaces it."""
    with monkeypatch.context() as release_before:
        release_before.setattr(layout, "FORMAT_VERSION", 2)
        really_pack = layout.TableInfo.pack

        def pack(record: layout.TableInfo) -> bytes:
            fields = msgpack.unpackb(really_pack(record))
            del fields["content_digest"]
            return bytes(msgpack.packb(fields))

        release_before.setattr(layout.TableInfo, "pack", pack)
        compiler.one("domain", "example.com a\n")
    table = compiler.open("domain")
    assert table.find("example.com")
    assert len(table.version) == 12
    assert table.info.content_digest == ""
    table.close()
    assert compiler.run("--verify").status == 0
    assert compiler.run().out.startswith("t: compiled")
    assert len(digest(compiler)) == 64


def test_verify_counts_on_nothing(compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
    """A content digest that is not that of the entries is found."""
    monkeypatch.setattr(layout.ContentDigest, "hexdigest", lambda _self: "0" * 64)
    compiler.one("domain", "example.com a\n")
    monkeypatch.undo()
    outcome = compiler.run("--verify")
    assert outcome.status == 1
    assert "holds other entries than those of its content digest" in outcome.err + outcome.out
