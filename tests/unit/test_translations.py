"""Texts for people whose mail is held: each in every language, with the same values in it; how one is chosen."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from string import Formatter

import pytest

from forkpolicy import translations
from forkpolicy.console.access.rights import Role, may
from forkpolicy.console.routes import ROUTES
from forkpolicy.translations import LANGUAGES, catalogue, preferred, translate

ROOT = Path(translations.__file__).parent.parent
# say("...") of a template, where quotes within it are escaped as in Python.
IN_TEMPLATE = re.compile(r"""\bsay\(("(?:[^"\\]|\\.)*")""")
OTHERS = [name for name in LANGUAGES if name != "en"]


def spoken():
    """Every text that a page or a digest says by `say`, and the pages that a user's list has."""
    texts = {each.nav for each in ROUTES if each.nav and may(Role.USER, each.right)}
    for path in (ROOT / "console" / "templates").rglob("*.html"):
        texts |= {ast.literal_eval(found) for found in IN_TEMPLATE.findall(path.read_text())}
    for folder in ("console", "gateway"):
        for path in (ROOT / folder).rglob("*.py"):
            texts |= set(_of_calls(ast.parse(path.read_text())))
    return texts


def _of_calls(tree):
    constants = {
        each.targets[0].id: each.value.value
        for each in tree.body
        if isinstance(each, ast.Assign)
        and isinstance(each.value, ast.Constant)
        and isinstance(each.targets[0], ast.Name)
    }
    constants |= {
        each.target.id: each.value.value
        for each in tree.body
        if isinstance(each, ast.AnnAssign) and isinstance(each.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node.args:
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            first = node.args[0]
            if name == "say" and isinstance(first, ast.Constant):
                yield first.value
            elif name == "say" and isinstance(first, ast.Name) and first.id in constants:
                yield constants[first.id]


def places(text):
    """The values that a text has places for."""
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


@pytest.mark.parametrize("language", OTHERS)
def test_every_text_is_there_in_every_language(language):
    """Neither one too few, nor one that nobody says any more."""
    assert sorted(catalogue(language)) == sorted(spoken())


@pytest.mark.parametrize("language", OTHERS)
def test_a_translation_has_the_same_values(language):
    """Another place would be a KeyError on somebody's page."""
    wrong = [text for text, other in catalogue(language).items() if places(text) != places(other) or not other.strip()]
    assert wrong == []


def test_a_score_has_the_point_or_comma_of_its_language():
    """As people there write numbers."""
    text = "The scanner gave it {score} points."
    said = [translate(language, text, score=10.5) for language in ("en", "es", "ca")]
    assert said == [
        "The scanner gave it 10.5 points.",
        "El filtro le dio 10,5 puntos.",
        "El filtre li ha donat 10,5 punts.",
    ]


def test_a_text_without_a_translation_is_shown_in_english():
    """Rather than as nothing."""
    assert translate("es", "No language has {this}.", this="that") == "No language has that."


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", ""),
        ("de", ""),
        ("ca-ES,ca;q=0.9,es;q=0.8,en;q=0.7", "ca"),
        ("de-DE, es;q=0.5, en;q=0.4", "es"),
        ("en;q=0.1, es;q=0.2", "es"),
        ("es;q=0, en", "en"),
        ("es;q=x", ""),
        ("ES", "es"),
        (";;,,=", ""),
        ("*", ""),
    ],
)
def test_the_browser_says_which_language_it_prefers(header, language):
    """By weight, then by place; a region counts as its language; nonsense as nothing."""
    assert preferred(header) == language
