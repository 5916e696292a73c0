"""Every recipe of the cookbooks, compiled, checked, loaded and asked: what its table says is what it answers.

The rows of a table are one story, told to a store that is empty at first: `after=` is the time since the row above, and
`times=` how often the request comes, each time as a message of its own.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from pathlib import Path

import pytest

from forkpolicy.compile.command import main as compile_tables
from forkpolicy.durations import parse_duration
from forkpolicy.loading import load_everything
from forkpolicy.policy.answers import live, peeking
from forkpolicy.policy.checks.find import find_warnings
from forkpolicy.protocol.layout import wanted_values
from forkpolicy.protocol.request import Request
from forkpolicy.state.memory import MemoryStore
from forkpolicy.tables.keys import ip_key
from forkpolicy.world import spf
from forkpolicy.world.dns.answers import NXDOMAIN, Answer, Status, failure
from forkpolicy.world.dnsbl import Dnsbl, name_of_address
from forkpolicy.world.list_lookup import ListLookup

DOCS = Path(__file__).parent.parent.parent / "docs"
BLOCK = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RULE = re.compile(r"[|-]+")
LEAST_RECIPES = 12
# Training delays nobody.
NEVER_FIRES = {"Training before greylisting bites": ["access must_wait later"]}


@dataclass
class Row:
    """One line of a table of requests."""

    words: list[str]
    reply: str
    log: list[str]


@dataclass
class Recipe:
    """One section that has a policy. `usual`: the attributes that its requests do not show."""

    title: str
    usual: dict[str, str]
    policy: str = ""
    settings: str = ""
    records: str = ""
    sources: dict[str, str] = field(default_factory=dict)
    zones: str = ""
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


def recipe_of(section, usual):
    """A section as a recipe."""
    recipe = Recipe(section.partition("\n")[0], usual)
    for kind, name, text in BLOCK.findall(section):
        if kind == "policy":
            assert not recipe.policy, f"{recipe.title}: two policies"
            recipe.policy = text
        elif kind == "toml":
            recipe.settings = text
        elif kind == "dns":
            recipe.records = text
        elif kind == "zones":
            recipe.zones = text
        elif kind == "table":
            recipe.sources[name] = text
    recipe.rows = list(rows_of(section))
    return recipe


class Zones:
    """The names of a recipe's DNS lists: everything is known at once, and what no line has does not exist."""

    def __init__(self, text):
        self._answers = {}
        for line in text.splitlines():
            about, zone, code, *words = line.split()
            key = ip_key(about)
            name = f"{name_of_address(key[1:]) if key else about}.{zone}"
            known = self._answers.setdefault(name, {"A": (), "TXT": ()})
            if code == "fails":
                self._answers[name] = None
            else:
                known["A"] += (code,)
                known["TXT"] += (" ".join(words).encode(),) if words else ()

    def cached(self, name, rrtype):
        answer = self._answers.get(name, {})
        if answer is None:
            return failure("no answer")
        return Answer(Status.OK, answer[rrtype]) if answer.get(rrtype) else NXDOMAIN


class Book:
    """One cookbook: its list of contents, and its recipes."""

    def __init__(self, path):
        introduction, *sections = re.split(r"^## ", path.read_text(), flags=re.MULTILINE)
        self.contents = re.findall(r"^- \[(.*)\]\(#(.*)\)$", introduction, re.MULTILINE)
        usual = dict(word.split("=", 1) for word in BLOCK.search(introduction)[3].split())
        self.recipes = [recipe_of(section, usual) for section in sections]


BOOKS = {path.stem: Book(path) for path in sorted(DOCS.glob("cookbook*.md"))}
RECIPES = [recipe for book in BOOKS.values() for recipe in book.recipes]


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


class Dns:
    """Answers what a policy asks the world, by the records of a recipe (a line: name, type, data) and its lists."""

    def __init__(self, records, zones):
        self._lists = ListLookup(Zones(zones), lambda _zone, _why: None)
        self._records = {}
        for line in records.splitlines():
            name, rrtype, data = line.split(None, 2)
            record = {"TXT": data.encode(), "MX": (10, data.partition(" ")[2])}.get(rrtype, data)
            self._records.setdefault((name, rrtype), []).append(record)

    def answer(self, question):
        if question.kind == Dnsbl.kind:
            return self._lists.known(question)
        return spf.check(question, lambda *asked: self._records.get(asked, []), "mx.example.com")


class Story:
    """A recipe's policy while its rows are asked one after the other."""

    def __init__(self, recipe, policy):
        self._usual, self._policy = recipe.usual, policy
        self._now_s = datetime.fromisoformat(recipe.usual["at"]).timestamp()
        self._messages = count()
        self.fired = set()
        self._dns = Dns(recipe.records, recipe.zones)
        store = MemoryStore(lambda: self._now_s)
        policy.answer_with(live(store, self._dns.answer))
        self._peeking = peeking(store, self._dns.answer)

    def answer(self, row):
        """A row as it should stand there. What is asked several times has to be answered alike."""
        shown = dict(word.split("=", 1) for word in row.words)
        self._now_s += parse_duration(shown.pop("after")) if "after" in shown else 0
        answers = [self._ask(shown) for _ in range(int(shown.pop("times", 1)))]
        assert answers == [answers[0]] * len(answers), row
        return Row(row.words, *answers[0])

    def _ask(self, shown):
        attributes = {**self._usual, "instance": f"message {next(self._messages)}", **shown}
        at = attributes.pop("at")
        if "at" in shown or not self._policy.remembers:
            self._now_s = datetime.fromisoformat(at).timestamp()
        policy = self._policy
        for matcher in (matcher for acl in policy.model.acls.values() for matcher in acl.matchers):
            if matcher.needs_clock:
                matcher.clock = lambda: self._now_s
        values = wanted_values(Request(attributes, None), policy.wanted)
        # What would be answered, and then is.
        trace = policy.trace(values, self._peeking)
        self.fired |= {tried.rule.number for tried in trace.tried if tried.fired}
        rule = policy.decide(values).rule
        noted = [each.rule for each in policy.take_noted()]
        assert trace.outcome is rule
        assert trace.noted == noted
        logged = [each for each in noted if each.action.kind == "log"]
        return policy.text(rule, values), [policy.text(each, values) for each in logged]


def test_there_are_enough_recipes():
    """The cookbook is not a leaflet, and each of its sections can be tried."""
    assert all(len(book.recipes) >= LEAST_RECIPES for book in BOOKS.values())
    assert [recipe.title for recipe in RECIPES if not (recipe.policy and recipe.rows)] == []


@pytest.mark.parametrize("book", BOOKS.values(), ids=BOOKS)
def test_the_contents_list_every_recipe(book):
    """The list at the top has all recipes, in their order, each with the anchor that its heading gets."""
    anchors = [re.sub(r"[^\w -]", "", recipe.title.lower()).replace(" ", "-") for recipe in book.recipes]
    expected = [(recipe.title, anchor) for recipe, anchor in zip(book.recipes, anchors, strict=True)]
    assert book.contents == expected


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.title)
def test_a_recipe_answers_what_it_says(recipe, kitchen):
    """Each request of a recipe gets the reply, and writes the log text, that stands next to it."""
    story = Story(recipe, kitchen(recipe).policy)
    assert [story.answer(row) for row in recipe.rows] == recipe.rows


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
    story = Story(recipe, policy)
    for row in recipe.rows:
        story.answer(row)
    silent = [rule.text for rule in policy.model.rules if rule.number not in story.fired]
    assert silent == NEVER_FIRES.get(recipe.title, [])
