"""`mmdb:` sources: databases of countries and networks, from the file to the look-up."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import maxminddb
import pytest

from forkpolicy.commands import main
from forkpolicy.compile.sources.mmdb import MmdbSource, open_source
from tests import databases
from tests.compiling import Compiler
from tests.databases import asn, country
from tests.owners import owner_lines

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def compiler(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Compiler:
    compiler = Compiler(tmp_path, capsys)
    compiler.policy("table t cidr mmdb:list.mmdb")
    return compiler


def compiled(compiler: Compiler, records: dict[str, object], **more: Any) -> str:
    """What the compile of a database writes to standard error."""
    databases.write(compiler.directory / "list.mmdb", records, **more)
    return compiler.run().err


def values(compiler: Compiler, *addresses: str) -> list[str | None]:
    return [entry.value if entry else None for entry in compiler.found("cidr", *addresses)]


def rows(path: Path, word: str = "") -> list[tuple[str, str | None]]:
    return [row[:2] for row in open_source(f"{path.name}{word}", path.parent).rows()]


def test_nested_networks_and_gaps(compiler: Compiler) -> None:
    """The most specific network wins, in both families; what the database leaves out has no entry."""
    records = {
        "192.0.0.0/8": country("AA"),
        "192.0.2.0/24": country("BB"),
        "192.0.2.128/32": country("CC"),
        "2001:db8::/32": country("DD"),
        "2001:db8:8000::/33": country("EE"),
    }
    assert compiled(compiler, records) == ""
    asked = ("192.0.1.255", "192.0.2.127", "192.0.2.128", "192.0.2.129", "192.0.3.0", "::ffff:192.0.2.128")
    assert values(compiler, *asked) == ["AA", "BB", "CC", "BB", "AA", "CC"]
    assert values(compiler, "2001:db8::1", "2001:db8:8000::", "2001:db9::", "193.0.0.0", "::c000:201") == [
        *("DD", "EE"),
        *(None, None, None),
    ]
    (entry,) = compiler.found("cidr", "192.0.2.128")
    assert entry is not None
    assert (entry.key, entry.source, entry.line) == ("192.0.2.128", f"mmdb:{compiler.directory / 'list.mmdb'}", 0)


@pytest.mark.parametrize(
    ("kind", "word", "value"),
    [
        ("GeoLite2-ASN", "", "64500"),
        ("DBIP-ASN-Lite (compat=GeoLite2-ASN)", "", "64500"),
        ("GeoIP2-ISP", "", "64500"),
        ("GeoLite2-Country", "", "CN"),
        ("Anything", "", "CN"),
        ("GeoLite2-ASN", "#country.iso_code", "CN"),
        ("Anything", "#autonomous_system_number", "64500"),
        ("Anything", "#country.names.en", "Land of CN"),
        ("Anything", "#subdivisions.1.iso_code", "B"),
        ("Anything", "#traits.is_anycast", "true"),
        ("Anything", "#traits.weight", "0.5"),
        ("Anything", "#traits.spaced", "two words"),
    ],
)
def test_the_field(tmp_path: Path, kind: str, word: str, value: str) -> None:
    """A path into the record; without one, the type of the database says whether it is of countries or of networks."""
    record = {
        **country("CN"),
        **asn(64500),
        "subdivisions": [{"iso_code": "A"}, {"iso_code": "B"}],
        "traits": {"is_anycast": True, "weight": 0.5, "spaced": " two\n words "},
    }
    databases.write(tmp_path / "x.mmdb", {"192.0.2.0/24": record}, kind)
    assert rows(tmp_path / "x.mmdb", word) == [("192.0.2.0/24", value)]


def test_a_network_without_the_field_has_no_entry(compiler: Compiler) -> None:
    """As a satellite provider has no country in the databases of MaxMind; empty is none, too."""
    empty = {"country": {"iso_code": " "}}
    records = {"192.0.2.0/24": country("AA"), "198.51.100.0/24": {"continent": "EU"}, "203.0.113.0/24": empty}
    assert compiled(compiler, records) == ""
    assert values(compiler, "192.0.2.1", "198.51.100.1", "203.0.113.1") == ["AA", None, None]


@pytest.mark.parametrize("bits", [24, 32])
def test_aliases_of_ipv4_are_not_listed_again(tmp_path: Path, bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """MaxMind's trees lead from `::ffff:0:0/96`, 2002::/16 and 2001::/32 to IPv4 once more: half a million networks."""
    path = tmp_path / "x.mmdb"
    aliases = ("::ffff:0:0/96", "2002::/16", "2001::/32")
    records = {"192.0.2.0/24": country("AA"), "2001:db8::/32": country("BB")}
    if bits == 32:
        monkeypatch.setattr("mmdb_writer.TreeWriter._adjust_record_size", _records_of_32_bits)
    databases.write(path, records | dict.fromkeys(aliases, country("CC")))
    for alias in aliases:
        databases.add_alias(path, alias)
    with maxminddb.open_database(path) as reader:
        assert reader.get("2002:c000:201::") == country("AA")
    assert rows(path) == [("192.0.2.0/24", "AA"), ("2001:db8::/32", "BB")]


