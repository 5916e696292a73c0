"""The entries of one line of a text source: key, value and place of each, exactly."""

from __future__ import annotations

import pytest

from forkpolicy.compile.lines import Item, LineError, split_line
from forkpolicy.tables.names import unquoted

NEEDS_QUOTES = "an attribute that is empty, or has a blank in it, needs a key in quotes"


@pytest.mark.parametrize(
    ("line", "items"),
    [
        ("  key  two words ", [Item("key", "two words", 3)]),
        ("127.0.0.0/8, [::1]/128,10.0.0.1", [("127.0.0.0/8", 1), ("[::1]/128", 14), ("10.0.0.1", 24)]),
        ("192.0.2.1 , 192.0.2.2", [("192.0.2.1", 1), ("192.0.2.2", 13)]),
        ("mynetworks = 10.0.0.0/8 , 192.0.2.1", [("10.0.0.0/8", 14), ("192.0.2.1", 27)]),
        ("mynetworks = 10.0.0.0/8", [Item("10.0.0.0/8", None, 14)]),
        ("key REJECT no, thank you", [Item("key", "REJECT no, thank you", 1)]),
        ('key "quoted"', [Item("key", "quoted", 1, value_is_meant=True)]),
        ('key "', [Item("key", '"', 1)]),
        ('key ""', [Item("key", None, 1, value_is_meant=True)]),
        ('"a key" value # why', [Item("a key", "value", 2)]),
        ('  "a # b"@example.com value', [Item("a # b@example.com", "value", 4)]),
        ("X-MAX\r\n", [Item("X-MAX", None, 1)]),
        ("key;value ;comment", [Item("key;value", None, 1)]),
        ("bücher.example".encode().decode("latin-1") + " x", [Item("bücher.example", "x", 1)]),
        (" ; comment", []),
        ("", []),
    ],
)
def test_a_line(line: str, items: list[Item | tuple[str, int]]) -> None:
    """Columns count from 1, from the begin of the line."""
    expected = [each if isinstance(each, Item) else Item(each[0], None, each[1]) for each in items]
    assert split_line(line) == expected


def test_a_line_of_several_words_as_key() -> None:
    """As many as are asked together; behind them is the value."""
    assert split_line("  a  b\tc  the rest ".replace("\t", " "), 3) == [Item("a b c", "the rest", 3)]
    assert split_line("a b c", 3) == [Item("a b c", None, 1)]
    assert split_line('"a  c" x', 3) == [Item("a  c", "x", 2)]


@pytest.mark.parametrize(
    ("line", "words", "message", "column"),
    [
        (
            "  a b",
            3,
            f"2 of 3 words: the policy asks this table for 3 attributes together; {NEEDS_QUOTES}",
            3,
        ),
        (
            '"a b"@c d',
            2,
            "quotes go around all of the key: the policy looks up several attributes in this table together",
            0,
        ),
        (
            "endif",
            1,
            "if and endif of cidr_table(5) are not supported: list the networks themselves",
            0,
        ),
        ("ab\x01c", 1, "a control character (0x01)", 3),
        ("a b\xfcc", 1, "byte 0xfc is not UTF-8: save the file as UTF-8", 4),
        (
            "\ufeffab\ufeff".encode().decode("latin-1"),
            1,
            "a byte order mark in the middle of a file: were two files joined here?",
            1,
        ),
        (
            "ab\ufeff".encode().decode("latin-1"),
            1,
            "a byte order mark in the middle of a file: were two files joined here?",
            3,
        ),
    ],
)
def test_a_line_that_is_wrong(line: str, words: int, message: str, column: int) -> None:
    """In words, with its place; 0 where all of the line is meant."""
    with pytest.raises(LineError) as wrong:
        split_line(line, words)
    assert (str(wrong.value), wrong.value.column, wrong.value.width) == (message, column, 1)


@pytest.mark.parametrize(
    ("key", "plain"),
    [
        ('"user one"@example.com', "user one@example.com"),
        ('"user one"', "user one"),
        ('""', ""),
        ('""@example.com', '""@example.com'),
        ('"user"one@example.com', '"user"one@example.com'),
        ("user@example.com", "user@example.com"),
    ],
)
def test_quotes_of_keys(key: str, plain: str) -> None:
    """An empty local part keeps its quotes: without them it would be all of the domain."""
    assert unquoted(key) == plain
