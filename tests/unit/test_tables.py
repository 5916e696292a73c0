"""What compiled tables answer: every kind, through the real command and the real reader."""

from __future__ import annotations

from typing import TYPE_CHECKING

import lmdb
import pytest

from forkpolicy.errors import TableError
from forkpolicy.tables import reader
from forkpolicy.tables.format import Entry, pack_value, unpack_entry
from tests.compiling import Compiler

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def compiler(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Compiler:
    return Compiler(tmp_path, capsys)


def test_an_entry_knows_its_source_and_line(compiler: Compiler) -> None:
    """A look-up leads back to file and line."""
    assert compiler.one("cidr", "# office\n192.0.2.0/24 office\n").status == 0
    expected = Entry("192.0.2.0/24", "office", str(compiler.directory / "list"), 2)
    assert compiler.found("cidr", "192.0.2.77") == [expected]


def test_the_most_specific_network_wins(compiler: Compiler) -> None:
    """Whatever the order of the lines, and to the very ends of each network."""
    compiler.one("cidr", "10.0.0.0/8 a\n10.1.0.0/16 b\n10.1.1.0/24 c\n10.1.1.255 d\n10.255.255.255 e\n")
    asked = ["9.255.255.255", "10.0.0.0", "10.1.0.0", "10.1.1.0", "10.1.1.254", "10.1.1.255", "10.1.2.0"]
    asked += ["10.1.255.255", "10.2.0.0", "10.255.255.254", "10.255.255.255", "11.0.0.0"]
    values = [entry and entry.value for entry in compiler.found("cidr", *asked)]
    assert values == [None, "a", "b", "c", "c", "d", "b", "b", "a", "a", "e", None]


def test_mapped_and_zoned_addresses_are_the_plain_ones(compiler: Compiler) -> None:
    """IPv4-mapped addresses are IPv4 in tables and in requests; a zone in a request is dropped."""
    compiler.one("cidr", "192.0.2.0/24\n::ffff:198.51.100.0/120\nfe80::/10\n")
    assert compiler.keys("cidr", "::ffff:192.0.2.7", "198.51.100.7", "fe80::1%eth0", "::192.0.2.7", "unknown") == [
        "192.0.2.0/24",
        "198.51.100.0/24",
        "fe80::/10",
        None,
        None,
    ]


def test_an_ipv6_network_never_covers_ipv4(compiler: Compiler) -> None:
    """`::/16` covers no mapped address, and the families do not run into each other."""
    compiler.one("cidr", "::/16\n255.255.255.0/24\n")
    assert compiler.keys("cidr", "::ffff:1.2.3.4", "1.2.3.4", "255.255.255.255", "::1", "ffff::") == [
        None,
        None,
        "255.255.255.0/24",
        "::/16",
        None,
    ]


def test_single_addresses_in_all_spellings_are_one_entry(compiler: Compiler) -> None:
    """`a` and `a/32` are the same network and one entry."""
    outcome = compiler.one("cidr", "192.0.2.1\n192.0.2.1/32\n2001:db8::1\n2001:DB8:0::1/128\n", "--json")
    assert outcome.json[0]["entries"] == 2
    assert outcome.json[0]["counts"]["merged"] == 2
    assert compiler.keys("cidr", "192.0.2.1", "192.0.2.0", "2001:db8::1", "2001:db8::2") == [
        "192.0.2.1",
        None,
        "2001:db8::1",
        None,
    ]


def test_domains_are_exact_and_dots_mean_below(compiler: Compiler) -> None:
    """`example.org` is that name, `.example.org` every name below; labels count, not string ends."""
    compiler.one("domain", "example.org\n.example.net\n.sub.example.net deeper\n")
    asked = ["example.org", "EXAMPLE.ORG.", "a.example.org", "notexample.org", "example.org.evil.example"]
    asked += ["example.net", "a.example.net", "a.b.example.net", "sub.example.net", "x.sub.example.net", "", "."]
    assert compiler.keys("domain", *asked) == [
        "example.org",
        "example.org",
        None,
        None,
        None,
        None,
        ".example.net",
        ".example.net",
        ".example.net",
        ".sub.example.net",
        None,
        None,
    ]


def test_international_names_in_both_forms_and_decomposed(compiler: Compiler) -> None:
    """U-label, A-label, NFD, upper case and trailing dots are one name, in lists and in requests."""
    compiler.one("domain", "bücher.example\nXN--MNCHEN-3YA.example.\n")
    asked = ["bücher.example", "xn--bcher-kva.example", "BU\u0308CHER.EXAMPLE.", "münchen.example", "bucher.example"]
    assert compiler.keys("domain", *asked) == [
        "xn--bcher-kva.example",
        "xn--bcher-kva.example",
        "xn--bcher-kva.example",
        "xn--mnchen-3ya.example",
        None,
    ]


def test_addresses_in_the_order_of_access_5(compiler: Compiler) -> None:
    """The most specific form answers; extensions count with a delimiter only; the null sender has its own key."""
    compiler.one("address", "u+x@a.example 1\nu@a.example 2\na.example 3\n.example 4\nu+x@ 5\nu@ 6\n<> 7\n")
    asked = [
        "U+x@A.example",
        "u+y@a.example",
        "v@a.example",
        "v@b.example",
        "u+x@c.test",
        "u@c.test",
        "",
        "<>",
        "u+y@c.test",
    ]

    def values(delimiter: str) -> list[str | None]:
        return [entry and entry.value for entry in compiler.found("address", *asked, delimiter=delimiter)]

    assert values("+") == ["1", "2", "3", "4", "5", "6", "7", "7", "6"]
    assert values("") == ["1", "3", "3", "4", "5", "6", "7", "7", None]


def test_a_domain_is_found_by_the_name_that_postfix_makes_of_it(compiler: Compiler) -> None:
    """Postfix delivers mail for straße to strasse; who lists straße means that name and its A-label."""
    asked = ["straße.example", "STRAẞE.example.", "mail.straße.example", "xn--strae-oqa.example", "other.example"]
    compiler.one("domain", "strasse.example\n.strasse.example\n")
    assert compiler.keys("domain", *asked) == ["strasse.example"] * 2 + [".strasse.example"] + [None] * 2
    compiler.one("address", "u@strasse.example\nstrasse.example\n.strasse.example\nw@\n")
    assert compiler.keys("address", *(f"U+x@{each}" for each in asked), "w@straße.org", delimiter="+") == [
        *["u@strasse.example"] * 2,
        ".strasse.example",
        *[None] * 2,
        "w@",
    ]
    compiler.one("domain", "straße.example\n")
    assert compiler.keys("domain", "straße.example", "xn--strae-oqa.example", "strasse.example") == [
        *["xn--strae-oqa.example"] * 2,
        None,
    ]


def test_the_domain_follows_the_last_at_sign(compiler: Compiler) -> None:
    """Two `@`, quotes and no domain at all neither crash nor match a domain that is not theirs."""
    compiler.one("address", "example.com\n@example.net\n")
    asked = ['"a@b"@example.com', "a@example.com@evil.example", "x@example.net.", "example.com", "@example.com", "x@"]
    assert compiler.keys("address", *asked) == ["example.com", None, "example.net", None, "example.com", None]


def test_keys_fold_case(compiler: Compiler) -> None:
    """A key table holds exact texts, without regard to case."""
    compiler.one("key", "PLAIN strong\nlogin weak\nStraße x\n")
    assert [entry and entry.value for entry in compiler.found("key", "plain", "LOGIN", "STRASSE", "pla", "")] == [
        "strong",
        "weak",
        "x",
        None,
        None,
    ]


@pytest.mark.parametrize("kind", ["cidr", "domain", "address", "key"])
@pytest.mark.parametrize("text", ["", "x" * 600, "\udcff\udcfe", "a\0b", "@", "\ud800", ".", "..", "%", "[", "é@é"])
def test_whatever_a_request_brings_is_no_match(compiler: Compiler, kind: str, text: str) -> None:
    """Empty, endless, undecodable and odd texts are looked up without an error and match nothing."""
    compiler.one(kind, {"cidr": "192.0.2.0/24\n", "domain": ".example.org\nexample.org\n"}.get(kind, "example.org\n"))
    assert compiler.keys(kind, text) == [None]  # type: ignore[arg-type]


def test_what_a_table_does_not_hold_is_not_looked_for(compiler: Compiler) -> None:
    """The record says which forms a table has, so that others cost nothing."""
    compiler.one("address", "u@a.example\nb.example\n")
    table = compiler.open("address")
    try:
        assert table.info.traits == {"wildcard_labels": [], "forms": ["address", "domain"]}
        assert (table.info.kind, table.info.name, table.info.entries) == ("address", "t", 2)
        assert table.info.sources == (str(compiler.directory / "list"),)
    finally:
        table.close()


def test_bytes_that_are_no_utf8_come_through(compiler: Compiler) -> None:
    """A map of postmap may hold Latin-1: its keys meet requests of the same bytes, its values come out as they are."""
    path = compiler.directory / "map.lmdb"
    with lmdb.open(str(path), subdir=False, lock=False) as env, env.begin(write=True) as txn:
        txn.put(b"m\xfcller\0", b"fr\xfcher\0")
    compiler.policy("table t key lmdb:map")
    assert compiler.run().status == 0
    expected = Entry("m\udcfcller", "fr\udcfcher", f"lmdb:{path}", 0)
    assert compiler.found("key", "m\udcfcller", "m?ller", "müller") == [expected, None, None]


def test_an_entry_of_a_source_that_is_not_named() -> None:
    """A record with too few names costs the name, not the entry."""
    raw = b"\x94\xcc\x01\xce\x00\x00\x00\x07\xcc\x00" + pack_value("v") + b"a.example"
    assert unpack_entry(raw, ("zero", "one")) == Entry("a.example", "v", "one", 7)
    assert unpack_entry(raw, ("zero",)) == Entry("a.example", "v", "", 7)
    assert unpack_entry(raw, ()) == Entry("a.example", "v", "", 7)


@pytest.mark.parametrize("kind", ["domain", "address"])
def test_names_that_are_longer_than_any(compiler: Compiler, kind: str) -> None:
    """What stands in front of the longest possible name changes no answer."""
    compiler.one(kind, ".example.org\n")
    at = "u@" if kind == "address" else ""
    below = [f"{at}{front}example.org" for front in (f"{'x' * 250}.", f"{'x' * 300}.", "a." * 300)]
    assert compiler.keys(kind, *below) == [".example.org"] * 3  # type: ignore[arg-type]
    assert compiler.keys(kind, f"{at}{'a.' * 300}example.com") == [None]  # type: ignore[arg-type]


def test_entries_in_key_order_from_a_key(compiler: Compiler) -> None:
    """Each as a look-up would have returned it."""
    compiler.one("cidr", "192.0.2.0/24 a\n198.51.100.0/24 b\n2001:db8::/32 c\n")
    table = compiler.open("cidr")
    try:
        pairs = list(table.entries())
        assert [table.value(raw) for _, raw in pairs] == ["a", "b", "c"]
        assert [raw for _, raw in pairs] == [table.find(text) for text in ("192.0.2.1", "198.51.100.1", "2001:db8::1")]
        assert list(table.entries_from(pairs[1][0])) == pairs[1:]
        assert list(table.entries_from(pairs[1][0] + b"\0")) == pairs[2:]
        assert list(table.entries_from(b"7")) == []
    finally:
        table.close()


def test_why_a_file_cannot_be_opened(compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
    """In words, with what to do."""
    path = str(compiler.table_path())

    def why() -> str:
        with pytest.raises(TableError) as failed:
            reader.open_table(path, "t", "domain")
        return str(failed.value)

    assert why() == f"{path} is not there: run forkpolicy-compile"
    compiler.one("domain", "example.org\n")

    def fails(*_: object) -> int:
        raise error

    monkeypatch.setattr(reader.os, "open", fails)
    error: OSError = PermissionError(13, "Permission denied")
    assert why() == f"{path} may not be read by this user: check the rights of the file and its directories"
    error = OSError(24, "Too many open files")
    assert why() == f"{path} cannot be opened: Too many open files"
