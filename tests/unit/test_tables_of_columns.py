"""Tables of kind `pair`, from their sources to the look-up: several columns, of which all must match."""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING

import pytest

from forkpolicy.commands import main
from tests.compiling import Compiler
from tests.fakes import diagnostics_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KIND = "pair:network,address"
RELAYS = """\
192.0.2.0/24     example.com       REJECT not from there
192.0.2.64/26    anna@example.com  OK
192.0.2.64/26    .example.com      below
192.0.2.0/24     *                 net
198.51.100.7     <>                bounces
2001:db8::/32    anna@             six
*                bert@example.com
"""


@pytest.fixture
def compiler(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Compiler:
    return Compiler(tmp_path, capsys)


@pytest.fixture
def command(compiler: Compiler, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command with the compiler's settings; exit status, standard output and standard error."""

    def run(name: str, *words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        return main([name, "-c", str(compiler.settings), *words]), *capsys.readouterr()

    return run


def found(compiler: Compiler, kind: str, *texts: str, delimiter: str = "") -> tuple[str, str | None] | None:
    table = compiler.open(kind, delimiter=delimiter)
    try:
        raw = table.find(*texts)
        entry = table.entry(raw) if raw else None
        return (entry.key, table.value(raw)) if entry and raw else None
    finally:
        table.close()


@pytest.mark.parametrize(
    ("address", "sender", "key"),
    [
        ("192.0.2.70", "Anna@Example.com.", "192.0.2.64/26 anna@example.com"),
        ("192.0.2.70", "carl@example.com", "192.0.2.0/24 example.com"),
        ("192.0.2.70", "carl@mail.example.com", "192.0.2.64/26 .example.com"),
        ("192.0.2.70", "carl@example.org", "192.0.2.0/24 *"),
        ("192.0.2.70", "", "192.0.2.0/24 *"),
        ("192.0.2.70", "bert@example.com", "192.0.2.0/24 example.com"),
        ("::ffff:192.0.2.1", "anna@example.com", "192.0.2.0/24 example.com"),
        ("198.51.100.7", "", "198.51.100.7 <>"),
        ("198.51.100.7", "bert@example.com", "* bert@example.com"),
        ("198.51.100.7", "anna@example.com", None),
        ("2001:db8::1", "anna@example.org", "2001:db8::/32 anna@"),
        ("unknown", "bert@example.com", "* bert@example.com"),
    ],
)
def test_the_most_specific_first_column_wins_among_what_matches(
    compiler: Compiler, address: str, sender: str, key: str | None
) -> None:
    """A less specific network is found where the more specific one has no entry for the sender."""
    compiler.one(KIND, RELAYS)
    entry = found(compiler, KIND, address, sender)
    assert (entry[0] if entry else None) == key


def test_extensions_are_looked_up_where_the_delimiter_is_set(compiler: Compiler) -> None:
    """As in a table of addresses: with the extension first."""
    kind = "pair:text,address"
    compiler.one(kind, "anna anna@example.com plain\nanna anna+x@example.com own\n")
    assert found(compiler, kind, "anna", "anna+x@example.com", delimiter="+") == ("anna anna+x@example.com", "own")
    assert found(compiler, kind, "ANNA", "anna+y@example.com", delimiter="+") == ("anna anna@example.com", "plain")
    assert found(compiler, kind, "anna", "anna+y@example.com") is None


def test_a_text_may_have_blanks_in_quotes(compiler: Compiler) -> None:
    """So may a local part; an entry shows which words are one column. A text that is empty is for `*` alone."""
    kind = "pair:text,address"
    compiler.one(kind, '"user one" "a b"@example.com x  # why\nuser "one@example.com" "# y"\n')
    assert found(compiler, kind, "User One", "a b@example.com") == ('"user one" "a b@example.com"', "x")
    assert found(compiler, kind, "user", "one@example.com") == ("user one@example.com", "# y")
    assert found(compiler, kind, "user one a", "b@example.com") is None
    compiler.one(kind, "* example.com\n")
    assert found(compiler, kind, "", "a@example.com") == ("* example.com", None)


def test_three_columns_and_two_networks(compiler: Compiler) -> None:
    """Any number of columns; a second column of networks is as good as the first."""
    kind = "pair:host,network,network"
    compiler.one(
        kind, ".example.com * 10.0.0.0/8 wide\n.example.com 192.0.2.0/24 10.1.0.0/16 both\n* * 10.1.2.3-10.1.2.4 x\n"
    )
    assert found(compiler, kind, "mx.example.com", "192.0.2.1", "10.1.9.9") == (
        ".example.com 192.0.2.0/24 10.1.0.0/16",
        "both",
    )
    assert found(compiler, kind, "mx.example.com", "192.0.2.1", "10.2.9.9") == (".example.com * 10.0.0.0/8", "wide")
    assert found(compiler, kind, "example.com", "192.0.2.1", "10.1.2.4") == ("* * 10.1.2.4", "x")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("192.0.2.0/24", "1 of 2 columns: * in a column is any value"),
        ("192.0.2.0/24 # example.com", "1 of 2 columns"),
        ("example.com 192.0.2.0/24", "column 1 (network): example.com is neither an address nor a network"),
        ("192.0.2.5/24 example.com", "column 1 (network): host bits set: did you mean 192.0.2.0/24"),
        ("0.0.0.0/0 example.com", "column 1 (network): /0 is wider than the /8"),
        ("192.0.2.0 /24 example.com", "column 2 (address): a table cannot hold regular expressions"),
        ("192.0.2.1 198.51.100.1", "column 2 (address): 198.51.100.1 is an address of a machine"),
        ("192.0.2.1 *.example.com", "column 2 (address): every name below a domain is written with a leading dot"),
        (
            "192.0.2.1 *@example.com",
            'column 2 (address): every address of a domain is the domain: did you mean "example.com"?',
        ),
        ("192.0.2.1 <anna@example.com>", "column 2 (address): addresses stand without angle brackets"),
        ('192.0.2.1 "" x', "column 2 (address): it is empty; * is any value, and <> the null sender"),
        ("mynetworks =", "column 1 (network)"),
    ],
)
def test_what_can_never_match_is_an_error(compiler: Compiler, line: str, told: str) -> None:
    """With its column, its line, and what is meant."""
    said = compiler.one(KIND, f"192.0.2.9 a@example.org\n{line}\n").err
    assert "list:2:1: " in said
    assert told in said
    assert compiler.files() == set()


def test_equal_rows_with_unequal_values_are_an_error(compiler: Compiler) -> None:
    """However they are written. With equal values they are one."""
    outcome = compiler.one(KIND, "192.0.2.0/24 @example.com a\n192.0.2.0/255.255.255.0 Example.com b\n")
    assert 'list:2: 192.0.2.0/24 example.com has the value "b" here and "a" at ' in outcome.err
    outcome = compiler.one(KIND, "* <> a\n* <> b\n")
    assert 'list:2: * <> has the value "b" here and "a" at ' in outcome.err
    outcome = compiler.one(KIND, "192.0.2.0/24 @example.com a\n192.0.2.0/24 example.com a\n* <> a\n* <> a\n")
    assert outcome.out.startswith("t: compiled, 2 entries (2 merged)")


def test_a_network_inside_one_of_the_same_value_counts(compiler: Compiler) -> None:
    """Unlike in a table of networks alone: here it says that the sender matters less."""
    compiler.one(
        KIND, "10.0.0.0/8 example.com a\n10.1.0.0/16 example.com a\n10.1.0.0/16 .com b\n10.0.0.0/8 a@example.com c\n"
    )
    assert found(compiler, KIND, "10.1.0.1", "a@example.com") == ("10.1.0.0/16 example.com", "a")
    assert found(compiler, KIND, "10.2.0.1", "a@example.com") == ("10.0.0.0/8 a@example.com", "c")


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("pair", 'unknown kind of table "pair": expected cidr, domain, address, key or pair:COLUMN,COLUMN'),
        ("pair:network", "a table of kind pair has two columns or more, as in pair:network,address"),
        ("pair:network,adress", '"adress" is not a kind of column: expected network, address, host, text'),
        ("pair:network,", '"" is not a kind of column'),
    ],
)
def test_a_kind_that_is_none(compiler: Compiler, kind: str, told: str) -> None:
    """An error of the policy, at its word."""
    assert any(told in each for each in diagnostics_of(f"table t {kind} list\n"))
    assert told in compiler.one(kind, "a b\n").err


