"""A compiled table of several columns answers as a scan of all its rows does, whatever is in it and is asked."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forkpolicy.compile.directory import locked
from forkpolicy.compile.output.verify import verify_table
from forkpolicy.compile.result import Options
from forkpolicy.compile.sorting import sorted_store
from forkpolicy.compile.table import compile_table
from forkpolicy.policy.nodes import TableDeclaration
from forkpolicy.tables.reader import open_table
from tests.scanning import folded, networks, scanned

MAPPED = "::ffff:192.0.2.5"
PATTERNS = {
    "network": [
        *(
            "192.0.2.0/24",
            "192.0.2.4/30",
            "192.0.2.5",
            "192.0.0.0/16",
            "192.0.2.4/31",
            "0.0.0.0/0",
            "192.0.2.6-192.0.2.9",
        ),
        *("2001:db8::/32", "2001:db8::5", "::/0", "2001:db8::4/126", MAPPED, "255.255.255.255", "ffff::/16"),
    ],
    "address": [
        *(
            "u@example.com",
            "u+x@example.com",
            "U@a.example.com",
            "example.com",
            "@a.example.com",
            ".example.com",
            ".com",
        ),
        *("u@", "u+x@", "<>", "com", "bücher.example", "postmaster@example.com"),
    ],
    "host": ["example.com", "a.example.com", ".example.com", ".com", "com", "bücher.example", ".example"],
    "text": ["u", "U", "u+x", '"a b"', "a", "b", "192.0.2.5", "straße", "/", '"/ *"'],
}
VALUES = {
    "network": [
        *("192.0.2.5", "192.0.2.6", "192.0.2.9", "192.0.9.9", "10.0.0.1", MAPPED, "255.255.255.255", "unknown", ""),
        *("2001:db8::5", "2001:db8::4", "2001:db8:1::1", "::1", "[192.0.2.5]", "ffff::", "*"),
    ],
    "address": [
        *(
            "u@example.com",
            "u+x@Example.com",
            "U+y@a.example.com.",
            "v@b.a.example.com",
            "",
            "u",
            "u+x",
            "com",
            "w@com",
        ),
        *("@example.com", "v@xn--bcher-kva.example", "a@b@example.com", "postmaster+x@example.com", "*", "u@*", "u@."),
    ],
    "host": ["example.com", "A.example.com.", "b.a.example.com", "com", "", "unknown", "BÜCHER.example", "*", ".com"],
    "text": ["u", "U+X", "a b", "a", "b", "", "192.0.2.5", "STRASSE", "*", "a\x1fb", "/", "\x1e", "/ *", "x" * 600],
}
COLUMNS = sorted(PATTERNS)


def normal(column: str, pattern: str) -> str:
    """What makes two patterns the same."""
    if column == "network" and pattern != "*":
        return " ".join(map(str, networks(pattern)))
    return folded(pattern.removeprefix("@")) if column in ("address", "host") else pattern.strip('"').casefold()


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[tuple[str, ...]], list[tuple[str, ...]]]:
    kinds = draw(st.lists(st.sampled_from(COLUMNS), min_size=2, max_size=3))
    row = st.tuples(*(st.sampled_from([*PATTERNS[kind], "*"]) for kind in kinds))
    # Two equal rows are a mistake of their own.
    rows = draw(
        st.lists(
            row,
            min_size=1,
            max_size=30,
            unique_by=lambda row: tuple(normal(kind, each) for kind, each in zip(kinds, row, strict=True)),
        )
    )
    asked = st.tuples(*(st.sampled_from(VALUES[kind]) for kind in kinds))
    return kinds, rows, draw(st.lists(asked, min_size=10, max_size=40))


def check(kinds: list[str], rows: list[tuple[str, ...]], asked: list[tuple[str, ...]], delimiter: str) -> None:
    kind = f"pair:{','.join(kinds)}"
    with TemporaryDirectory() as directory:
        source = Path(directory) / "list"
        # Of every other row the value makes it one of the common lines.
        values = [f"v{number}" if number % 2 else f"value {number}" for number in range(len(rows))]
        source.write_text("\n".join(f"{' '.join(row)}\t{value}" for row, value in zip(rows, values, strict=True)))
        declaration = TableDeclaration("t", kind, ("list",), str(Path(directory) / "policy.conf"), 1, (1,))
        with locked(Path(directory) / "tables", print) as directory_of_tables:
            result = compile_table(declaration, directory_of_tables, Options(allow_wide=True))
        assert result.state == "compiled", result.diagnostics
        verify_table(result.path, "t", kind)
        table = open_table(result.path, "t", kind, delimiter=delimiter)
        try:
            for texts in asked:
                raw = table.find(*texts)
                number = scanned(kinds, rows, texts, delimiter)
                assert (table.value(raw) if raw else None) == (None if number is None else values[number]), texts
                if raw and number is not None:
                    assert table.entry(raw).line == number + 1
        finally:
            table.close()


@settings(max_examples=int(os.environ.get("FORKPOLICY_EXAMPLES", "300")), deadline=None)
@given(tables(), st.sampled_from(["", "+"]))
def test_a_table_of_columns_is_a_scan(
    table: tuple[list[str], list[tuple[str, ...]], list[tuple[str, ...]]], delimiter: str
) -> None:
    """Among the rows whose columns all match: the most specific first column, then the second, then the third."""
    check(*table, delimiter)


@settings(max_examples=30, deadline=None)
@given(tables())
def test_the_same_in_sorted_parts(table: tuple[list[str], list[tuple[str, ...]], list[tuple[str, ...]]]) -> None:
    """Written to disk in parts of three rows, and flattened on every core."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sorted_store, "MAX_IN_MEMORY", 3)
        check(*table, "")
