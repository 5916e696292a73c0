"""Excerpts of lists that people really use: each compiles, or is refused with the right diagnostic.

Excerpts of public lists: doodad-labs and willwhite/freemail (domains), bitwire-it/ipblocklist, lord-alfred/ipranges,
ipverse/rir-ip, postgrey, mailcow and postwhite (postscreen access lists), Spamhaus DROP by SecOps-Institute,
opendns/public-domain-lists.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest

from tests.compiling import Compiler

DATA = Path(__file__).parents[1] / "data"


@pytest.fixture
def compiler(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Compiler:
    return Compiler(tmp_path, capsys)


def networks(name: str) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    words = [line.split()[0] for line in (DATA / name).read_text().splitlines() if line and line[0] != "#"]
    return [ipaddress.ip_network(word) for word in words]


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("domain", "disposable-domains.txt"),
        ("domain", "top-domains.txt"),
        ("cidr", "ipblocklist-networks.txt"),
        ("cidr", "ipranges-all-ipv4.txt"),
        ("cidr", "ipranges-all-ipv4-merged.txt"),
        ("cidr", "ipranges-microsoft-ipv6.txt"),
        ("cidr", "postscreen_access.cidr"),
        ("cidr", "postwhite-unsorted.txt"),
        ("cidr", "spamhaus-drop.txt"),
    ],
)
def test_lists_that_are_right(compiler: Compiler, kind: str, name: str) -> None:
    """Headers, trailing blanks, value columns, duplicates, nesting and a missing last newline are no obstacle."""
    outcome = compiler.one(kind, (DATA / name).read_bytes(), "--json")
    assert outcome.status == 0
    assert outcome.err == ""
    result = outcome.json[0]
    lines = [line for line in (DATA / name).read_text().splitlines() if line and line[0] != "#"]
    assert result["counts"]["parsed"] == len(lines)
    assert result["entries"] == len(lines) - result["counts"]["merged"] - result["counts"]["nested"]


@pytest.mark.parametrize(
    ("kind", "name", "diagnostics"),
    [
        ("domain", "freemail-free.txt", ['"404:" is not a name']),
        (
            "domain",
            "postgrey_whitelist_clients",
            [
                "a table cannot hold regular expressions",
                "195.235.39 is an address or a network",
                "/64 is an address",
            ],
        ),
        ("cidr", "rir-ip-by-country.cidr", ["/7 is wider than the /8", "/6 is wider than the /8"]),
    ],
)
def test_lists_that_are_wrong(compiler: Compiler, kind: str, name: str, diagnostics: list[str]) -> None:
    """A download's error message, regular expressions and networks among names, networks of half a continent."""
    outcome = compiler.one(kind, (DATA / name).read_bytes())
    assert outcome.status == 78
    for diagnostic in diagnostics:
        assert diagnostic in outcome.err
    assert compiler.files() == set()


def test_registries_with_permission(compiler: Compiler) -> None:
    """What is wide on purpose compiles with --allow-wide, and its value is the country."""
    assert compiler.one("cidr", (DATA / "rir-ip-by-country.cidr").read_bytes(), "--allow-wide").status == 0
    assert [entry and entry.value for entry in compiler.found("cidr", "7.1.2.3", "46.172.224.1")] == ["US", "AD"]


def test_a_feed_with_the_big_ones(compiler: Compiler) -> None:
    """That a list of throw-away domains holds google.com is found when it is protected."""
    own = compiler.source("own", "google.com\ngmx.com\nexample.net\n")
    outcome = compiler.one("domain", (DATA / "disposable-domains.txt").read_bytes(), "--protect", str(own))
    assert outcome.status == 78
    assert "google.com must not be in this table" in outcome.err
    assert "example.net" not in outcome.err.replace(str(own), "")


def test_the_merged_twin_answers_the_same(compiler: Compiler) -> None:
    """A list and its merged twin agree at and around every boundary of either."""
    compiler.policy(f"table a cidr {DATA}/ipranges-all-ipv4.txt", f"table b cidr {DATA}/ipranges-all-ipv4-merged.txt")
    assert compiler.run().status == 0
    asked = set()
    for network in networks("ipranges-all-ipv4.txt") + networks("ipranges-all-ipv4-merged.txt"):
        ends = (network.network_address, network.broadcast_address)
        asked |= {str(end + step) for end in ends for step in (-1, 0, 1)}
    left = compiler.keys("cidr", *sorted(asked), name="a")
    right = compiler.keys("cidr", *sorted(asked), name="b")
    assert [key is None for key in left] == [key is None for key in right]
    assert any(left)
    assert not all(left)
