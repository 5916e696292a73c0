"""docs/gateway.md and the samples of contrib/gateway compared with the code."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from forkpolicy.gateway.domains import Domain, parse_domains
from forkpolicy.gateway.settings import SECTIONS, GatewaySettings, load_gateway_settings

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "gateway.md"
SAMPLES = ROOT / "contrib" / "gateway"
SETTINGS = [
    (f"[{section}] {each.name}" if section else each.name, each.metadata["help"])
    for section, kind in {"": GatewaySettings, **SECTIONS}.items()
    for each in fields(kind)
    if "help" in each.metadata
]


@pytest.mark.parametrize(("name", "meaning"), SETTINGS)
def test_the_page_has_every_setting(name, meaning):
    """With what the code says about it."""
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith(f"| `{name}` |")]
    assert len(rows) == 1
    assert rows[0].endswith(f"| {meaning} |")


def test_the_sample_spells_out_every_default():
    """Who reads contrib/gateway/gateway.toml reads what holds without it."""
    sample = load_gateway_settings(SAMPLES / "gateway.toml")
    for section, kind in SECTIONS.items():
        assert getattr(sample, section) == kind(), section
    assert sample.domains == GatewaySettings().domains


def test_the_sample_names_every_setting():
    """Each stands there once, below its section."""
    section, seen = "", []
    for line in (SAMPLES / "gateway.toml").read_text().splitlines():
        if header := re.fullmatch(r"\[(\w+)\]", line):
            section = f"[{header[1]}] "
        elif found := re.match(r"(\w+) = ", line):
            seen.append(f"{section}{found[1]}")
    assert sorted(seen) == sorted(name for name, _ in SETTINGS)


def test_the_sample_of_a_domains_file_is_one():
    """It can be read, has several domains, and explains every option and uses each."""
    text = (SAMPLES / "domains.example").read_text()
    assert len(parse_domains("domains.example", text)) > 1
    for option in {each.name for each in fields(Domain)} - {"name", "relay"}:
        assert f"\n#   {option}=" in text, option
        assert re.search(rf"(?m)^[^#].* {option}=", text), option


def test_what_the_page_says_of_samples_is_there():
    """Each file of contrib/gateway is named on the page, and no other one."""
    named = set(re.findall(r"contrib/gateway/([\w.-]+)", PAGE.read_text()))
    assert named == {path.name for path in SAMPLES.iterdir()}
