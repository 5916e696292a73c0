"""Sources that are listed by a program: CSV, LMDB maps, databases, interfaces, Postfix's own lists."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Self

import lmdb
import pyroute2
import pytest

from forkpolicy.compile.sources import interfaces, lmdbmap, postconf, sql
from forkpolicy.compile.sources.registry import open_source, with_whole_queries
from forkpolicy.errors import ConfigError
from forkpolicy.policy.load import declared_tables
from forkpolicy.postfix.lists import split_list
from forkpolicy.tables.kinds import KINDS
from forkpolicy.tables.rows import Row
from tests.compiling import Compiler

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def compiler(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Compiler:
    return Compiler(tmp_path, capsys)


@pytest.mark.parametrize(
    ("content", "columns"),
    [
        ("network,country,asn\n192.0.2.0/24,AD,1\n", "network:country"),
        ('id;"network";"country"\n1;"192.0.2.0/24";"AD"\n;;\n\n', "network:country"),
        ("\ufeff192.0.2.0/24\tAD\r\n", "1:2"),
    ],
)
def test_csv(compiler: Compiler, content: str, columns: str) -> None:
    """Columns by name or number, with any of the usual separators, quotes and line ends."""
    compiler.policy(f"table t cidr csv:list.csv:{columns}")
    compiler.source("list.csv", content)
    assert compiler.run().err == ""
    entry = compiler.found("cidr", "192.0.2.1")[0]
    assert entry is not None
    assert (entry.key, entry.value, entry.source) == ("192.0.2.0/24", "AD", str(compiler.directory / "list.csv"))


def test_csv_columns_of_one_name(compiler: Compiler) -> None:
    """Which of two columns was meant nobody can know: the first is taken, and the compile says so."""
    compiler.policy("table t cidr csv:list.csv:net", "table u cidr csv:list.csv:other")
    compiler.source("list.csv", "net,other,net\n192.0.2.0/24,198.51.100.0/24,203.0.113.0/24\n")
    outcome = compiler.run()
    assert outcome.status == 0
    assert outcome.err.count("warning") == 1
    assert 'warning: csv:list.csv:net: the header has "net" more than once: the first counts' in outcome.err
    assert compiler.keys("cidr", "192.0.2.1", "203.0.113.1") == ["192.0.2.0/24", None]


def test_csv_rows_without_a_key(compiler: Compiler) -> None:
    """They are left out, and one warning counts them; blank rows are nothing."""
    compiler.policy("table t cidr csv:list.csv:network")
    compiler.source("list.csv", "network,country\n192.0.2.0/24,AD\n,AE\n ,AF\n,\n")
    outcome = compiler.run()
    assert outcome.status == 0
    assert "warning: csv:list.csv:network: rows without a key are left out (2)" in outcome.err


@pytest.mark.parametrize(
    ("word", "content", "message"),
    [
        ("csv:list.csv:netwrok", "network,x\n1,2\n", 'the header has no column "netwrok"; did you mean "network"?'),
        ("csv:list.csv:3", "a,b\n", "list.csv:1: 2 columns where column 3 is wanted"),
        ("csv:list.csv:network", "network\n300.1.1.1\n", "list.csv:2:1: 300.1.1.1 is not an IPv4 address"),
        ("csv:list.csv:1", "network\n192.0.2.0/24\n", "list.csv:1:1: network is neither an address nor a network"),
        ("csv:list.csv", "", "expected csv:FILE:COLUMN"),
        ("csv:gone.csv:1", "", "cannot be read: No such file"),
    ],
)
def test_csv_that_is_wrong(compiler: Compiler, word: str, content: str, message: str) -> None:
    """What is wrong with a CSV source is reported at the source or at its line."""
    compiler.policy(f"table t cidr {word}")
    compiler.source("list.csv", content)
    outcome = compiler.run()
    assert outcome.status == 78
    assert message in outcome.err


@pytest.mark.parametrize(
    ("content", "place", "message"),
    [
        (b"name,x\nbad\xe4.example,y\n", "2:4", "byte 0xe4 is not UTF-8: save the file as UTF-8"),
        (b"n\xe4me,x\n", "1:2", "byte 0xe4 is not UTF-8: save the file as UTF-8"),
        (b"name,x\n" + b"a.example,y\n" * 9000 + b'"b.example","\xfc"\n', "9002:14", "byte 0xfc is not UTF-8"),
        (b"name,x\ra.example,\xc3", "2:11", "byte 0xc3 is not UTF-8"),
        ("name,x\na.example,y\n".encode("utf-16"), "1", "this is UTF-16: save the file as UTF-8"),
        (b"\xfe\xff" + "name\na.example\n".encode("utf-16-be"), "1", "this is UTF-16: save the file as UTF-8"),
    ],
)
def test_csv_that_is_not_utf8(compiler: Compiler, content: bytes, place: str, message: str) -> None:
    """It is reported as for other text: with its line, and what to do."""
    compiler.policy("table t domain csv:list.csv:name")
    compiler.source("list.csv", content)
    outcome = compiler.run()
    assert outcome.status == 78
    assert f"{compiler.directory}/list.csv:{place}: {message}" in outcome.err


@pytest.mark.parametrize("content", ["", "\n", "\r\n \r\n", "\ufeff"])
@pytest.mark.parametrize("column", ["a", "1"])
def test_csv_that_is_empty(compiler: Compiler, content: str, column: str) -> None:
    """It is an empty source, refused and allowed as others are, and no header without a column."""
    compiler.policy(f"table t domain csv:list.csv:{column} list", f"table u domain csv:/dev/null:{column} list")
    compiler.source("list.csv", content)
    compiler.source("list", "a.example\n")
    assert compiler.run().err.count("the source is empty") == 2
    assert compiler.run("--allow-shrink").err == ""


def test_csv_with_blank_lines_above_its_header(compiler: Compiler) -> None:
    """They are nothing, as blank lines are everywhere else."""
    compiler.policy("table t domain csv:list.csv:name:x")
    compiler.source("list.csv", "\n\nname;x\na.example;1\nb.example;2;3\n;\n")
    assert compiler.run().err == ""
    found = compiler.found("domain", "a.example", "b.example")
    assert [each and (each.value, each.line) for each in found] == [("1", 4), ("2", 5)]


def test_lmdb_maps_of_postfix(compiler: Compiler, tmp_path: Path) -> None:
    """Keys and values lose the NUL that Postfix stores; the suffix may be left out."""
    with lmdb.open(str(tmp_path / "map.lmdb"), subdir=False, lock=False) as env, env.begin(write=True) as txn:
        txn.put(b"example.com\0", b"OK\0")
        txn.put(b"YP_LAST_MODIFIED\0", b"1\0")
    compiler.policy("table t domain lmdb:map")
    assert compiler.run().err == ""
    assert compiler.keys("domain", "example.com") == ["example.com"]
    compiler.source("bad.lmdb", "x" * 9000)
    compiler.policy("table t domain lmdb:bad")
    assert "is not an LMDB map" in compiler.run().err


def test_an_lmdb_map_that_somebody_keeps_locked(
    compiler: Compiler, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that may write to the map can lock it for ever: it is named, and not waited for without end."""
    with lmdb.open(str(tmp_path / "map.lmdb"), subdir=False, lock=False) as env, env.begin(write=True) as txn:
        txn.put(b"example.com\0", b"OK\0")
    compiler.policy("table t domain lmdb:map")
    monkeypatch.setattr(lmdbmap, "PATIENCE_S", 0.1)
    hold = (
        "import fcntl, sys\nwith open(sys.argv[1], 'r+b') as map:\n fcntl.lockf(map, 2)\n print(flush=True)\n input()"
    )
    words = [sys.executable, "-c", hold, str(tmp_path / "map.lmdb")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        holder.stdout.readline()
        outcome = compiler.run()
        holder.communicate(b"\n")
    assert outcome.status == 78
    assert f"map.lmdb is locked by process {holder.pid} (" in outcome.err
    assert compiler.run().status == 0


def test_sql_from_sqlite(compiler: Compiler, tmp_path: Path) -> None:
    """A query takes the rest of its statement; relative databases are relative to the policy."""
    pytest.importorskip("sqlalchemy", reason="the extra `sql` is not installed")
    with sqlite3.connect(tmp_path / "mail.db") as database:
        database.execute("create table domains (name text, note text)")
        database.executemany("insert into domains values (?, ?)", [("example.com", "a"), ("EXAMPLE.net", None)])
    database.close()
    compiler.policy("table t domain sql:sqlite:///mail.db:SELECT name, note", "    FROM domains -- all of them")
    assert compiler.run().err == ""
    assert [entry and entry.value for entry in compiler.found("domain", "example.com", "example.net")] == ["a", None]


@pytest.mark.parametrize(
    ("rest", "message"),
    [
        ("sqlite:///gone.db:SELECT 1", "there is no database"),
        ("sqlite:///mail.db:SELECT nothing FROM nowhere", "the database says: "),
        ("sqlite:///mail.db:SELECT 'a', 'b', 'c'", "returns 3 columns"),
        ("sqlite:///mail.db:DROP TABLE x", "expected sql:URL:QUERY"),
        ("SELECT 1", "expected sql:URL:QUERY"),
    ],
)
def test_sql_that_is_wrong(compiler: Compiler, rest: str, message: str) -> None:
    """A query that cannot be is a mistake at its place in the policy, in the database's words."""
    pytest.importorskip("sqlalchemy", reason="the extra `sql` is not installed")
    sqlite3.connect(compiler.directory / "mail.db").close()
    compiler.policy(f"table t domain sql:{rest}")
    outcome = compiler.run()
    assert outcome.status == 78
    assert "policy.conf:1:16: sql:" in outcome.err
    assert message in outcome.err


@pytest.mark.parametrize(
    ("query", "keys"),
    [
        ("SELECT name FROM domains WHERE note LIKE '%:e%'", ["a.example"]),
        ("SELECT name FROM domains WHERE note = 'x:e' OR note = '50%' -- :why", ["a.example", "b.example"]),
        ("SELECT name FROM domains WHERE note LIKE '%\\:e%'", []),
        ("SELECT name FROM domains WHERE note = '%s' OR note = '?'", ["c.example"]),
    ],
)
def test_a_query_goes_to_the_database_as_it_stands(compiler: Compiler, query: str, keys: list[str]) -> None:
    """Colons, percent signs and question marks in a literal are no parameters."""
    pytest.importorskip("sqlalchemy", reason="the extra `sql` is not installed")
    with sqlite3.connect(compiler.directory / "mail.db") as database:
        database.execute("create table domains (name text, note text)")
        rows = [("a.example", "x:e"), ("b.example", "50%"), ("c.example", "?")]
        database.executemany("insert into domains values (?, ?)", rows)
    database.close()
    compiler.policy(f"table t domain sql:sqlite:///mail.db:{query}")
    outcome = compiler.run("--allow-shrink")
    assert outcome.status == 0, outcome.err
    assert [key for key in compiler.keys("domain", "a.example", "b.example", "c.example") if key] == keys


@pytest.mark.parametrize(
    ("lines", "keys"),
    [
        (["SELECT 'two  blanks'"], ["two  blanks"]),
        (["SELECT 'a\tb' UNION   SELECT 'c d'"], ["a\tb", "c d"]),
        (
            [
                "SELECT 'a' -- the first",
                "    UNION SELECT 'b'",
                "# a comment of the policy",
                "",
                "    UNION SELECT 'c'  ",
            ],
            list("abc"),
        ),
        (["SELECT", "  'over", "    lines'"], ["over\n    lines"]),
    ],
)
def test_a_query_keeps_its_blanks_and_lines(compiler: Compiler, lines: list[str], keys: list[str]) -> None:
    """What is a word or a line to the policy is text to the database: literals, and comments to the end of a line."""
    pytest.importorskip("sqlalchemy", reason="the extra `sql` is not installed")
    sqlite3.connect(compiler.directory / "mail.db").close()
    for before in ("table t key sql:sqlite:///mail.db:", "table\n    t key list sql:sqlite:///mail.db:"):
        compiler.policy("# a policy", before + lines[0], *lines[1:], "acl x sender table:t")
        compiler.source("list", "other\n")
        declared = with_whole_queries(declared_tables(str(compiler.directory / "policy.conf"), "")[0])
        source = open_source(declared, len(declared.sources) - 1)
        assert [row.key for row in source.rows()] == keys  # type: ignore[union-attr]


def test_bytes_of_a_database_are_text(compiler: Compiler) -> None:
    """Columns of a binary type hold UTF-8, as those that mail servers' tables have."""
    pytest.importorskip("sqlalchemy", reason="the extra `sql` is not installed")
    sqlite3.connect(compiler.directory / "mail.db").close()
    query = "SELECT CAST('user@example.com' AS BLOB), CAST('bücher' AS BLOB)"
    compiler.policy(f"table t address sql:sqlite:///mail.db:{query}")
    assert compiler.run().err == ""
    entry = compiler.found("address", "user@example.com")[0]
    assert entry
    assert (entry.key, entry.value) == ("user@example.com", "bücher")
    compiler.policy("table t address sql:sqlite:///mail.db:SELECT 'a.example' UNION ALL SELECT x'62fc'")
    outcome = compiler.run()
    assert outcome.status == 78
    assert r"row 2 of the query has bytes that are not UTF-8, b'b\xfc': expected text" in outcome.err


def test_rows_of_a_database_without_a_key(compiler: Compiler) -> None:
    """They are left out, and one warning counts them."""
    pytest.importorskip("sqlalchemy", reason="the extra `sql` is not installed")
    sqlite3.connect(compiler.directory / "mail.db").close()
    query = "SELECT 'a.example', 1 UNION ALL SELECT NULL, 2 UNION ALL SELECT '  ', 3"
    compiler.policy(f"table t domain sql:sqlite:///mail.db:{query}")
    outcome = compiler.run()
    assert outcome.status == 0
    assert "rows without a key are left out (2)" in outcome.err
    assert compiler.keys("domain", "a.example") == ["a.example"]


def test_warnings_of_the_database_are_warnings_of_the_source(
    compiler: Compiler, recwarn: pytest.WarningsRecorder
) -> None:
    """In words, and not as Python writes them."""
    pytest.importorskip("sqlalchemy", reason="the extra `sql` is not installed")
    sqlite3.connect(compiler.directory / "mail.db").close()
    compiler.policy("table t domain sql:sqlite:///mail.db?tiemout=5:SELECT 'a.example'")
    outcome = compiler.run()
    assert outcome.status == 0
    assert outcome.err.startswith(f"{compiler.directory}/policy.conf:1:16: warning: sql:sqlite:///mail.db?tiemout=5")
    assert "the database says: Query string argument(s) 'tiemout' are not accepted" in outcome.err
    assert outcome.err.count("\n") == 1
    assert not recwarn.list


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:///mail.db?timeout=abc", "sqlite:///mail.db?timeout=abc:SELECT 1: "),
        (
            "postgresql://h:abc/x",
            "postgresql://h:***:SELECT 1: the port of its URL is not a number; in a password",
        ),
    ],
)
def test_a_url_that_a_driver_does_not_take(compiler: Compiler, url: str, shown: str) -> None:
    """It is reported at its place, whatever the driver raises; a possible password that lacks its host is not shown."""
    pytest.importorskip("sqlalchemy", reason="the extra `sql` is not installed")
    sqlite3.connect(compiler.directory / "mail.db").close()
    compiler.policy(f"table t domain sql:{url}:SELECT 1")
    outcome = compiler.run()
    assert outcome.status == 78
    assert f"policy.conf:1:16: sql:{shown}" in outcome.err


