"""--protect: what a list from elsewhere must never contain, in tables of every kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from forkpolicy.compile.protect import Protection
from tests.compiling import Compiler

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def compiler(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Compiler:
    return Compiler(tmp_path, capsys)


def refused(compiler: Compiler, kind: str, own: str, feed: str) -> list[str]:
    """The keys of a feed that are refused, in the order of its lines."""
    path = compiler.source("own", own)
    outcome = compiler.one(kind, feed, "--json", "--protect", str(path))
    diagnostics = sorted(outcome.json[0]["diagnostics"], key=lambda each: each["line"])
    assert bool(diagnostics) == (outcome.status == 78)
    return [each["message"].partition(" must not")[0] for each in diagnostics]


@pytest.mark.parametrize("kind", ["address", "key"])
@pytest.mark.parametrize(
    ("own", "feed", "told"),
    [
        ("example.com\n", "boss@example.com\nboss@sub.example.com\nx@example.org\n", ["boss@example.com"]),
        (
            ".example.com\n",
            "boss@example.com\nboss@sub.example.com\na.b.example.com\n",
            ["boss@sub.example.com", "a.b.example.com"],
        ),
        (
            "example.com\n.example.com\n",
            "boss@example.com\nuser+x@a.b.example.com\nnotexample.com\nexample.com.example\n",
            ["boss@example.com", "user+x@a.b.example.com"],
        ),
        ("BÜCHER.example\n", "boss@bücher.example\n", None),
        ("example.com\n", "example.com.evil.example\nexample.com@example.org\n", []),
    ],
)
def test_addresses_of_a_protected_domain(
    compiler: Compiler, kind: str, own: str, feed: str, told: list[str] | None
) -> None:
    """`name` protects the mail addresses of that domain, `.name` what is below it, as the names themselves."""
    found = refused(compiler, kind, own, feed)
    assert len(found) == 1 if told is None else found == told


@pytest.mark.parametrize(
    ("own", "feed", "told"),
    [
        ("192.0.2.0/24\n", "192.0.2.77\n198.51.100.1\n", ["192.0.2.77"]),
        ("10.0.0.0/8\n10.1.0.0/16\n2001:db8::/32\n", "10.9.0.1\n2001:DB8::7\n11.0.0.1\n", ["10.9.0.1", "2001:db8::7"]),
        ("192.0.2.0-192.0.2.9\n", '"news@example.org 192.0.2.9"\n192.0.2.10\n', ["news@example.org 192.0.2.9"]),
        ("example.com\n", '"192.0.2.7 mx.example.com"\n"x boss@EXAMPLE.com"\n', ["x boss@example.com"]),
        ("192.0.2.1\n", "::ffff:192.0.2.1\n", ["::ffff:192.0.2.1"]),
        ("example.com\n", "user1\nexample.com\n192.0.2.1\n", ["example.com"]),
    ],
)
def test_words_of_keys_are_addresses_and_names(compiler: Compiler, own: str, feed: str, told: list[str]) -> None:
    """A table of kind key is looked at word by word: it may hold names, addresses of either kind, or several."""
    assert refused(compiler, "key", own, feed) == told


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("kind", ["domain", "address"])
def test_protected_names_in_any_script(compiler: Compiler, kind: str, end: str) -> None:
    """Only line ends end a line: bytes of letters that Latin-1 has for controls do not."""
    own = compiler.source("own", end.join(["хост.рф", "Ångström.example", ""]))
    outcome = compiler.one(kind, "good.example\nångström.example\n", "--protect", str(own))
    assert outcome.status == 78
    assert "xn--ngstrm-hua5l.example must not be in this table" in outcome.err
    assert f"is protected ({own}:2)" in outcome.err


def test_a_protect_file_that_is_not_utf8(compiler: Compiler) -> None:
    """It is reported with its line, and what to do."""
    own = compiler.source("own", "example.com\nbücher.example\n".encode("latin-1"))
    outcome = compiler.one("domain", "good.example\n", "--protect", str(own))
    assert outcome.status == 78
    assert f"{own}:2: byte 0xfc is not UTF-8: save the file as UTF-8" in outcome.err


def test_a_compiled_table_with_the_null_sender_protects_its_names(compiler: Compiler) -> None:
    """Of an address table its domains are protected; what names none is no mistake there."""
    compiler.policy("table own address own", "table feed address feed")
    compiler.source("own", "<>\npostmaster@\nboss@example.org\nexample.com\n")
    compiler.source("feed", "x@example.com\nx@example.org\n")
    assert compiler.run("own").status == 0
    outcome = compiler.run("feed", "--protect", "own")
    assert outcome.status == 78
    assert "x@example.com must not be in this table" in outcome.err
    assert "x@example.org must not" not in outcome.err


@pytest.mark.parametrize("kind", ["cidr", "domain", "address", "key", "pair:text,text"])
def test_nothing_protected_costs_nothing(compiler: Compiler, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Since tables of addresses are protected, each compile of one walked all of its entries once more, for nothing."""
    compiler.one(kind, "192.0.2.7\n" if kind == "cidr" else "a.example b.example\n" if ":" in kind else "a.example\n")
    table = compiler.open(kind)
    monkeypatch.setattr("forkpolicy.tables.reader.Table.entries", lambda _self: pytest.fail("walked"))
    try:
        assert Protection((), ()).diagnostics(table) == []
    finally:
        table.close()