@pytest.mark.parametrize(
    ("acl", "told"),
    [
        ("table:t {client_address}", 'table "t" has 2 columns (network, address), and is asked for 1'),
        (
            "table:t {client_address} {sender} {helo_name}",
            'table "t" has 2 columns (network, address), and is asked for 3',
        ),
        (
            "table:t {sender} {client_address}",
            'column 1 of table "t" is of kind network: {sender} needs address or host or text',
        ),
        (
            "table:t {client_address} {client_name}",
            'column 2 of table "t" is of kind address: {client_name} needs host or text',
        ),
        ("table:t {client_address} {server_address}", "{server_address} needs network"),
        ("sender table:t", 'table "t" is of kind pair:network,address: sender needs domain or address or key'),
        ("country table:t DE", 'table "t" is of kind pair:network,address: country needs cidr'),
        ("rate {sender} 1/1h limits=table:t", "{sender} needs domain or address or key"),
    ],
)
def test_attributes_must_fit_the_columns(acl: str, told: str) -> None:
    """Their number and their kinds: an error at load that says what fits."""
    said = diagnostics_of(f"table t {KIND} list\nacl a {acl}\naccess a\n")
    assert any(told in each for each in said), said


def test_a_table_of_single_keys_names_the_kind_for_pairs() -> None:
    """Several attributes need a key table or one of pairs."""
    said = diagnostics_of("table t domain list\nacl a table:t {sender} {recipient}\naccess a\n")
    assert any("attributes together need one of kind key or pair" in each for each in said)


