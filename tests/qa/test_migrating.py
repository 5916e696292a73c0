"""docs/migrating*.md are true: every format has its page, each command there is one, and the examples run as shown."""

from __future__ import annotations

import argparse
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from forkpolicy.commands.main import make_parser
from forkpolicy.importing.formats import FORMATS

ROOT = Path(__file__).parent.parent.parent
PAGES = sorted((ROOT / "docs").glob("migrating-from-*.md"))
BLOCK = re.compile(r"^```(file|console|sh)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def steps_of(text):
    """The commands of a console with what they print."""
    for step in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, output = step.partition("\n")
        yield command, output


def test_the_index_has_every_page():
    """docs/migrating.md links to each page."""
    text = (ROOT / "docs" / "migrating.md").read_text()
    assert [page.name for page in PAGES if f"({page.name})" not in text] == []


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_every_format_has_its_page(name):
    """Somebody who imports can read what differs."""
    assert any(f"forkpolicy import {name} " in page.read_text() for page in PAGES)


@every_page
def test_a_page_has_what_people_look_for(page):
    """Before and after, what differs, side by side, and the way back."""
    headings = re.findall(r"^## (.*)$", page.read_text(), re.MULTILINE)
    assert [each for each in ("Before and after", "What differs", "Side by side", "Back") if each not in headings] == []


@every_page
def test_each_import_of_a_page_is_a_command(page):
    """The options of an import that a page shows are there."""
    commands = []
    for kind, _, text in BLOCK.findall(page.read_text()):
        lines = [command for command, _ in steps_of(text)] if kind == "console" else text.splitlines()
        commands += [line for line in lines if line.startswith("forkpolicy import ")]
    parser = make_parser()
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            action.choices["import"].exit_on_error = False
    assert commands
    for command in commands:
        assert parser.parse_args(shlex.split(command)[1:]).command == "import"


@every_page
def test_the_examples_of_a_page_print_what_it_shows(page, tmp_path):
    """Its files are written, its commands run in their order, and print what stands below them."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "NO_COLOR": "1"}
    shown, printed = [], []
    for kind, name, text in BLOCK.findall(page.read_text()):
        if kind == "file":
            (tmp_path / name).write_text(text)
        elif kind == "console":
            for command, output in steps_of(text):
                done = subprocess.run(
                    ["bash", "-c", command],
                    cwd=tmp_path,
                    env=environment,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    check=False,
                )
                shown.append((command, output))
                printed.append((command, done.stdout.replace(f"{tmp_path}/", "")))
    assert printed == shown
