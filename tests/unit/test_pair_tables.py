"""Tables that a policy asks for several attributes together, from their text sources to the look-up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

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