def test_columns_of_csv_and_of_a_query(compiler: Compiler) -> None:
    """As many columns as the table has, and one more with the value; an empty cell is a mistake."""
    kind = "pair:text,address"
    compiler.source("list.csv", "login;mail;note\nanna;example.com;a, b\nbert one;<>;\n;;\n")
    compiler.policy(f"table t {kind} csv:list.csv:login:mail:note")
    assert compiler.run().err == ""
    assert found(compiler, kind, "anna", "x@example.com") == ("anna example.com", "a, b")
    assert found(compiler, kind, "Bert One", "") == ('"bert one" <>', None)
    compiler.policy(f"table t {kind} csv:list.csv:login")
    assert "expected csv:FILE and 2 columns, or 3 with that of the value" in compiler.run().err
    with sqlite3.connect(compiler.directory / "mail.db") as database:
        database.execute("CREATE TABLE m AS SELECT 'anna' login, 'example.com' mail, 'x' note")
    compiler.policy(f"table t {kind} sql:sqlite:///mail.db:SELECT login, mail, note FROM m")
    assert compiler.run().status == 0
    assert found(compiler, kind, "anna", "x@example.com") == ("anna example.com", "x")
    compiler.policy(f"table t {kind} sql:sqlite:///mail.db:SELECT login FROM m")
    assert (
        "returns 1 columns: expected 2 columns of the table, or 2 columns of the table and a value"
        in compiler.run().err
    )
    compiler.policy(f"table t {kind} sql:sqlite:///mail.db:SELECT login, '' FROM m")
    assert "column 2 (address): it is empty" in compiler.run().err


