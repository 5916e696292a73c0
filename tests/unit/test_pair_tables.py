"""Tables that a policy asks for several attributes together, from their text sources to the look-up."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from forkpolicy.commands import main
from tests.compiling import Compiler

if TYPE_CHECKING:
    from pathlib import Path

PAIR = ("table t key list", "acl pair table:t {client_address} {sender}")


@pytest.fixture
def compiler(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Compiler:
    return Compiler(tmp_path, capsys)


def compiled(compiler: Compiler, source: str, *policy: str) -> str:
    compiler.policy(*policy)
    compiler.source("list", source)
    return compiler.run().err


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("192.0.2.7 News@example.org", None),
        ("192.0.2.7\t news@example.org", None),
        ("  192.0.2.7 news@example.org  # the club", None),
        ("192.0.2.7 news@example.org the newsletter, for all", "the newsletter, for all"),
        ('192.0.2.7 news@example.org "quoted" ; why', "quoted"),
        ('"192.0.2.7 news@example.org"', None),
        ('"192.0.2.7 news@example.org" two words', "two words"),
    ],
)
def test_as_many_words_are_the_key_as_attributes_are_asked_for(
    compiler: Compiler, line: str, value: str | None
) -> None:
    """Two attributes in the acl, two words in the line; the rest is the value. Quotes say it too."""
    assert compiled(compiler, line + "\n", *PAIR) == ""
    entry, other = compiler.found("key", "192.0.2.7 NEWS@example.org", "192.0.2.7")
    assert entry is not None
    assert (entry.key.lower(), entry.value, other) == ("192.0.2.7 news@example.org", value, None)


def test_an_empty_attribute_needs_quotes(compiler: Compiler) -> None:
    """The null sender from one client: the blank that joins is part of the key."""
    assert compiled(compiler, '"192.0.2.7 "\n', *PAIR) == ""
    assert compiler.keys("key", "192.0.2.7 ", "192.0.2.7 x@example.org")[1] is None
    assert compiler.keys("key", "192.0.2.7 ")[0] is not None


def test_a_line_with_too_few_words_is_told(compiler: Compiler) -> None:
    """An exception that could never hold is a mistake with its place, not a line that does nothing."""
    told = compiled(compiler, "192.0.2.7 a@example.org\n192.0.2.8\n", *PAIR)
    assert "list:2:1: 1 of 2 words: the policy asks this table for 2 attributes together" in told


def test_quotes_around_a_local_part_alone_are_told(compiler: Compiler) -> None:
    """The pair would be cut at the blank in them."""
    told = compiled(compiler, '"john doe"@example.org 192.0.2.7\n', *PAIR)
    assert "list:1:1: quotes go around all of the key" in told


def test_a_key_in_quotes_may_hold_what_separates_elsewhere(compiler: Compiler) -> None:
    """Names of certificates have commas and blanks, in any kind of table."""
    assert compiled(compiler, '"CN=mail #1, O=Example" partner\n', "table t key list") == ""
    entry = compiler.found("key", "CN=mail #1, O=Example")[0]
    assert entry is not None
    assert entry.value == "partner"


def test_a_table_that_is_asked_in_two_ways_needs_quotes(compiler: Compiler) -> None:
    """Where one acl asks for a pair and another for one attribute, a line alone does not say which it is for."""
    assert compiled(compiler, 'a@example.org b\n"a@example.org c"\n', *PAIR, "acl one sender table:t") == ""
    assert compiler.keys("key", "a@example.org", "a@example.org b", "a@example.org c") == [
        "a@example.org",
        None,
        "a@example.org c",
    ]


def test_another_way_of_asking_is_a_reason_to_compile(compiler: Compiler) -> None:
    """--if-changed sees that the policy asks for two attributes now, though no source has changed."""
    compiled(compiler, "a b\n", "table t key list")
    compiler.policy("table t key list", "acl pair table:t {helo_name} {sender}")
    assert "compiled" in compiler.run("--if-changed").out
    assert "unchanged" in compiler.run("--if-changed").out
    assert compiler.keys("key", "a b") == ["a b"]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            "192.0.2.0/24 a@example.org",
            "192.0.2.0/24 is never equal to {client_address}: a key table has no networks; one of kind pair, such as",
        ),
        ("2001:db8::/32 a@example.org", "has no networks; one of kind pair"),
        ("2001:DB8:0::1 a@example.org", "2001:DB8:0::1 is never equal to {client_address}: did you mean 2001:db8::1?"),
        ("[192.0.2.1] a@example.org", "did you mean 192.0.2.1?"),
        ("::ffff:192.0.2.1 a@example.org", "did you mean 192.0.2.1?"),
        ("mail.example.org a@example.org", "it is not an IP address"),
        ("* a@example.org", "it is not an IP address"),
        ("192.0.2.1 @example.org", "@example.org is never equal to {sender}: a key table has whole"),
        ("192.0.2.1 .example.org", ".example.org is never equal to {sender}"),
        ("192.0.2.1 example.org", "example.org is never equal to {sender}"),
        ("192.0.2.1 news@", "news@ is never equal to {sender}"),
        ("192.0.2.1 *", "* is never equal to {sender}"),
        ("192.0.2.1 *@example.org", "*@example.org is never equal to {sender}"),
        ("192.0.2.1 <>", 'the null sender is empty, a key in quotes with nothing in its place, such as "192.0.2.7 "'),
        ("192.0.2.1 <a@example.org>", "did you mean a@example.org?"),
        ('"192.0.2.0/24 a@example.org"', "192.0.2.0/24 is never equal to {client_address}"),
    ],
)
def test_what_can_never_match_is_an_error(compiler: Compiler, line: str, told: str) -> None:
    """An exception that never holds is a mistake, and the line says what is meant."""
    said = compiled(compiler, f"192.0.2.9 a@example.org\n{line}\n", *PAIR)
    assert "list:2:" in said
    assert told in said
    assert compiler.files() == set()


@pytest.mark.parametrize(
    "line",
    [
        "192.0.2.7 a@example.org",
        "2001:DB8::1 A@Example.org",
        "unknown a@example.org",
        "192.0.2.7 postmaster",
        '"192.0.2.7 "',
        '" a@example.org"',
        "192.0.2.7 a*b@example.org",
        '"192.0.2.7 john doe@example.org"',
    ],
)
def test_what_may_match_is_none(compiler: Compiler, line: str) -> None:
    """Whatever Postfix may send, empty attributes, stars in local parts and blanks included."""
    assert compiled(compiler, f"{line}\n", *PAIR) == ""


def test_names_and_attributes_of_any_form(compiler: Compiler) -> None:
    """Names have no dot in front; what a HELO or a login may be is anything."""
    names = ("table t key list", "acl pair table:t {client_name} {sender_domain} {helo_name}")
    assert compiled(compiler, "mx.example.org example.org .strange\n", *names) == ""
    for line in (".example.org example.org x", "mx.example.org @example.org x", "mx.example.org *.example.org x"):
        assert "a key table has whole names alone" in compiled(compiler, f"{line}\n", *names)


def test_domains_of_parts_have_their_ascii_form(compiler: Compiler) -> None:
    """As they are asked for; the message has what is meant."""
    parts = ("table t key list", "acl pair table:t {helo_domain} {sender_localpart}")
    assert compiled(compiler, "Example.org anna\nxn--bcher-kva.example anna\n", *parts) == ""
    assert "did you mean xn--bcher-kva.example?" in compiled(compiler, "bücher.example anna\n", *parts)
    assert "did you mean example.org?" in compiled(compiler, "example.org. anna\n", *parts)


def test_a_table_that_is_asked_for_different_attributes(compiler: Compiler) -> None:
    """What one acl never matches, another may: a word is judged where all ask for the same."""
    both = (*PAIR, "acl other table:t {helo_name} {sender}")
    assert compiled(compiler, "192.0.2.0/24 a@example.org\n", *both) == ""
    assert "@example.org is never equal to {sender}" in compiled(compiler, "192.0.2.1 @example.org\n", *both)


def test_rows_of_columns_are_judged_too(compiler: Compiler) -> None:
    """A column of pairs is no better than a line."""
    compiler.policy("table t key csv:list.csv:1", "acl pair table:t {client_address} {sender}")
    compiler.source("list.csv", "192.0.2.1 a@example.org\n192.0.2.0/24 a@example.org\n")
    assert "csv:list.csv" not in compiler.run("--skip-bad").out
    assert "192.0.2.0/24 is never equal to {client_address}" in compiler.run().err


@pytest.mark.parametrize(("delimiter", "count"), [("+", 1), ("", 0)])
def test_extensions_of_addresses(compiler: Compiler, delimiter: str, count: int) -> None:
    """`recipient_delimiter` is not for these tables: the compile says so, once, where it is set."""
    settings = compiler.settings.read_text()
    compiler.settings.write_text(f'{settings}[mail]\nrecipient_delimiter = "{delimiter}"\n')
    told = compiled(compiler, "192.0.2.1 a@example.org\n192.0.2.2 b@example.org\n", *PAIR)
    assert told.count("warning: table t: recipient_delimiter does not apply to") == count
    assert compiled(compiler, "a b\n", "table t key list", "acl pair table:t {helo_name} {sasl_username}") == ""
    assert compiled(compiler, "a b\n", "table t key list", "acl one sender table:t") == ""


LIMITS = ("table t key list", "acl busy rate {sasl_username} 1/1h limits=table:t", "access busy")


def test_values_that_are_limits_are_checked(compiler: Compiler) -> None:
    """Where the policy takes limits of a table, each entry has some; all of the wrong ones in one run."""
    source = "anna 100/1h 500/1d\nroot -\nbert\ncarl many\ndora 1/1x\nemma 1/1h 2/60m\n"
    told = compiled(compiler, source, *LIMITS)
    assert [found[0] for line in told.splitlines() if (found := re.search(r"list:\d.*", line))] == [
        "list:3:1: no limit: expected LIMIT/WINDOW, as in 100/1h, or - for no limit",
        'list:4:1: "many" is not a valid limit: expected LIMIT/WINDOW, as in 100/1h',
        'list:5:1: "1x" is not a valid duration: expected a number and its unit, as in 90s, 5m, 2h or 7d',
        "list:6:1: two limits have the same window: one of them is enough",
    ]
    assert compiled(compiler, source, "table t key list", "acl busy sasl_username table:t", "access busy") == ""
    # The same source, read otherwise.
    assert "list:3:1" in compiled(compiler, source, *LIMITS)


def test_check_compares_sources_as_the_compile_has_read_them(compiler: Compiler, capsys) -> None:
    """How many words are the key, and what a value may be, is part of the digest: no warning about what is the same."""
    for policy, source in ((PAIR, "192.0.2.7 a@example.org\n"), (LIMITS, "anna 2/1h\n")):
        assert compiled(compiler, source, *policy) == ""
        main(["check", "-c", str(compiler.settings), "--postfix", "none"])
        assert "compiled from other contents" not in capsys.readouterr().out
