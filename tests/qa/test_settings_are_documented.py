"""Every setting is in the sample file, with its default; the samples pass their own check."""

from __future__ import annotations

import dataclasses
import pathlib
import re

from forkpolicy.settings import SECTIONS, Settings, declared, load_settings

ROOT = pathlib.Path(__file__).parent.parent.parent
SAMPLE = ROOT / "conf" / "forkpolicy.toml"


def test_the_sample_spells_out_every_default():
    """Who reads conf/forkpolicy.toml reads what holds without it: no setting is missing, no default is another one."""
    sample = load_settings(SAMPLE)
    for section, kind in SECTIONS.items():
        assert getattr(sample, section) == kind(), section
    assert sample.tables == Settings().tables
    assert sample.policy == str(ROOT / "conf" / "policy.conf")


def test_the_sample_names_every_setting():
    """Each declared setting stands in the sample once, below its section, with a comment above its block."""
    current, seen = "", set()
    for line in SAMPLE.read_text().splitlines():
        if header := re.fullmatch(r"\[(\w+)\]", line):
            current = header[1]
        elif found := re.match(r"#?\s*(\w+) = ", line):
            seen.add((current, found[1]))
    assert seen == {(section, name) for section, name, _, _ in declared()}


def test_every_setting_has_help():
    """A setting without a sentence of help is not finished."""
    assert all(help_text.strip().endswith((".", ")")) for _, _, _, help_text in declared())


def test_settings_are_frozen():
    """Nothing in the server changes a setting: a reload makes a new object."""
    assert all(kind.__dataclass_params__.frozen for kind in (Settings, *SECTIONS.values()))
    assert dataclasses.is_dataclass(Settings)
