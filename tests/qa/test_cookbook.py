"""Every recipe of the cookbook, compiled, checked, loaded and asked: what its table says is what it answers."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import pytest

from forkpolicy.compile.command import main as compile_tables
from forkpolicy.loading import load_everything
from forkpolicy.policy.checks.find import find_warnings
from forkpolicy.protocol.layout import wanted_values
from forkpolicy.protocol.request import Request

COOKBOOK = Path(__file__).parent.parent.parent / "docs" / "cookbook.md"
BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RULE = re.compile(r"[|-]+")
LEAST_RECIPES = 15


@dataclass
class Row:
    """One line of a table of requests."""

    words: list[str]
    reply: str
    log: list[str]


@dataclass
class Recipe:
    """One section that has a policy."""

    title: str
    policy: str = ""
    settings: str = ""
    sources: dict[str, str] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)


def words_of(cell):
    """What stands in a cell, without the backquotes of code."""
    return cell.strip().removeprefix("`").removesuffix("`")


def rows_of(section):
    """The rows of the tables whose first column is a request."""
    header = None
    for line in BLOCK.sub("", section).splitlines():
        cells = [words_of(cell) for cell in line.strip("|").split("|")] if line.startswith("|") else None
        if cells is None:
            header = None
        elif header is None:
            header = cells
        elif header[0] == "request" and not RULE.fullmatch(line):
            yield Row(shlex.split(cells[0]), cells[1], [log for log in cells[2:] if log])


def recipe_of(section):
    """A section as a recipe."""
    recipe = Recipe(section.partition("\n")[0])
    for kind, name, text in BLOCK.findall(section):
        if kind == "policy":
            assert not recipe.policy, f"{recipe.title}: two policies"
            recipe.policy = text
        elif kind == "toml":
            recipe.settings = text
        elif kind == "table":
            recipe.sources[name] = text
    recipe.rows = list(rows_of(section))
    return recipe


INTRODUCTION, *SECTIONS = re.split(r"^## ", COOKBOOK.read_text(), flags=re.MULTILINE)
RECIPES = [recipe_of(section) for section in SECTIONS]
USUAL = dict(word.split("=", 1) for word in BLOCK.search(INTRODUCTION)[3].split())


@pytest.fixture
def kitchen(tmp_path, capsys):
    """Writes a recipe down as an administrator would, compiles its tables and loads it."""
    opened = []

    def cook(recipe):
        (tmp_path / "tables").mkdir()
        settings = tmp_path / "forkpolicy.toml"
        settings.write_text(f'policy = "policy.conf"\ntables = "compiled"\n{recipe.settings}')
        (tmp_path / "policy.conf").write_text(recipe.policy)
        for name, text in recipe.sources.items():
            (tmp_path / "tables" / name).write_text(text)
        status = compile_tables(["-c", str(settings)])
        said = capsys.readouterr().err
        assert (status, said) == (0, ""), said
        loaded = load_everything(settings)
        opened.extend(loaded.tables.values())
        for table in loaded.tables.values():
            table.refresh()
            assert not table.refused
        return loaded

    yield cook
    for table in opened:
        table.close()


def values_of(policy, row):
    """What the policy reads of a row's request; `at=` sets its clock."""
    attributes = {**USUAL, **dict(word.split("=", 1) for word in row.words)}
    at = datetime.fromisoformat(attributes.pop("at"))
    for matcher in (matcher for acl in policy.model.acls.values() for matcher in acl.matchers):
        if matcher.needs_clock:
            matcher.clock = at.timestamp
    return wanted_values(Request(attributes, None), policy.wanted)


def answer(policy, row):
    """A row as it should stand there; the exact evaluation has to agree."""
    values = values_of(policy, row)
    rule = policy.decide(values).rule
    noted = [each.rule for each in policy.take_noted()]
    trace = policy.trace(values)
    assert trace.outcome is rule
    assert trace.noted == noted
    return Row(row.words, policy.text(rule, values), [policy.text(each, values) for each in noted])


def test_there_are_enough_recipes():
    """The cookbook is not a leaflet, and each of its sections can be tried."""
    assert len(RECIPES) >= LEAST_RECIPES
    assert [recipe.title for recipe in RECIPES if not (recipe.policy and recipe.rows)] == []


def test_the_contents_list_every_recipe():
    """The list at the top has all recipes, in their order, each with the anchor that its heading gets."""
    anchors = [re.sub(r"[^\w -]", "", recipe.title.lower()).replace(" ", "-") for recipe in RECIPES]
    expected = [(recipe.title, anchor) for recipe, anchor in zip(RECIPES, anchors, strict=True)]
    assert re.findall(r"^- \[(.*)\]\(#(.*)\)$", INTRODUCTION, re.MULTILINE) == expected


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.title)
def test_a_recipe_answers_what_it_says(recipe, kitchen):
    """Each request of a recipe gets the reply, and writes the log text, that stands next to it."""
    policy = kitchen(recipe).policy
    assert [answer(policy, row) for row in recipe.rows] == recipe.rows


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.title)
def test_check_has_nothing_to_say_about_a_recipe(recipe, kitchen):
    """No recipe has a rule that never fires, an unused name, or one of the known traps."""
    loaded = kitchen(recipe)
    warnings = [*loaded.warnings, *find_warnings(loaded.policy.model, loaded.declarations)]
    assert [str(warning) for warning in warnings] == []


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.title)
def test_every_line_of_a_recipe_fires_for_some_request(recipe, kitchen):
    """The requests of a recipe show each of its rules at work."""
    policy = kitchen(recipe).policy
    traces = [policy.trace(values_of(policy, row)) for row in recipe.rows]
    fired = {tried.rule.number for trace in traces for tried in trace.tried if tried.fired}
    assert [line.text for line in policy.model.rules if line.number not in fired] == []
