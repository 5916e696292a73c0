"""A table of several columns as a scan of its rows: slow, obvious, and without code of the product. For tests only."""

from __future__ import annotations

import ipaddress

# Lengths and names are numbers of specificity: smaller is more specific.
ANYTHING = (9, 0)


def matches(column: str, pattern: str, value: str, delimiter: str) -> tuple[int, int] | None:
    """How specific a pattern matches a value; None: not at all."""
    if pattern == "*":
        return ANYTHING
    return {"network": in_network, "address": is_address, "host": is_below, "text": is_text}[column](
        pattern, value, delimiter
    )


def in_network(pattern: str, value: str, _delimiter: str) -> tuple[int, int] | None:
    try:
        address = ipaddress.ip_address(value.strip("[]"))
    except ValueError:
        return None
    address = getattr(address, "ipv4_mapped", None) or address
    lengths = [each.prefixlen for each in networks(pattern) if each.version == address.version and address in each]
    return (0, -lengths[0]) if lengths else None


def networks(pattern: str) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    first, dash, last = pattern.partition("-")
    if dash:
        return list(ipaddress.summarize_address_range(ipaddress.IPv4Address(first), ipaddress.IPv4Address(last)))  # type: ignore[return-value]
    network = ipaddress.ip_network(pattern)
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    return [ipaddress.ip_network(mapped)] if mapped else [network]


def folded(name: str) -> str:
    return name.lower().removesuffix(".").replace("bücher", "xn--bcher-kva")


def is_below(pattern: str, value: str, _delimiter: str) -> tuple[int, int] | None:
    name, wanted = folded(value), folded(pattern)
    if name == wanted:
        return 0, 0
    return (1, -len(wanted)) if wanted.startswith(".") and name.endswith(wanted) else None


def is_address(pattern: str, value: str, delimiter: str) -> tuple[int, int] | None:
    if value == "" or pattern == "<>":
        return (0, 0) if value == "" and pattern == "<>" else None
    local, at, domain = value.rpartition("@") if "@" in value else (value, "", "")
    local, domain = local.lower(), folded(domain)
    base = local.partition(delimiter)[0] if delimiter and not local.startswith("postmaster") else local
    if local.startswith("postmaster+") and delimiter:
        base = "postmaster"
    left, has_at, right = pattern.lower().rpartition("@")
    if has_at and left:
        wanted = folded(right)
        if wanted and (not at or domain != wanted):
            return None
        if left == local:
            return (0, 0) if wanted else (4, 0)
        return ((0, 1) if wanted else (4, 1)) if left == base else None
    if not at or not domain:
        return None
    found = is_below(right, domain, "")
    return found and (2 + found[0], found[1])


def is_text(pattern: str, value: str, _delimiter: str) -> tuple[int, int] | None:
    return (0, 0) if value and pattern.strip('"').casefold() == value.casefold() else None


def scanned(kinds: list[str], rows: list[tuple[str, ...]], asked: tuple[str, ...], delimiter: str = "") -> int | None:
    """The number of the row whose columns all match, the most specific first column first."""
    best: tuple[list[tuple[int, int]], int] | None = None
    for number, row in enumerate(rows):
        ranks = [matches(*each, delimiter) for each in zip(kinds, row, asked, strict=True)]
        if None not in ranks and (best is None or ranks < best[0]):  # type: ignore[operator]
            best = ranks, number  # type: ignore[assignment]
    return best[1] if best else None
