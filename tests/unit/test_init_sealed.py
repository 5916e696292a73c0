"""The samples' last line, by which `forkpolicy init` knows that nobody has changed them."""

from __future__ import annotations

from pathlib import Path

import pytest

from forkpolicy.commands.init.sealing import changed_by_people, sealed

CONF = Path(__file__).parents[2] / "conf"
SAMPLES = ("forkpolicy.toml", "policy.conf", "tables/local-domains", "tables/local-networks.cidr")


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_is_as_delivered(name):
    """After a change of a sample, the end of its last line must be that of sealed()."""
    text = (CONF / name).read_text()
    above = "".join(text.splitlines(keepends=True)[:-1])
    assert text.splitlines()[-1] == sealed(above).splitlines()[-1]
    assert changed_by_people({name: ""}, {name: text}) == []


@pytest.mark.parametrize("text", ["mine\n", sealed("a\n").replace("a\n", "b\n", 1), f"{sealed('a')}b\n"])
def test_what_people_wrote_is_theirs(text):
    """Without the line, above it, and below it."""
    assert changed_by_people({"policy.conf": "new\n"}, {"policy.conf": text}) == ["policy.conf"]
    assert changed_by_people({"policy.conf": f"{text}more\n"}, {"policy.conf": text}) == []
