"""A compiled table answers as the simplest imaginable reference does, whatever is in it."""

from __future__ import annotations

import ipaddress
import os
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import maxminddb
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from forkpolicy.compile.directory import locked
from forkpolicy.compile.result import Options
from forkpolicy.compile.sorting import sorted_store
from forkpolicy.compile.sorting.external_sort import merge_runs, write_run
from forkpolicy.compile.sorting.flatten import flatten
from forkpolicy.compile.sorting.sort_records import RecordParser
from forkpolicy.compile.sorting.tally import Tally
from forkpolicy.compile.table import compile_table
from forkpolicy.policy.nodes import TableDeclaration
from forkpolicy.tables import keys
from forkpolicy.tables.kinds.address import address_keys
from forkpolicy.tables.reader import open_table
from tests import databases

VALUES = st.sampled_from(["", "a", "b"])

# A small corner of each address space, so that networks nest, touch and repeat all the time.
V4 = st.builds(
    lambda number, length: (4, number << 27 >> (32 - length) << (32 - length), length),
    st.integers(0, 31),
    st.integers(8, 32),
)
V4_FINE = st.builds(
    lambda number, length: (4, (0xC0000200 | number) >> (32 - length) << (32 - length), length),
    st.integers(0, 255),
    st.integers(20, 32),
)
V6 = st.builds(
    lambda number, length: (6, ((0x20010DB8 << 96) | number) >> (128 - length) << (128 - length), length),
    st.integers(0, 63),
    st.integers(118, 128),
)
ENDS = st.sampled_from(
    [(4, 0xFFFFFF00, 24), (4, 0xFFFFFFFF, 32), (6, (1 << 128) - 1, 128), (6, ((1 << 16) - 1) << 112, 16)]
)
NETWORKS = st.lists(st.tuples(V4 | V4_FINE | V6 | ENDS, VALUES), min_size=1, max_size=25)


def network_of(version: int, first: int, length: int) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return ipaddress.IPv4Network((first, length)) if version == 4 else ipaddress.IPv6Network((first, length))


def compiled(kind: str, lines: list[str], asked: list[str]) -> list[tuple[str, str] | None]:
    with TemporaryDirectory() as directory:
        source = Path(directory) / "list"
        source.write_text("\n".join(lines))
        declaration = TableDeclaration("t", kind, ("list",), str(Path(directory) / "policy.conf"), 1, (1,))
        with locked(Path(directory) / "tables", print) as tables:
            result = compile_table(declaration, tables, Options(skip_bad=True))
        assert result.state == "compiled", result.diagnostics
        table = open_table(result.path, "t", kind)  # type: ignore[arg-type]
        try:
            raw = [table.find(text) for text in asked]
            return [(table.entry(each).key, table.entry(each).value or "") if each else None for each in raw]
        finally:
            table.close()


def addresses_around(networks: list[tuple[tuple[int, int, int], str]]) -> list[str]:
    found = set()
    for (version, first, length), _ in networks:
        bits = 32 if version == 4 else 128
        last = first + (1 << (bits - length)) - 1
        for number in (first - 1, first, first + 1, last - 1, last, last + 1):
            if 0 <= number < 1 << bits:
                found.add(str(ipaddress.IPv4Address(number) if version == 4 else ipaddress.IPv6Address(number)))
    return sorted(found)


@settings(max_examples=150, deadline=None)
@given(NETWORKS)
def test_cidr_is_the_longest_prefix_of_a_dict(networks: list[tuple[tuple[int, int, int], str]]) -> None:
    """At and around every boundary the value is that of the longest matching prefix; the first of equals counts."""
    reference: dict[object, str] = {}
    for network, value in networks:
        reference.setdefault(network_of(*network), value)
    asked = addresses_around(networks)
    answers = compiled("cidr", [f"{network_of(*network)} {value}" for network, value in networks], asked)
    for text, answer in zip(asked, answers, strict=True):
        address = ipaddress.ip_address(text)
        matching = [each for each in reference if address in each]  # type: ignore[operator]
        best = max(matching, key=lambda each: each.prefixlen, default=None)  # type: ignore[attr-defined]
        assert (answer is None) == (best is None), text
        if answer:
            # Below a network with the same value the outer one may stand for the inner.
            assert answer[1] == reference[best], text
            assert address in ipaddress.ip_network(answer[0])


# At the edges of IPv4 in a tree of IPv6, too: above it, next to it, and the mapped addresses.
AROUND_IPV4 = st.sampled_from([(6, 0, 64), (6, 0, 95), (6, 1 << 32, 96), (6, 1 << 33, 95), (6, 0xFFFF << 32, 96)])
HALVES = st.sampled_from([(4, 0, 1), (4, 1 << 31, 1), (6, 0, 1), (6, 1 << 127, 1)])