def _records_of_32_bits(writer: Any) -> None:
    writer.record_size = 32
    writer.data_offset = 8 * writer._node_counter
    writer.data_pointer = writer._node_counter + 16


def test_what_is_at_a_mapped_address_is_never_asked_for(tmp_path: Path) -> None:
    """`::ffff:192.0.2.1` is 192.0.2.1 for us and for every reader."""
    databases.write(tmp_path / "x.mmdb", {"::ffff:192.0.2.0/120": country("AA"), "192.0.2.1/32": country("BB")})
    assert rows(tmp_path / "x.mmdb") == [("192.0.2.1/32", "BB")]


def test_a_network_around_ipv4(compiler: Compiler) -> None:
    """A record above `::/96` is that of IPv4, too, as readers answer."""
    assert compiled(compiler, {"::/64": country("AA"), "0:0:0:1::/64": country("BB")}) == ""
    assert values(compiler, "192.0.2.1", "::1:0:0:0", "0:0:0:1::1", "0:0:0:2::1") == ["AA", "AA", "BB", None]


def test_a_network_next_to_ipv4(compiler: Compiler) -> None:
    """The one behind `::/96` is no network of IPv4."""
    assert compiled(compiler, {"::1:0:0/96": country("AA"), "2001:db8::/32": country("AA")}) == ""
    assert values(compiler, "192.0.2.1", "::1:0:0", "2001:db8::1") == [None, "AA", "AA"]


def test_all_of_ipv4_may_share_its_record(compiler: Compiler) -> None:
    """Then no network is taken for an alias."""
    halves = {"0.0.0.0/1": country("AA"), "128.0.0.0/1": country("AA")}
    assert compiled(compiler, {**halves, "2001:db8::/32": country("AA")}) == ""
    assert values(compiler, "127.0.0.1", "192.0.2.1", "2001:db8::1", "2001:db9::1") == ["AA", "AA", "AA", None]


def test_a_wide_network_is_no_slip_in_a_database(tmp_path: Path) -> None:
    """It becomes as many as an entry may be wide."""
    databases.write(tmp_path / "x.mmdb", {"6.0.0.0/7": country("AA"), "2400::/14": country("BB")})
    wide = [("6.0.0.0/8", "AA"), ("7.0.0.0/8", "AA"), *((f"{first:x}::/16", "BB") for first in range(0x2400, 0x2404))]
    assert rows(tmp_path / "x.mmdb") == wide