@pytest.mark.parametrize("source", ["interfaces:", "postconf:mynetworks", "mmdb:x.mmdb", "lmdb:x"])
def test_a_source_of_single_keys_does_not_fit(compiler: Compiler, source: str) -> None:
    """An error at its word that says what does."""
    compiler.policy(f"table t {KIND} {source}")
    assert (
        "it lists single keys, and the table has 2 columns: expected a file, csv:, ldap: or sql:" in compiler.run().err
    )


def test_what_the_compile_says_about_such_a_table(compiler: Compiler) -> None:
    """Differences, statistics, --verify, --if-changed and losses, as of any table."""
    assert compiler.one(KIND, RELAYS, "--stats").out.startswith("t: compiled, 7 entries")
    assert compiler.run("--verify").out == "t: intact, 7 entries\n"
    assert compiler.run("--if-changed").out.startswith("t: unchanged, 7 entries")
    shapes = compiler.run("--stats", "--json").json[0]["statistics"]["shapes"]
    assert shapes["IPv4 /26, address"] == shapes["*, address"] == shapes["IPv4 /32, null sender"] == 1
    compiler.source("list", RELAYS.replace("anna@example.com  OK", "anna@example.com  no").replace("*    ", "* "))
    difference = compiler.run("--dry-run", "--json").json[0]
    assert difference["added_examples"] == ["192.0.2.64/26 anna@example.com no"]
    assert difference["removed_examples"] == ["192.0.2.64/26 anna@example.com OK"]
    compiler.source("list", "* <>\n")
    assert "1 entries, and the table in use has 7" in compiler.run().err


def test_the_digest_is_of_what_the_table_says(compiler: Compiler) -> None:
    """Whatever the order of its lines, and another one for columns of other kinds."""
    lines = RELAYS.splitlines()
    digests = set()
    for order in (lines, lines[::-1]):
        digests.add(compiler.one(KIND, "\n".join(order), "--json").json[0]["digest"])
    assert len(digests) == 1
    compiler.one("pair:text,address", "a b\n", "--json")
    compiler.table_path().unlink()
    digests = {
        compiler.one(f"pair:text,{kind}", "a example.com\n", "--json").json[0]["digest"] for kind in ("host", "address")
    }
    assert len(digests) == 2


def test_what_is_protected_is_found_in_every_column(compiler: Compiler) -> None:
    """Networks inside a protected one or around it, names and mail addresses of protected domains."""
    path = compiler.source("own", "192.0.2.0/25\nexample.com\n2001:db8::/48\n")
    feed = """\
192.0.2.64/26 a@example.org
192.0.2.128/25 a@example.org
192.0.0.0/16 *
198.51.100.1 boss@example.com
* a@example.org
2001:db8::/32 <>
2001:db8:1::/48 <>
"""
    told = compiler.one(KIND, feed, "--json", "--protect", str(path)).json[0]["diagnostics"]
    assert sorted(each["line"] for each in told) == [1, 3, 4, 6]


def test_entries_of_the_documentation_are_named_in_every_column(compiler: Compiler) -> None:
    """192.0.2.0/24 and example.com, wherever they stand."""
    compiler.one("pair:network,host", "192.0.2.7 mail.firm.test\n9.0.0.0/8 *\n9.0.0.1 .example.com\n9.0.0.1 *\n")
    assert compiler.run("--json").json[0]["examples"] == 2


def test_a_lookup_takes_a_key_for_each_column(compiler: Compiler, command: Callable[..., tuple[int, str, str]]) -> None:
    """In their order; JSON has them as a list. Another number is wrong usage."""
    compiler.one(KIND, RELAYS)
    assert command("lookup", "t", "192.0.2.70", "anna@example.com")[:2] == (
        0,
        f"192.0.2.64/26 anna@example.com OK  ({compiler.directory / 'list'}:2)\n",
    )
    status, out, _ = command("lookup", "t", "192.0.2.70", "x@example.org", "--json")
    assert (status, json.loads(out)["key"], json.loads(out)["entry"]) == (
        0,
        ["192.0.2.70", "x@example.org"],
        "192.0.2.0/24 *",
    )
    assert command("lookup", "t", "10.0.0.1", "a@b.test")[:2] == (1, 'table "t" has nothing for "10.0.0.1 a@b.test"\n')
    status, _, err = command("lookup", "t", "192.0.2.70")
    assert status == 2
    assert "expected one key for each column (network, address), got 1" in err


