"""docs/gateway.md compared with the code."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from forkpolicy.gateway.settings import SECTIONS, GatewaySettings

PAGE = Path(__file__).parents[2] / "docs" / "gateway.md"
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