def test_a_database_of_ipv4_alone(compiler: Compiler, checked: Callable[[], tuple[int, list[Any]]]) -> None:
    """Clients with IPv6 then have no entry, which compile and check say."""
    said = "the database has IPv4 networks alone: clients with an IPv6 address have no entry"
    assert f"warning: mmdb:list.mmdb: {said}" in compiled(compiler, {"192.0.2.0/24": country("AA")}, version=4)
    assert values(compiler, "192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1", "::c000:201") == ["AA", "AA", None, None]
    status, (diagnostic,) = checked()
    assert (status, diagnostic["severity"], diagnostic["column"]) == (0, "warning", 14)
    assert diagnostic["message"] == f"mmdb:list.mmdb: {said}"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda _: b"", "is empty: most often a download failed"),
        (lambda content: content[: len(content) // 2], "is damaged, half a file, or not a MaxMind database"),
        (lambda content: content[len(content) // 2 :], "is damaged, half a file, or not a MaxMind database"),
        (lambda _: b"<html>404</html>\n", "is damaged, half a file, or not a MaxMind database"),
        (lambda content: content.replace(b"record_size", b"record_sice"), "is damaged, half a file"),
        (lambda content: content.replace(b"country", b"coun\xffry"), "cannot be decoded"),
        (lambda content: b"\0" * 12 + content[12:], "is damaged: its search tree leads back into itself"),
    ],
)
def test_a_damaged_database(compiler: Compiler, spoil: Callable[[bytes], bytes], message: str) -> None:
    """It is refused at its word, and the table in use stays."""
    assert compiled(compiler, {"192.0.2.0/24": country("AA")}) == ""
    path = compiler.directory / "list.mmdb"
    path.write_bytes(spoil(path.read_bytes()))
    outcome = compiler.run()
    assert outcome.status == 78
    assert f"{compiler.directory / 'policy.conf'}:1:14: mmdb:list.mmdb: " in outcome.err
    assert message in outcome.err
    assert values(compiler, "192.0.2.1") == ["AA"]


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ("table t cidr mmdb:", "expected mmdb:PATH or mmdb:PATH#FIELD"),
        ("table t cidr mmdb:#country", "expected mmdb:PATH or mmdb:PATH#FIELD"),
        ("table t cidr mmdb:list.mmdb#country.", "expected mmdb:PATH or mmdb:PATH#FIELD"),
        ("table t cidr mmdb:gone.mmdb", "cannot be read: No such file or directory"),
        ("table t cidr mmdb:.", "cannot be read: Is a directory"),
        ("table t domain mmdb:list.mmdb", "its keys are networks, and the table is of kind domain: expected cidr"),
        ("table t cidr mmdb:list.mmdb#country", "the field country is not one value: name one of country.iso_code, "),
        (
            "table t cidr mmdb:list.mmdb#iso_code",
            "no network of this database (Test-Country) has the field iso_code: name another one, mmdb:PATH#FIELD",
        ),
    ],
)
def test_mistakes_are_at_their_word(compiler: Compiler, policy: str, message: str) -> None:
    """With what was expected."""
    databases.write(compiler.directory / "list.mmdb", {"192.0.2.0/24": country("AA")})
    compiler.policy(policy)
    outcome = compiler.run()
    assert outcome.status == 78
    assert f"policy.conf:1:{policy.index('mmdb:') + 1}: mmdb:" in outcome.err
    assert message in outcome.err


def test_a_database_without_networks_is_an_empty_source(compiler: Compiler) -> None:
    """As every other kind of source."""
    assert "the source is empty" in compiled(compiler, {})


def test_what_happens_to_the_file_meanwhile_does_not_matter(tmp_path: Path) -> None:
    """Cut off in place after it was opened, which ends a process that has it mapped."""
    path = tmp_path / "x.mmdb"
    databases.write(path, {f"192.0.{number}.0/24": country(f"{number}") for number in range(9)})
    listed = open_source("x.mmdb", tmp_path).rows()
    first = next(listed)
    with path.open("wb"):
        pass
    assert [first.value, *(row.value for row in listed)] == [str(number) for number in range(9)]


class Growing(type(Path())):  # type: ignore[misc]
    """The path of a file that grows while it is read."""

    def open(self, *arguments: Any, **more: Any) -> Any:
        return _Late(super().open(*arguments, **more), Path(self))