def test_an_option_that_a_driver_does_not_know(compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drivers that are functions raise TypeError for it."""
    sqlalchemy = pytest.importorskip("sqlalchemy", reason="the extra `sql` is not installed")

    def create_engine(*_: object, **__: object) -> None:
        raise TypeError("connect() got an unexpected keyword argument 'tiemout'")

    monkeypatch.setattr(sqlalchemy, "create_engine", create_engine)
    compiler.policy("table t domain sql:mysql://db/mail?tiemout=5:SELECT 1")
    outcome = compiler.run()
    assert outcome.status == 78
    assert "does not take an option of the URL: connect() got an unexpected keyword argument 'tiemout'" in outcome.err


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://mail:s3cret@db/mail", "postgresql://mail:***@db/mail"),
        ("postgresql://mail@realm:s3cret@db/mail", "postgresql://mail@realm:***@db/mail"),
        ("postgresql:///mail?user=u&password=s3cret", "postgresql:///mail?user=u&password=***"),
        ("postgresql:///mail?password=s3cret:x&user=u", "postgresql:///mail?password=***&user=u"),
        ("mysql://db/mail?ssl_ca=/x&passwd=s3cret", "mysql://db/mail?ssl_ca=/x&passwd=***"),
        ("mysql://db/mail?ssl_key_password=s3cret&PWD=s3cret", "mysql://db/mail?ssl_key_password=***&PWD=***"),
        ("mssql+pyodbc:///?odbc_connect=UID%3Du%3BPWD%3Ds3cret", "mssql+pyodbc:///?odbc_connect=***"),
        ("x://db/?access_token=s3cret", "x://db/?access_token=***"),
        ("postgresql://db:5432/mail?passfile=/etc/pg", "postgresql://db:5432/mail?passfile=/etc/pg"),
    ],
)
def test_no_password_of_a_url_is_shown(url: str, shown: str) -> None:
    """Neither where the source is named nor in diagnostics, wherever in the URL it stands; the query is left alone."""
    query = "SELECT 'a@b', '?password=x&y' AS x"
    assert sql.without_password(f"sql:{url}:{query}") == f"sql:{shown}:{query}"
    assert sql.without_password(url) == shown
    assert "s3cret" not in sql.without_password(f"sql:{url}:DROP it")


def test_a_diagnostic_shows_no_password(compiler: Compiler) -> None:
    """Nor does a mistake in a source: diagnostics go to logs and mails."""
    pytest.importorskip("sqlalchemy", reason="the extra `sql` is not installed")
    compiler.policy("table t domain sql:postgresql://mail:s3cret@127.0.0.1:1/mail:SELECT 1")
    said = compiler.run().err
    assert "sql:postgresql://mail:***@127.0.0.1:1/mail" in said
    assert "s3cret" not in said


def test_sql_without_sqlalchemy(compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra is named when it is missing."""
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    compiler.policy("table t domain sql:sqlite:///x.db:SELECT 1")
    assert "pip install 'forkpolicy[sql]'" in compiler.run().err


def test_a_password_is_not_kept(compiler: Compiler) -> None:
    """What names a source to everybody does not hold the password of its URL."""
    source = sql.open_source("postgresql://mail:s3cret@db/mail:SELECT 1", compiler.directory)
    assert source.name == "sql:postgresql://mail:***@db/mail"


class FakeMessage(dict[str, Any]):
    """A message as pyroute2 gives it."""

    def __init__(self, attributes: dict[str, Any], **fields: Any) -> None:
        super().__init__(fields)
        self.attributes = attributes

    def get_attr(self, name: str) -> Any:
        return self.attributes.get(name)


def address(text: str, length: int, index: int = 2, local: str | None = None) -> FakeMessage:
    return FakeMessage({"IFA_ADDRESS": text, "IFA_LOCAL": local}, prefixlen=length, index=index)


def test_addresses_mean_their_networks() -> None:
    """An address stands for its network, and a point-to-point address for both ends."""
    found = [
        str(network)
        for network, _ in interfaces._of_addresses(
            [address("192.0.2.5", 24), address("10.0.0.2", 32, local="10.0.0.1")]
        )
    ]
    assert found == ["192.0.2.0/24", "10.0.0.2/32", "10.0.0.1/32"]


def test_only_connected_routes_count() -> None:
    """Routes through a gateway, default routes, blackholes and the local table are not this machine's networks."""

    def route(gateway: str | None = None, **fields: Any) -> FakeMessage:
        base = {"dst_len": 16, "type": 1, "table": 254, "family": 2}
        return FakeMessage({"RTA_DST": "172.16.0.0", "RTA_GATEWAY": gateway, "RTA_OIF": 2}, **{**base, **fields})

    routes = [route(), route(gateway="192.0.2.1"), route(dst_len=0), route(type=6), route(table=255)]
    assert [str(network) for network, _ in interfaces._of_routes(routes)] == ["172.16.0.0/16"]


class FakeKernel:
    """An IPRoute with one interface, tun0."""

    def __init__(self, addresses: list[FakeMessage], routes: list[FakeMessage]) -> None:
        self.addresses, self.routes = addresses, routes

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def get_links(self) -> list[FakeMessage]:
        tun = FakeMessage({"IFLA_IFNAME": "tun0"}, index=2, flags=1)
        tun.get_nested = lambda *_: "tun"  # type: ignore[attr-defined]
        return [tun]

    def get_addr(self) -> list[FakeMessage]:
        return self.addresses

    def get_routes(self) -> list[FakeMessage]:
        return self.routes


def connected(network: str, index: int = 2) -> FakeMessage:
    text, _, length = network.partition("/")
    family = 10 if ":" in text else 2
    return FakeMessage({"RTA_DST": text, "RTA_OIF": index}, dst_len=int(length), type=1, table=254, family=family)


def test_routes_to_nearly_everywhere_are_no_networks(compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
    """Halves of the default route, as VPN clients make them: left out with one warning, and the rest is taken."""
    wide = ["0.0.0.0/1", "128.0.0.0/1", "::/1", "8000::/1", "2000::/3", "10.0.0.0/7"]
    fine = ["11.0.0.0/8", "fd00::/8", "fc00::/7", "2001::/16", "192.0.2.0/24"]
    routes = [*map(connected, [*wide, *fine]), connected("64.0.0.0/2", index=3)]
    monkeypatch.setattr(pyroute2, "IPRoute", lambda: FakeKernel([address("10.8.0.2", 24)], routes))
    compiler.policy("table t cidr interfaces:")
    outcome = compiler.run()
    assert outcome.status == 0
    assert outcome.err.count("\n") == 1
    assert (
        "warning: interfaces:: 0.0.0.0/1 on tun0, 10.0.0.0/7 on tun0, 128.0.0.0/1 on tun0, ::/1 on tun0, "
        in outcome.err
    )
    assert "are wider than a table accepts from an interface, and left out" in outcome.err
    asked = ["8.8.8.8", "2a00::1", "11.1.1.1", "fd00::1", "192.0.2.9", "10.8.0.9"]
    assert [bool(key) for key in compiler.keys("cidr", *asked)] == [False, False, True, True, True, True]


def test_an_address_with_nearly_everything_around_it(compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is this machine's, and the network that its prefix length means is not."""
    addresses = [address("10.8.0.2", 1, local="10.8.0.2"), address("2a00::5", 0), address("192.0.2.1", 24)]
    monkeypatch.setattr(pyroute2, "IPRoute", lambda: FakeKernel(addresses, []))
    compiler.policy("table t cidr interfaces:tun0")
    outcome = compiler.run()
    assert outcome.status == 0
    assert "0.0.0.0/1 on tun0, ::/0 on tun0 are wider than" in outcome.err
    asked = ["10.8.0.2", "10.8.0.3", "2a00::5", "2a00::6"]
    assert compiler.keys("cidr", *asked) == ["10.8.0.2", None, "2a00::5", None]


def test_interfaces_of_this_machine(compiler: Compiler) -> None:
    """The loopback networks are always there; link-local ones only when asked for."""
    compiler.policy("table t cidr interfaces:", "table lo cidr interfaces:lo")
    assert compiler.run().status == 0
    assert compiler.keys("cidr", "127.0.0.1", "fe80::1") == ["127.0.0.0/8", None]
    assert compiler.keys("cidr", "127.9.9.9", "8.8.8.8", name="lo") == ["127.0.0.0/8", None]


def test_a_listing_that_fails_leaves_the_table(compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that gives no answer is an error with a reason, never an empty table, --allow-shrink or not."""
    compiler.policy("table t cidr interfaces:")
    assert compiler.run().status == 0

    def busy(*_: object) -> None:
        raise pyroute2.NetlinkError(16, "Device or resource busy")

    monkeypatch.setattr(pyroute2.IPRoute, "get_addr", busy, raising=False)
    outcome = compiler.run("--allow-shrink")
    assert outcome.status == 78
    assert "the kernel does not list its interfaces" in outcome.err
    assert compiler.keys("cidr", "127.0.0.1") == ["127.0.0.0/8"]


def test_an_unknown_interface_is_named(compiler: Compiler) -> None:
    """A name that no interface has is a mistake, not an empty list."""
    compiler.policy("table t cidr interfaces:nosuch0", "table u cidr interfaces:+everything")
    outcome = compiler.run()
    assert 'interfaces:nosuch0: no interface "nosuch0"; there are lo' in outcome.err
    assert '"+everything" is not known here' in outcome.err


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("127.0.0.0/8, [::1]/128 192.0.2.0/24", ["127.0.0.0/8", "[::1]/128", "192.0.2.0/24"]),
        ("a,b,, c", ["a", "b", "c"]),
        ("x inline:{ {a = 1, 2}, b=2 }, y", ["x", "inline:{ {a = 1, 2}, b=2 }", "y"]),
        ("", []),
    ],
)
def test_lists_of_postfix(value: str, words: list[str]) -> None:
    """Commas and blanks separate, braces hold together."""
    assert split_list(value) == words


class FakePostconf:
    """postconf(1) with these parameters."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **parameters: str) -> None:
        self.parameters = {"parent_domain_matches_subdomains": "mynetworks, relay_domains", **parameters}
        self.said: list[str] = []

        def answer(parameter: str) -> tuple[str, list[str]]:
            return self.parameters[parameter], self.said

        monkeypatch.setattr("forkpolicy.postfix.postconf.value_of", answer)

    def rows(self, parameter: str) -> list[Row]:
        kind = "cidr" if parameter == "mynetworks" else "domain"
        return list(postconf.PostconfSource(f"postconf:{parameter}", parameter, KINDS[kind]).rows())


def test_an_empty_map_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A map that Postfix looks up in vain has no entry, not one of no name."""
    fake = FakePostconf(monkeypatch, relay_domains="example.org hash:/etc/postfix/relay")
    monkeypatch.setattr("forkpolicy.postfix.postconf._run", lambda *_: ("", []))
    assert [row.key for row in fake.rows("relay_domains")] == ["example.org", ".example.org"]


def test_mistakes_of_entries_and_of_maps_come_in_one_run(monkeypatch: pytest.MonkeyPatch, compiler: Compiler) -> None:
    """What cannot be listed does not hide which of the listed entries are wrong."""
    FakePostconf(monkeypatch, mydestination="10.0.0.1 bad..name ldap:/x good.example")
    compiler.policy("table t domain postconf:mydestination")
    said = compiler.run().err
    for wrong in ("10.0.0.1 is an address", '"bad..name" has an empty label', "ldap:/x cannot be listed"):
        assert wrong in said
    assert "table t: 3 errors" in said


def test_members_files_and_maps_are_followed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Literals, files in files, texthash, cidr and inline maps all end up as entries."""
    (tmp_path / "more").write_text("# comment\n198.51.100.0/24\n")
    (tmp_path / "nets").write_text(f"192.0.2.0/24, [2001:db8::]/32\n{tmp_path}/more\n")
    (tmp_path / "th").write_text("203.0.113.1 OK\n  continued\n")
    (tmp_path / "c").write_text("203.0.113.64/26 OK\n")
    maps = f"proxy:texthash:{tmp_path}/th cidr:{tmp_path}/c inline:{{10.0.0.1=x}}"
    fake = FakePostconf(monkeypatch, mynetworks=f"127.0.0.1 {tmp_path}/nets {maps} [dead:beef::/32]")
    assert [row.key for row in fake.rows("mynetworks")] == [
        "127.0.0.1",
        "192.0.2.0/24",
        "2001:db8::/32",
        "198.51.100.0/24",
        "203.0.113.1",
        "203.0.113.64/26",
        "10.0.0.1",
        "dead:beef::/32",
    ]


@pytest.mark.parametrize(
    ("line", "row"),
    [
        ('"user one"@example.com OK', ('"user one"@example.com', "OK")),
        ('"user one"@example.com\tREJECT "no" thanks', ('"user one"@example.com', 'REJECT "no" thanks')),
        ('"user one"', ('"user one"', None)),
        ('ab"c d"@e.example q', ('ab"c d"@e.example', "q")),
        ('"a\\"b c"@e.example z', ('"a\\"b c"@e.example', "z")),
        ('a\\"b@e.example z', ('a\\"b@e.example', "z")),
        ('plain@example.com say "x', ("plain@example.com", 'say "x')),
        ("one\x85two three", ("one\x85two", "three")),
    ],
)
def test_a_key_of_texthash_is_split_as_postfix_splits_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, line: str, row: tuple[str, str | None]
) -> None:
    """At the first blank outside quotes; what stands in quotes, or behind a backslash, is part of the key."""
    (tmp_path / "th").write_text(f"# first\n{line}\nlast@example.com OK\n")
    fake = FakePostconf(monkeypatch, some_maps=f"texthash:{tmp_path}/th")
    assert fake.rows("some_maps") == [Row(*row, 2), Row("last@example.com", "OK", 3)]


def test_a_quote_that_stays_open(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Postfix ignores such a line; its author meant something."""
    (tmp_path / "th").write_text('a@example.com OK\n"user one@example.com OK\n')
    fake = FakePostconf(monkeypatch, some_maps=f"texthash:{tmp_path}/th")
    with pytest.raises(ConfigError, match=re.escape("th:2: a quote that is not closed")):
        fake.rows("some_maps")


@pytest.mark.parametrize(
    ("value", "rows"),
    [
        ("cidr:{{192.0.2.0/24 OK}}", [("192.0.2.0/24", "OK")]),
        (
            "cidr:{ {192.0.2.5 one two}, { 192.0.2.0/24\tREJECT } }",
            [("192.0.2.5", "one two"), ("192.0.2.0/24", "REJECT")],
        ),
        (
            "proxy:cidr:{ {# why} {192.0.2.1 a} {} {[::1]/128} } 192.0.2.2",
            [("192.0.2.1", "a"), ("[::1]/128", None), ("192.0.2.2", None)],
        ),
        ("inline:{a=b, c=d}", [("a", "b"), ("c", "d")]),
        ("inline:{ a=b=c, { e = f g }, {h={i}} }", [("a", "b=c"), ("e", "f g"), ("h", "{i}")]),
        ("cidr:{}", []),
    ],
)
def test_maps_that_stand_in_the_parameter(
    monkeypatch: pytest.MonkeyPatch, value: str, rows: list[tuple[str, str | None]]
) -> None:
    """`cidr:{...}` and `inline:{...}` as Postfix 3.7 reads them, in their order."""
    fake = FakePostconf(monkeypatch, some_maps=value)
    assert fake.rows("some_maps") == [Row(*each) for each in rows]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("cidr:{192.0.2.0/24 OK}", 'expected { ... }, found "192.0.2.0/24"'),
        ("cidr:{ {if 192.0.2.0/24} {192.0.2.1 x} {endif} }", "if and endif"),
        ("cidr:{ {!192.0.2.0/24 x} }", "the exclusion !192.0.2.0/24"),
        ("cidr:{ {192.0.2.0/24 x}", 'expected { ... }, found "{192.0.2.0/24 x"'),
        ("inline:{a.example}", 'expected key=value, found "a.example"'),
        ("inline:/etc/x", 'expected { ... }, found "/etc/x"'),
    ],
)
def test_maps_in_the_parameter_that_are_wrong(monkeypatch: pytest.MonkeyPatch, value: str, message: str) -> None:
    """A member that Postfix would not accept, or that cannot be listed, is reported and not half understood."""
    fake = FakePostconf(monkeypatch, mynetworks=value)
    with pytest.raises(ConfigError, match=re.escape(message)):
        fake.rows("mynetworks")


def test_everything_that_cannot_be_listed_is_told_in_one_run(
    compiler: Compiler, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Maps, exclusions, files that are missing or lead to themselves: each with the file and line that has it."""
    (tmp_path / "nets").write_text(f"192.0.2.0/24\n# comment\n!!198.51.100.0/24 {tmp_path}/more\n")
    (tmp_path / "more").write_text(f"tcp:[::1]:99\n{tmp_path}/nets {tmp_path}/gone\n")
    (tmp_path / "c").write_text("if 192.0.2.0/24\n192.0.2.1 OK\nendif\n!192.0.2.9\n")
    value = f"ldap:/x 300.1.1.1, {tmp_path}/nets proxy:mysql:/y newkind:/z cidr:{tmp_path}/c"
    FakePostconf(monkeypatch, mynetworks=value)
    compiler.policy("table t cidr postconf:mynetworks")
    outcome = compiler.run("--json")
    assert outcome.status == 78
    assert [(each["path"].removeprefix(f"{tmp_path}/"), each["line"]) for each in outcome.json[0]["diagnostics"]] == [
        ("postconf:mynetworks", 0),
        ("nets", 3),
        ("more", 1),
        ("more", 2),
        ("more", 2),
        ("postconf:mynetworks", 0),
        ("postconf:mynetworks", 0),
        ("c", 1),
        ("c", 3),
        ("c", 4),
        ("postconf:mynetworks", 0),
    ]
    for what in (
        "ldap:/x cannot",
        "!198.51.100.0/24 is an exclusion within an exclusion",
        "tcp is",
        "nets includes itself",
        "gone cannot be read: No such",
    ):
        assert what in outcome.err
    for what in (
        "proxy:mysql:/y cannot",
        "newkind:/z cannot",
        "if and endif",
        "!192.0.2.9",
        "300.1.1.1 is not an IPv4",
    ):
        assert what in outcome.err


def test_entries_of_followed_files_name_them(
    compiler: Compiler, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In diagnostics, and in the table: the file and its line, not the parameter that leads there."""
    (tmp_path / "nets").write_text(f"# ours\n192.0.2.0/24\n{tmp_path}/more, texthash:{tmp_path}/th\n198.51.100.5/24\n")
    (tmp_path / "more").write_text("\n10.0.0.0/33\n")
    (tmp_path / "th").write_text("# x\n203.0.113.1 OK\n   goes on\n300.1.1.1 OK\n")
    FakePostconf(monkeypatch, mynetworks=f"127.0.0.0/8 {tmp_path}/nets inline:{{300.1.1.2=x}}")
    compiler.policy("table t cidr list postconf:mynetworks last")
    compiler.source("list", "172.16.0.0/12\n")
    compiler.source("last", "192.168.0.0/16\n")
    said = compiler.run().err
    for place in ("more:2:1", "nets:4:1", "th:4:1"):
        assert f"{tmp_path}/{place}: " in said
    assert "postconf:mynetworks: 300.1.1.2 is not an IPv4 address" in said
    assert compiler.run("--skip-bad").status == 0
    found = compiler.found("cidr", "127.0.0.1", "192.0.2.1", "203.0.113.1", "172.16.0.1", "192.168.0.1")
    assert [(each.source.removeprefix(f"{tmp_path}/"), each.line) for each in found if each] == [
        ("postconf:mynetworks", 0),
        ("nets", 2),
        ("th", 2),
        ("list", 1),
        ("last", 1),
    ]


def test_more_files_than_a_table_can_name(compiler: Compiler, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An entry names its source by one byte: what does not fit is refused, never named wrongly."""
    for number in range(300):
        (tmp_path / f"f{number}").write_text(f"192.0.2.{number % 256}\n")
    FakePostconf(monkeypatch, mynetworks=" ".join(f"{tmp_path}/f{number}" for number in range(300)))
    compiler.policy("table t cidr postconf:mynetworks")
    outcome = compiler.run()
    assert outcome.status == 78
    assert "256 sources at most, files and maps that they lead to included" in outcome.err


def test_if_changed_sees_followed_files(compiler: Compiler, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing to do where they are what they were; an entry that stands elsewhere now names its new place."""
    (tmp_path / "a").write_text("192.0.2.1\n")
    fake = FakePostconf(monkeypatch, mynetworks=f"{tmp_path}/a")
    compiler.policy("table t cidr postconf:mynetworks")
    assert compiler.run().status == 0
    assert "unchanged" in compiler.run("--if-changed").out
    (tmp_path / "a").rename(tmp_path / "b")
    fake.parameters["mynetworks"] = f"{tmp_path}/b"
    assert "compiled" in compiler.run("--if-changed").out
    entry = compiler.found("cidr", "192.0.2.1")[0]
    assert entry
    assert entry.source == f"{tmp_path}/b"


def test_relay_domains_name_what_is_below_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where parent_domain_matches_subdomains says so, a name means the names below it as well."""
    fake = FakePostconf(monkeypatch, relay_domains="example.com .example.net", mydestination="example.com, [192.0.2.1]")
    assert [row.key for row in fake.rows("relay_domains")] == ["example.com", ".example.com"]
    assert [row.key for row in fake.rows("mydestination")] == ["example.com"]
    fake.parameters["parent_domain_matches_subdomains"] = "mydestination"
    assert [row.key for row in fake.rows("relay_domains")] == ["example.com", ".example.net"]
    assert [row.key for row in fake.rows("mydestination")] == ["example.com"]


def test_what_is_no_name_has_nothing_below_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """One mistake is one diagnostic, not one more for the names below it."""
    fake = FakePostconf(monkeypatch, relay_domains="bad..example -x.example 192.0.2.1 localhost")
    keys = [row.key for row in fake.rows("relay_domains")]
    assert keys == ["bad..example", "-x.example", "192.0.2.1", "localhost", ".localhost"]


def test_what_postfix_matches_nothing_with_is_left_out(
    compiler: Compiler, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A table that held it would match more than Postfix does; each sort of it is one warning, with the first."""
    (tmp_path / "nets").write_text("198.51.100.0/24 OK\n10.0.0.0/8 OK\n2001:DB8:0::1 OK\n203.0.113.1 OK\n")
    FakePostconf(
        monkeypatch,
        mynetworks=f"192.0.2.1 texthash:{tmp_path}/nets",
        mydestination="a.example .b.example c.example. [192.0.2.1] inline:{.d.example=x, u@e.example=x, F.example=x}",
        virtual_alias_maps="inline:{info@a.example=x, root=y, @b.example=z}",
        transport_maps="inline:{.b.example=smtp:, b.example=smtp:, u@c.example=smtp:}",
    )
    compiler.policy(
        "table n cidr postconf:mynetworks",
        "table d domain postconf:mydestination",
        "table a address postconf:virtual_alias_maps",
        "table t address postconf:transport_maps",
    )
    outcome = compiler.run()
    assert outcome.status == 0, outcome.err
    told = re.findall(r"warning: postconf:(\w+): (.*?)[ ,].* are left out \((.*)\)", outcome.err)
    assert told == [
        ("mynetworks", "networks", "3, first 198.51.100.0/24"),
        ("mydestination", "names", "3, first .b.example"),
        ("mydestination", "address", "1, first [192.0.2.1]"),
        ("mydestination", "mail", "1, first u@e.example"),
        ("mydestination", "keys", "1, first F.example"),
        ("virtual_alias_maps", "keys", "1, first root"),
    ]
    nets = ["192.0.2.1", "203.0.113.1", "198.51.100.1", "2001:db8::1"]
    assert compiler.keys("cidr", *nets, name="n") == ["192.0.2.1", "203.0.113.1", None, None]
    names = ["a.example", "x.b.example", "c.example", "x.d.example", "e.example"]
    assert compiler.keys("domain", *names, name="d") == ["a.example", None, None, None, None]
    asked = ["info@a.example", "u@root", "root", "any@b.example"]
    assert compiler.keys("address", *asked, name="a") == ["info@a.example", None, None, "b.example"]
    asked = ["u@x.b.example", "u@b.example", "u@c.example"]
    assert compiler.keys("address", *asked, name="t") == [".b.example", "b.example", "u@c.example"]


@pytest.mark.parametrize(
    ("value", "keys"),
    [
        ("!192.0.2.5 192.0.2.4/30", ["192.0.2.4", "192.0.2.6/31"]),
        ("192.0.2.4/30 !192.0.2.5", ["192.0.2.4/30"]),
        ("!192.0.2.0/24 192.0.2.5 192.0.2.0/23", ["192.0.3.0/24"]),
        ("!192.0.2.0 192.0.2.0/31 192.0.2.0", ["192.0.2.1"]),
        ("!192.0.2.255 192.0.2.254/31", ["192.0.2.254"]),
        ("!0.0.0.0 0.0.0.0/31 !255.255.255.255 255.255.255.254/31", ["0.0.0.1", "255.255.255.254"]),
        ("![2001:db8::/33] [2001:db8::]/32", ["2001:db8:8000::/33"]),
        ("!192.0.2.1 !192.0.2.3 192.0.2.0/30 198.51.100.0/24", ["192.0.2.0", "192.0.2.2", "198.51.100.0/24"]),
        ("!cidr:{{192.0.2.0/25}} 192.0.2.0/24", ["192.0.2.128/25"]),
        ("!inline:{192.0.2.1=x} 192.0.2.0/31", ["192.0.2.0"]),
    ],
)
def test_exclusions_are_taken_off_what_stands_behind_them(
    monkeypatch: pytest.MonkeyPatch, value: str, keys: list[str]
) -> None:
    """The first member that matches decides: what is left of a network is networks."""
    assert [row.key for row in FakePostconf(monkeypatch, mynetworks=value).rows("mynetworks")] == keys


@pytest.mark.parametrize(
    ("parameter", "value", "keys"),
    [
        ("mydestination", "!A.example a.example b.example", ["b.example"]),
        ("mydestination", "a.example !a.example", ["a.example"]),
        ("mydestination", "!a.example b.a.example", ["b.a.example"]),
        ("relay_domains", "!a.example b.a.example a.example c.example", ["c.example", ".c.example"]),
        ("relay_domains", "!b.a.example c.example", ["c.example", ".c.example"]),
    ],
)
def test_excluded_names(monkeypatch: pytest.MonkeyPatch, parameter: str, value: str, keys: list[str]) -> None:
    """With what is below them, where the list means that too."""
    assert [row.key for row in FakePostconf(monkeypatch, **{parameter: value}).rows(parameter)] == keys


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("!b.a.example a.example", "b.a.example is excluded from the names below a.example: list the names"),
        ("!!a.example", "!a.example is an exclusion within an exclusion"),
    ],
)
def test_exclusions_that_no_table_can_hold(monkeypatch: pytest.MonkeyPatch, value: str, message: str) -> None:
    """A table has no "everything below but for that"."""
    with pytest.raises(ConfigError, match=re.escape(message)):
        FakePostconf(monkeypatch, relay_domains=value).rows("relay_domains")


def test_values_count_in_maps_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """The right-hand side of a domain list means nothing; in `..._maps` it is the value."""
    fake = FakePostconf(
        monkeypatch,
        virtual_mailbox_domains="inline:{a.example=x, u@b.example=y}",
        virtual_alias_maps="inline:{a@a.example=b@b.example}",
    )
    assert fake.rows("virtual_mailbox_domains") == [Row("a.example", None)]
    assert fake.rows("virtual_alias_maps") == [Row("a@a.example", "b@b.example")]


def test_the_networks_of_a_fresh_debian(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Debian's postfix package writes into main.cf is a table: its mapped network matches nothing in Postfix."""
    fake = FakePostconf(monkeypatch, mynetworks="127.0.0.0/8 [::ffff:127.0.0.0]/104 [::1]/128")
    assert [row.key for row in fake.rows("mynetworks")] == ["127.0.0.0/8", "::1/128"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("ldap:/etc/postfix/ldap.cf", "ldap is a directory"),
        ("proxy:mysql:/etc/postfix/my.cf", "use a sql: source"),
        ("pcre:/etc/postfix/x", "write them as /regex/ into an acl"),
        ("newkind:/x", "a type of map that forkpolicy does not know"),
        ("192.0.2.1 # 192.0.2.2 x", '"# 192.0.2.2 x" is not a comment for every Postfix'),
        ("mail.example.com", "mail.example.com is a host name, which Postfix compares with the client's name"),
        ("inline:{.example.com=x}", ".example.com is a host name"),
        ("fd::/8", 'fd::/8 is a map of type "fd" for Postfix: did you mean [fd::]/8?'),
        ("192.0.2.1-192.0.2.9", "192.0.2.1-192.0.2.9 is a range, which matches nothing in Postfix"),
        ("192.0.2.0/255.255.255.0", "192.0.2.0/255.255.255.0 is refused by Postfix"),
        ("[::ffff:192.0.2.1]", "did you mean 192.0.2.1?"),
    ],
)
def test_what_cannot_be_listed_is_named(monkeypatch: pytest.MonkeyPatch, value: str, message: str) -> None:
    """A table that silently held less or more than Postfix means would be worse than none."""
    with pytest.raises(ConfigError, match=re.escape(message)):
        FakePostconf(monkeypatch, mynetworks=value).rows("mynetworks")


def test_an_unknown_parameter_among_other_warnings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Postfix ends well, says nothing of the value, and warns of other things behind what matters."""
    program = tmp_path / "postconf"
    program.write_text(
        "#!/bin/sh\n"
        "echo 'postconf: warning: relay_domain: unknown parameter' >&2\n"
        "echo 'postconf: warning: /etc/postfix/main.cf: unused parameter: my_own=x' >&2\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(ValueError, match="relay_domain: unknown parameter"):
        list(postconf.open_source("relay_domain", tmp_path).rows())


def test_warnings_of_postfix_are_passed_on(compiler: Compiler, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Once each, however often it was said; but not that other parameters are unused."""
    older = "echo '/usr/sbin/postmap: warning: database /x.db is older than source file /x' >&2\n"
    for name, answer in (("postconf", "echo 'example.com, hash:/x'\n"), ("postmap", f"echo 'example.net\tx'\n{older}")):
        program = tmp_path / name
        program.write_text(
            "#!/bin/sh\n"
            "echo 'postconf: warning: /etc/postfix/main.cf: undefined parameter: typo' >&2\n"
            "echo 'postconf: warning: /etc/postfix/main.cf: unused parameter: my_own=x' >&2\n"
            f"{answer}"
        )
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    compiler.policy("table t domain postconf:mydestination")
    outcome = compiler.run()
    assert outcome.status == 0
    assert [line.partition("warning: ")[2] for line in outcome.err.splitlines()] == [
        "postconf:mydestination: /etc/postfix/main.cf: undefined parameter: typo",
        "postconf:mydestination: database /x.db is older than source file /x",
    ]
    assert compiler.keys("domain", "example.com", "example.net") == ["example.com", "example.net"]


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("hash:/etc/postfix/access", 'did you mean the text file itself, "/etc/postfix/access"?'),
        ("btree:access", 'did you mean the text file itself, "access"?'),
        ("cidr:/etc/postfix/nets", 'did you mean the text file itself, "/etc/postfix/nets"?'),
        ("texthash:/etc/postfix/x", 'did you mean the text file itself, "/etc/postfix/x"?'),
        ("proxy:lmdb:/etc/postfix/x", 'did you mean the text file itself, "/etc/postfix/x"?'),
        ("hash:x", "lmdb:FILE lists what postmap lmdb:FILE wrote, postconf:PARAMETER the maps that a parameter names"),
        ("inline:{a.example=x}", "write its entries into a text file"),
        ("cidr:{{192.0.2.0/24}}", "write its entries into a text file"),
        ("pcre:/etc/postfix/x", "it is patterns; write them as /regex/ into an acl"),
        ("proxy:mysql:/etc/postfix/x", "it is a database; use a sql: source instead"),
        ("interface:eth0", 'there is no such file; did you mean "interfaces:"?'),
        ("postcnf:mynetworks", 'there is no such file; did you mean "postconf:"?'),
        ("feeds:x", "feeds:x: cannot be read: No such file"),
    ],
)
def test_a_source_that_is_written_as_postfix_writes_maps(compiler: Compiler, word: str, meant: str) -> None:
    """It is not a missing file: the message names what was meant, at its place."""
    compiler.policy(f"table t domain list {word}")
    compiler.source("list", "example.com\n")
    outcome = compiler.run()
    assert outcome.status == 78
    assert f"policy.conf:1:21: {word}: " in outcome.err
    assert meant in outcome.err


def test_a_file_with_a_colon_in_its_name(compiler: Compiler) -> None:
    """Where it is there, it is what was meant."""
    compiler.policy("table t domain hash:list interface:x")
    compiler.source("hash:list", "example.com\n")
    compiler.source("interface:x", "example.net\n")
    assert compiler.run().err == ""


def test_postconf_without_postfix(compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without Postfix the message says so."""
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    compiler.policy("table t domain postconf:mydestination")
    assert "postconf is not installed: is there a Postfix on this machine?" in compiler.run().err


def test_an_empty_parameter_is_a_statement(compiler: Compiler, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`virtual_mailbox_domains =`, or a map without a domain: Postfix has none there. Most sites have such a one."""
    (tmp_path / "virtual").write_text("# nothing yet\n")
    FakePostconf(
        monkeypatch,
        mydestination="example.com",
        virtual_mailbox_domains="",
        virtual_alias_domains=f"texthash:{tmp_path}/virtual inline:{{info@example.com=x}}",
    )
    lists = "postconf:mydestination postconf:virtual_mailbox_domains postconf:virtual_alias_domains"
    compiler.policy(f"table t domain {lists}")
    outcome = compiler.run()
    assert outcome.status == 0
    assert "download" not in outcome.err
    assert compiler.keys("domain", "example.com") == ["example.com"]


def test_the_table_as_a_whole_must_not_be_empty(compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is a file an empty parameter: it was downloaded, or written by a script that failed."""
    FakePostconf(monkeypatch, virtual_mailbox_domains="", mydestination="", relay_domains="*.example")
    compiler.policy("table t domain postconf:virtual_mailbox_domains postconf:mydestination")
    outcome = compiler.run()
    assert outcome.status == 78
    assert "policy.conf:1: table t: none of its sources has an entry" in outcome.err
    assert compiler.files() == set()
    assert compiler.run("--allow-shrink").status == 0
    compiler.policy("table u domain postconf:mydestination list")
    compiler.source("list", "# nothing\n")
    outcome = compiler.run()
    assert outcome.status == 78
    assert "list: the source is empty" in outcome.err
    assert "none of its sources" not in outcome.err
    compiler.policy("table v domain postconf:relay_domains postconf:mydestination")
    assert "no line of the source is an entry" in compiler.run("--skip-bad").err


def test_networks_that_go_may_leave_an_empty_parameter(compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
    """For the watcher of interfaces: a machine without networks and an empty parameter is not a failed download."""
    FakePostconf(monkeypatch, mynetworks="")
    monkeypatch.setattr(interfaces.InterfacesSource, "rows", lambda _: iter(()))
    compiler.policy("table t cidr interfaces: postconf:mynetworks")
    assert compiler.run().status == 78
    assert compiler.run("--interfaces-may-shrink").status == 0
