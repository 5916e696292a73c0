"""The repository about itself: contracts at the top of files, imports one way, documents that tell the truth."""

from __future__ import annotations

import argparse
import ast
import pathlib
import re
import subprocess
import sys

import pytest

from forkpolicy.commands.main import make_parser

ROOT = pathlib.Path(__file__).parent.parent.parent
PRODUCT = sorted((ROOT / "forkpolicy").rglob("*.py"))
TOOLS = sorted([*(ROOT / "loadtest").rglob("*.py"), *(ROOT / "manual").rglob("*.py")])
TESTS = sorted((ROOT / "tests").rglob("*.py"))
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]


def tracked():
    """Every text file that git knows, but for the fixtures that were captured or collected elsewhere."""
    names = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.splitlines()
    if not names:
        pytest.skip("not a git checkout")
    fixtures = ("tests/captures/", "tests/data/")
    return [ROOT / name for name in names if not name.startswith(fixtures) and (ROOT / name).is_file()]


@pytest.mark.parametrize("path", [*PRODUCT, *TOOLS], ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_opens_with_its_contract(path):
    """Each module says what it is for before it says anything else."""
    tree = ast.parse(path.read_text())
    assert not tree.body or ast.get_docstring(tree), "no docstring"


@pytest.mark.parametrize("path", TESTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_test_says_what_it_expects(path):
    """Each test function has a docstring: the expectation in a sentence."""
    missing = [
        node.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and not ast.get_docstring(node)
    ]
    assert not missing


@pytest.mark.parametrize("path", TESTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_test_never_sleeps_to_wait(path):
    """Waiting is for an event, with a deadline; time.sleep in a test is either slow or wrong."""
    calls = [
        node.lineno
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "sleep"
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "time"
    ]
    assert not calls


def test_imports_go_one_way():
    """The rooms of the package import each other in one direction only, as pyproject.toml declares it."""
    command = pathlib.Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_product_does_not_know_its_tools():
    """Nothing in the package imports the load tests or the tests."""
    wrong = re.compile(r"^\s*(?:from|import) (?:loadtest|tests)\b", re.MULTILINE)
    assert [str(path) for path in PRODUCT if wrong.search(path.read_text())] == []


def test_any_is_seldom_and_has_its_reason():
    """At most 20 lines with the type, each but the imports with a comment: what has it is checked by nobody."""
    used, imported = [], []
    for path in PRODUCT:
        text = path.read_text()
        lines = text.splitlines()
        nodes = list(ast.walk(ast.parse(text)))
        used += {lines[each.lineno - 1] for each in nodes if isinstance(each, ast.Name) and each.id == "Any"}
        imported += [path for each in nodes if isinstance(each, ast.alias) and each.name == "Any"]
    assert len(used) + len(imported) <= 20
    assert [line for line in used if "  # " not in line] == []


def test_nothing_names_a_machine_or_a_registry():
    """No file of the project holds a path of somebody's machine or the host of a package registry."""
    # Written backwards, so that this file does not hold them either.
    backwards = ("/krow/", "/emoh/", "sboj_hsab", "gro.naibed", "gro.ipyp", "detsohnohtyp", ".sjmpn")
    forbidden = [word[::-1] for word in backwards]
    found = []
    for path in tracked():
        text = path.read_text(errors="replace")
        found += [f"{path.relative_to(ROOT)}: {word}" for word in forbidden if word in text]
    assert found == []


def test_no_merge_is_left_half_done():
    """No file has the marks that git puts around two versions of a place."""
    marks = ("<" * 7 + " ", ">" * 7 + " ")
    found = [
        path for path in tracked() for line in path.read_text(errors="replace").split("\n") if line.startswith(marks)
    ]
    assert found == []


def test_nothing_is_left_to_do():
    """What is not done is in KNOWN_ISSUES.md or in an issue, and not in a comment."""
    words = "|".join(word[::-1] for word in ("ODOT", "EMXIF", "XX" + "X"))
    marks = re.compile(rf"\b(?:{words})\b")
    found = [str(path.relative_to(ROOT)) for path in [*PRODUCT, *TOOLS, *TESTS] if marks.search(path.read_text())]
    assert found == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_of_documents_lead_somewhere(path):
    """A relative link in a document names a file of the checkout."""
    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", path.read_text())
    assert [link for link in links if not (path.parent / link).exists()] == []


def test_the_readme_names_every_command():
    """The README's table of commands and `forkpolicy --help` list the same."""
    actions = make_parser()._actions
    commands = next(action.choices for action in actions if isinstance(action, argparse._SubParsersAction))
    named = set(re.findall(r"^\| `forkpolicy (\w+)", (ROOT / "README.md").read_text(), re.MULTILINE))
    assert named == set(commands)