class _Late:
    """A file that another process writes to once it was read."""

    def __init__(self, file: Any, path: Path) -> None:
        self.file, self.path = file, path

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def fileno(self) -> int:
        return int(self.file.fileno())

    def read(self) -> bytes:
        content: bytes = self.file.read()
        with self.path.open("ab") as other:
            other.write(b"x")
        return content


def test_a_file_that_is_written_in_place_while_it_is_read(tmp_path: Path) -> None:
    """Half of it would be of one database and half of another."""
    databases.write(tmp_path / "x.mmdb", {"192.0.2.0/24": country("AA")})
    source = MmdbSource("x", Growing(tmp_path / "x.mmdb"), "")
    with pytest.raises(ValueError, match="has changed while it was read: compile again"):
        list(source.rows())


def test_without_maxminddb(
    compiler: Compiler, checked: Callable[[], tuple[int, list[Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compile and check name the extra."""
    databases.write(compiler.directory / "list.mmdb", {"192.0.2.0/24": country("AA")})
    assert compiler.run().status == 0
    monkeypatch.setitem(sys.modules, "maxminddb", None)
    message = "mmdb sources need maxminddb, which is not installed: pip install 'forkpolicy[mmdb]'"
    assert message in compiler.run().err
    status, (diagnostic,) = checked()
    assert (status, diagnostic["message"]) == (1, f"mmdb:list.mmdb: {message}")


@pytest.fixture
def checked(compiler: Compiler, capsys: pytest.CaptureFixture[str]) -> Callable[[], tuple[int, list[Any]]]:
    """A function: exit status and diagnostics of `check` about the sources of tables."""
    server = f'[server]\nlisten = ["unix:policy"]\ncontrol = "unix:control"\n{owner_lines()}'
    compiler.settings.write_text(compiler.settings.read_text() + server)

    def check() -> tuple[int, list[Any]]:
        capsys.readouterr()
        status = main(["check", "--postfix", "none", "--json", "-c", str(compiler.settings)])
        diagnostics = json.loads(capsys.readouterr().out)["diagnostics"]
        others = ("never used", "documentation", "has no access rule")
        return status, [each for each in diagnostics if not any(word in each["message"] for word in others)]

    return check


def test_a_newer_database_is_seen(compiler: Compiler, checked: Callable[[], tuple[int, list[Any]]]) -> None:
    """By check, and by a compile with --if-changed, neither of which lists half a million networks for it."""
    assert compiled(compiler, {"192.0.2.0/24": country("AA")}) == ""
    assert checked() == (0, [])
    assert "unchanged" in compiler.run("--if-changed").out
    databases.write(compiler.directory / "list.mmdb", {"192.0.2.0/24": country("BB")})
    status, (diagnostic,) = checked()
    assert (status, diagnostic["severity"]) == (0, "warning")
    assert 'table "t" was compiled from other contents of its sources' in diagnostic["message"]
    assert "t: compiled" in compiler.run("--if-changed").out
    assert (checked(), values(compiler, "192.0.2.1")) == ((0, []), ["BB"])


def test_protected_networks(compiler: Compiler) -> None:
    """As for every source: an entry that touches one refuses the table."""
    compiler.source("ours", "192.0.2.0/28\n")
    databases.write(compiler.directory / "list.mmdb", {"192.0.2.0/24": country("AA")})
    outcome = compiler.run("--protect", str(compiler.directory / "ours"))
    assert outcome.status == 78
    assert "192.0.2.0/24 must not be in this table: 192.0.2.0/28 is protected" in outcome.err


def test_lookup_names_the_database(compiler: Compiler, capsys: pytest.CaptureFixture[str]) -> None:
    """Key, value and where they are from."""
    assert compiled(compiler, {"192.0.2.0/24": country("AA")}) == ""
    assert main(["lookup", "-c", str(compiler.settings), "t", "192.0.2.9"]) == 0
    assert capsys.readouterr().out == f"192.0.2.0/24 AA  (mmdb:{compiler.directory / 'list.mmdb'})\n"
