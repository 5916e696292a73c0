"""Entries that stand in the samples, and were to be replaced."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from forkpolicy.commands.check import find_diagnostics
from forkpolicy.tables import examples
from tests.compiling import Compiler

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def compiler(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Compiler:
    return Compiler(tmp_path, capsys)


def example_keys(compiler: Compiler, kind: str) -> list[str]:
    table = compiler.open(kind)  # type: ignore[arg-type]
    try:
        return [entry.key for entry in examples.examples_in(table)]
    finally:
        table.close()


@pytest.mark.parametrize(
    ("kind", "own", "documented"),
    [
        (
            "cidr",
            ["192.0.1.255", "192.0.3.0", "2001:db7::1", "2001:db9::/32", "198.51.101.0/24", "::1"],
            ["192.0.2.0", "192.0.2.255", "198.51.100.0/24", "203.0.113.64/26", "2001:db8::/32", "3fff::1"],
        ),
        (
            "domain",
            [
                "example.cat",
                "myexample.com",
                "sub.example.com",
                "localhost",
                "example",
                "a.test",
                "example.com.evil.org",
            ],
            [
                ".example.com",
                "a.example",
                "b.a.example",
                "example.com",
                "example.net",
                "example.org",
                "sub.example.com",
            ],
        ),
        (
            "address",
            ["example.com@a.org", "info@", "info@my-example.com"],
            [".example", "info@a.example", "info@example.com"],
        ),
        ("key", ["plain", "example.com plain"], ["192.0.2.1 a@example.com", "a@example.org"]),
    ],
)
def test_what_comes_from_documentation(compiler: Compiler, kind: str, own: list[str], documented: list[str]) -> None:
    """Networks inside those of documentation, names of RFC 2606 and addresses at them; nothing else."""
    lines = [f'"{entry}"' if " " in entry else entry for entry in (*own, *documented)]
    assert compiler.one(kind, "\n".join(lines) + "\n").status == 0
    assert sorted(example_keys(compiler, kind)) == sorted(documented)


def test_a_network_that_reaches_into_documentation_is_its_own(compiler: Compiler) -> None:
    """What is left of one around a documented network may end within it, and began outside."""
    assert compiler.one("cidr", "192.0.0.0/22 ours\n192.0.2.128/25 theirs\n").status == 0
    assert example_keys(compiler, "cidr") == ["192.0.2.128/25"]


def test_a_large_table_is_not_looked_through(compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was downloaded, and nobody forgot anything."""
    monkeypatch.setattr(examples, "_MOST_ENTRIES", 2)
    compiler.one("domain", "example.com\na.org\n")
    assert example_keys(compiler, "domain") == ["example.com"]
    compiler.one("domain", "example.com\na.org\nb.org\n")
    assert example_keys(compiler, "domain") == []


def test_the_compile_says_so_below_its_line(compiler: Compiler) -> None:
    """With the place of the first; --json has the number, and no other word of it anywhere."""
    compiler.policy("table t domain list", "table u domain other")
    compiler.source("list", "# ours\nexample.com\nexample.net\nmail.cat\n")
    compiler.source("other", "mail.cat\n")
    outcome = compiler.run()
    place = f"{compiler.directory}/list:2"
    told = f"  example.com and 1 more come from the documentation's examples: put your own here ({place})"
    assert outcome.out.splitlines()[1] == told
    assert outcome.out.count("documentation") == 1
    assert outcome.err == ""
    found = compiler.run("--json").json
    assert [each["examples"] for each in found] == [2, 0]
    assert found[0]["diagnostics"] == []


def test_check_warns(compiler: Compiler) -> None:
    """At the entry's own place: it is the line that must be edited."""
    compiler.policy("table t cidr list", "acl a client_address table:t", "access a")
    compiler.source("list", "10.0.0.0/8\n192.0.2.0/24 office\n")
    assert compiler.run().status == 0
    diagnostics = find_diagnostics(str(compiler.settings))[0]
    told = [each for each in diagnostics if "documentation" in each.message]
    assert [(each.severity, each.place) for each in told] == [("warning", f"{compiler.directory}/list:2")]
    assert told[0].message.startswith("192.0.2.0/24 comes from the documentation's examples")
    compiler.source("list", "10.0.0.0/8\n")
    assert compiler.run().status == 0
    assert not any("documentation" in each.message for each in find_diagnostics(str(compiler.settings))[0])