@settings(max_examples=int(os.environ.get("FORKPOLICY_EXAMPLES", "150")), deadline=None)
@given(
    st.lists(st.tuples(V4 | V4_FINE | V6 | ENDS | AROUND_IPV4 | HALVES, st.sampled_from("ab")), min_size=1, max_size=25)
)
def test_mmdb_is_what_maxminddb_answers(networks: list[tuple[tuple[int, int, int], str]]) -> None:
    """The compiled table says of each address at and around every boundary what a reader of the database says."""
    # Of mapped addresses alone nothing is left, which is a mistake of its own.
    assume(any(network != (6, 0xFFFF << 32, 96) for network, _ in networks))
    with TemporaryDirectory() as directory:
        path = Path(directory) / "x.mmdb"
        databases.write(path, {str(network_of(*network)): {"f": value} for network, value in networks})
        declaration = TableDeclaration("t", "cidr", ("mmdb:x.mmdb#f",), str(Path(directory) / "policy.conf"), 1, (1,))
        with locked(Path(directory) / "tables", print) as tables:
            result = compile_table(declaration, tables, Options())
        assert result.state == "compiled", result.diagnostics
        table = open_table(result.path, "t", "cidr")
        with maxminddb.open_database(path, maxminddb.MODE_MEMORY) as reader:
            for text in addresses_around(networks):
                address = ipaddress.ip_address(text)
                if isinstance(address, ipaddress.IPv6Address):
                    if not int(address) >> 32:
                        # `::192.0.2.1` is IPv4 for a reader, and nobody's address for us.
                        continue
                    address = address.ipv4_mapped or address
                raw = table.find(text)
                assert (table.value(raw) if raw else None) == (reader.get(address) or {}).get("f"), text
        table.close()


NAMES = st.lists(st.sampled_from(["a", "b", "c", "xn--bcher-kva"]), min_size=1, max_size=4).map(".".join)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["", "."]), NAMES), min_size=1, max_size=15), st.lists(NAMES, max_size=15))
def test_domain_is_a_dict_of_suffixes(entries: list[tuple[str, str]], asked: list[str]) -> None:
    """An exact name before `.parent` from the longest, and nothing else."""
    lines = [dot + name for dot, name in entries]
    asked += [name for _, name in entries] + [f"x.{name}" for _, name in entries]
    reference = set(lines)
    expected = [next((key for key in keys.domain_keys(name) if key in reference), None) for name in asked]
    assert [answer and answer[0] for answer in compiled("domain", lines, asked)] == expected


LOCALS = st.sampled_from(["u", "u+x", "v", "owner-u", "a@b", "+x"])
ADDRESSES = st.one_of(
    st.builds(lambda local, name: f"{local}@{name}", LOCALS, NAMES),
    NAMES,
    NAMES.map(lambda name: f".{name}"),
    LOCALS.map(lambda local: f"{local}@"),
    st.just("<>"),
)


@pytest.mark.parametrize("delimiter", ["", "+", "+-"])
@settings(max_examples=60, deadline=None)
@given(
    entries=st.lists(ADDRESSES, min_size=1, max_size=15),
    asked=st.lists(st.builds(lambda a, b: f"{a}@{b}", LOCALS, NAMES), max_size=15),
)
def test_address_finds_the_first_key_of_access_5(delimiter: str, entries: list[str], asked: list[str]) -> None:
    """The reader, which skips forms that a table lacks, answers as the plain list of keys does."""
    with TemporaryDirectory() as directory:
        (Path(directory) / "list").write_text("\n".join(entries))
        declaration = TableDeclaration("t", "address", ("list",), str(Path(directory) / "policy.conf"), 1, (1,))
        with locked(Path(directory) / "tables", print) as tables:
            result = compile_table(declaration, tables, Options())
        table = open_table(result.path, "t", "address", delimiter=delimiter)
        try:
            for text in ["", "<>", *asked]:
                expected = next((key for key in address_keys(text, delimiter) if key in set(entries)), None)
                raw = table.find(text)
                assert (table.entry(raw).key if raw else None) == expected, text
        finally:
            table.close()


RECORDS = st.lists(st.text("ab0", min_size=1, max_size=5), max_size=60)


@settings(max_examples=100, deadline=None)
@given(st.lists(RECORDS, max_size=6), st.sampled_from(["", "0", "a", "ab", "b"]), st.sampled_from(["", "aa", "b", "c"]))
def test_merged_runs_are_one_sorted_list(contents: list[list[str]], low: str, high: str) -> None:
    """Whatever the runs hold, any part of their merge is that part of everything sorted."""
    with TemporaryDirectory() as directory:
        runs = [write_run(Path(directory) / str(number), sorted(each)) for number, each in enumerate(contents) if each]
        merged = [record for block in merge_runs(runs, low, high) for record in block]
    everything = sorted(record for each in contents for record in each)
    assert merged == [record for record in everything if record >= low and (not high or record < high)]


@settings(max_examples=30, deadline=None)
@given(NETWORKS, st.integers(1, 5))
def test_blocks_make_no_difference(networks: list[tuple[tuple[int, int, int], str]], size: int) -> None:
    """Flattening gives the same ranges however the records are cut into blocks."""
    parsed = RecordParser("cidr", 0, "x", date(2026, 12, 24)).parse_lines(
        [f"{network_of(*network)} {value}" for network, value in networks], 1
    )
    records = sorted(parsed.records)

    def ranges(blocks: list[list[str]]) -> list[tuple[bytes, bytes]]:
        return [pair for batch in flatten("cidr", blocks, Tally(("x",), skip_bad=True)) for pair in batch]

    assert ranges([records]) == ranges([records[at : at + size] for at in range(0, len(records), size)])


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(V4 | V4_FINE | V6 | ENDS, VALUES), min_size=40, max_size=120))
def test_a_table_that_was_sorted_on_disk_is_the_same(networks: list[tuple[tuple[int, int, int], str]]) -> None:
    """Runs, parts and child processes change nothing about the answers."""
    lines = [f"{network_of(*network)} {value}" for network, value in networks]
    asked = addresses_around(networks)
    in_memory = compiled("cidr", lines, asked)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sorted_store, "MAX_IN_MEMORY", 16)
        patch.setattr("forkpolicy.compile.sources.registry.BLOCK_BYTES", 64)
        patch.setattr("forkpolicy.compile.sorting.external_sort._MARK_EVERY", 4)
        assert compiled("cidr", lines, asked) == in_memory
