"""MaxMind databases for tests, made with mmdb_writer; and what it does not make: aliases of the IPv4 part of a tree."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

import maxminddb
from mmdb_writer import MMDBWriter
from netaddr import IPNetwork, IPSet

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

COUNTRIES = "Test-Country"
NETWORKS = "Test-ASN"


def country(code: str) -> dict[str, Any]:
    """A record as the country databases of MaxMind and DB-IP have it."""
    return {"country": {"iso_code": code, "names": {"en": f"Land of {code}"}}}


def asn(number: int) -> dict[str, Any]:
    """A record as their databases of autonomous systems have it."""
    return {"autonomous_system_number": number, "autonomous_system_organization": "Example"}


def write(path: Path, records: Mapping[str, object], kind: str = COUNTRIES, version: int = 6) -> None:
    """A database of networks and their records. The most specific wins, whatever the order of the mapping."""
    writer = MMDBWriter(version, database_type=kind, languages=["en"], ipv4_compatible=version == 6)
    # The writer lets the last one win.
    for network in sorted(records, key=lambda text: ipaddress.ip_network(text).prefixlen):
        writer.insert_network(IPSet([IPNetwork(network)]), records[network])
    writer.to_db_file(str(path))


def add_alias(path: Path, prefix: str) -> None:
    """Let a network that has a record of its own lead to the IPv4 part of the tree, as MaxMind's own databases do."""
    content = bytearray(path.read_bytes())
    with maxminddb.open_database(path, maxminddb.MODE_MEMORY) as reader:
        size = reader.metadata().record_size
    network = ipaddress.IPv6Network(prefix)
    *way, last = format(int(network.network_address), "0128b")[: network.prefixlen]
    start, node = 0, 0
    for _ in range(96):
        start = _record(content, size, start, 0)
    for bit in way:
        node = _record(content, size, node, int(bit))
    _set_record(content, size, node, int(last), start)
    path.write_bytes(content)


def _record(content: bytearray, size: int, node: int, side: int) -> int:
    both = int.from_bytes(content[node * size // 4 : (node + 1) * size // 4], "big")
    if size == 28:
        return both & 0xFFFFFFF if side else both >> 32 | (both >> 4 & 0xF000000)
    return both & ((1 << size) - 1) if side else both >> size


def _set_record(content: bytearray, size: int, node: int, side: int, record: int) -> None:
    assert size in (24, 32), "the middle byte of 28 bits is not written here"
    at = node * size // 4 + side * size // 8
    content[at : at + size // 8] = record.to_bytes(size // 8, "big")