def test_a_lookup_in_a_key_table_joins_its_keys(
    compiler: Compiler, command: Callable[..., tuple[int, str, str]]
) -> None:
    """As a policy does; in other tables there is one key."""
    compiler.policy("table t key list", "acl a table:t {client_address} {sender}", "access a")
    compiler.source("list", "192.0.2.7 a@example.org x\n")
    compiler.run()
    assert command("lookup", "t", "192.0.2.7", "A@example.org")[0] == 0
    compiler.one("domain", "example.org\n")
    assert "expected one key, got 2" in command("lookup", "t", "a", "b")[2]


def test_explain_shows_entry_and_line(compiler: Compiler, command: Callable[..., tuple[int, str, str]]) -> None:
    """With a comparison of its value, too."""
    compiler.policy(
        f"table t {KIND} list",
        "acl known table:t {client_address} {sender}",
        "acl good table:t=ok {client_address} {sender}",
        "action no REJECT {match.known}",
        "access good",
        "access known no",
    )
    compiler.source("list", RELAYS)
    compiler.run()
    status, out, _ = command(
        "explain", "client_address=192.0.2.70", "sender=carl@mail.example.com", "protocol_state=RCPT"
    )
    assert status == 0
    assert out.startswith("action=REJECT below\n")
    assert f"192.0.2.64/26 .example.com below in table t ({compiler.directory / 'list'}:3)" in out
    _, out, _ = command("explain", "client_address=192.0.2.70", "sender=anna@example.com", "protocol_state=RCPT")
    assert out.startswith("action=DUNNO\n")


def test_a_damaged_order_is_found(compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
    """--verify reads ranges within their columns, not across."""
    compiler.one(KIND, "10.0.0.0/8 a.test\n10.0.0.0/8 b.test\n10.1.0.0/16 b.test x\n")
    assert compiler.run("--verify").status == 0
    monkeypatch.setattr("forkpolicy.compile.output.verify.first_key", lambda _key, _raw: b"")
    assert "overlaps the one before it" in compiler.run("--verify").err + compiler.run("--verify").out


def test_keys_that_are_too_long(compiler: Compiler) -> None:
    """Of all columns together; a request with longer ones matches nothing."""
    long = "x" * 250
    assert "columns of 5" in compiler.one("pair:text,text", f"{long} {long}\n").err
    compiler.one("pair:network,text", "* a\n10.0.0.0/8 a\n")
    assert found(compiler, "pair:network,text", "10.0.0.1", long * 1000) is None


def test_a_control_character_in_a_cell(compiler: Compiler) -> None:
    """What separates columns is none of their characters."""
    compiler.source("list.csv", "a\x1fb,c\n")
    compiler.policy("table t pair:text,text csv:list.csv:1:2")
    assert "3 of 2 columns" in compiler.run().err
    compiler.source("list.csv", "a\x1eb,c\n")
    assert "column 1 (text): a control character" in compiler.run().err


def test_a_list_cannot_make_look_ups_slow(compiler: Compiler) -> None:
    """Names of many labels in several columns would be tried with each other: refused, with what to leave out."""
    rows = "".join(f"{'.a' * labels} {'.b' * labels} x\n" for labels in range(2, 40))
    outcome = compiler.one("pair:host,host", rows)
    assert outcome.status == 78
    assert "a look-up might take 1,444 steps, and at most 1,000 are allowed" in outcome.err
    assert "leave out those of many labels" in outcome.err
