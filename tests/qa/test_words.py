"""Documents, --help and messages use the words of docs/glossary.md, and none that the project gave up."""

from __future__ import annotations

import argparse
import ast
import re
from pathlib import Path

import pytest

from forkpolicy.commands.main import make_parser
from forkpolicy.compile import command as compile_command

ROOT = Path(__file__).parent.parent.parent

# A word that was given up -> what is written instead.
RETIRED = {
    r"coverings?": "implication",
    r"surroundings": "build context",
    r"on trial": "shadow policy",
    r"turnstile": "accept in turn",
    r"takers?": "receiver of a handover",
    r"hand-overs?": "handover",
    r"attendants?": "helper process",
    r"companions?": "helper process",
    r"predecessors?": "old master, previous worker",
    r"outbox": "send buffer",
    r"reaping": "waitpid",
    r"bur(?:y|ies|ied)": "replace, remove",
    r"table ?slots?": "table",
    r"crowd": "clients",
    r"happenings?": "actions, events",
    r"mishaps?": "faults",
    r"generation of (?:a|each|the) table": "table version",
    r"line of the policy": "rule",
    r"access lines?": "rule, access statement",
    r"heed(?:s|ed)?": "use",
    r"told": "reported",
    r"whoever": "the client, the process, the user",
    r"of before": "previous",
    r"(?<!as )of now": "current",
    r"t(?:ake|akes|aken|ook|aking)(?: \w+){0,2} up": "load, apply",
    r"beside": "next to",
    r"ha(?:s|ve) to": "must",
    r"nonsense": "invalid message",
    r"(?<!there )is no (?!longer\b|more\b)": "is not a (valid)",
}
WORDS = re.compile("|".join(rf"(?P<w{number}>\b(?:{word}))\b" for number, word in enumerate(RETIRED)), re.IGNORECASE)

# Where a word of the list stays, and why.
KEPT: dict[tuple[str, str], str] = {}

DOCUMENTS = [
    *ROOT.glob("*.md"),
    *(ROOT / "docs").glob("*.md"),
    ROOT / "loadtest" / "README.md",
    ROOT / "findings" / "README.md",
    *(
        path
        for room in ("conf", "contrib/gateway", "contrib/systemd")
        for path in (ROOT / room).rglob("*")
        if path.is_file()
    ),
]
MODULES = sorted((ROOT / "forkpolicy").rglob("*.py"))


def given_up(where, text):
    """Each word of the list in a text, with what is written instead; but for those that stay there."""
    for number, line in enumerate(text.splitlines(), 1):
        for found in WORDS.finditer(line):
            if (where, found[0].lower()) not in KEPT:
                instead = list(RETIRED.values())[int(found.lastgroup[1:])]
                yield f'{where}:{number}: "{found[0]}": write "{instead}"'


def without_changed_words(text):
    """A changelog without its lists of old words and new."""
    return re.sub(r"^### Changed words$.*?(?=^### |\Z)", "", text, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_documents_use_the_words_of_the_glossary(path):
    """No document and no comment of a sample or a unit has a word that was given up."""
    text = path.read_text()
    where = str(path.relative_to(ROOT))
    assert list(given_up(where, without_changed_words(text) if where == "CHANGELOG.md" else text)) == []


def parsers():
    parser = make_parser()
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.values()
    yield compile_command.make_parser()


@pytest.mark.parametrize("parser", list(parsers()), ids=lambda parser: parser.prog)
def test_help_uses_the_words_of_the_glossary(parser):
    """No --help has a word that was given up, also not over the end of a line."""
    assert list(given_up(parser.prog, " ".join(parser.format_help().split()))) == []


def messages_of(path):
    """The texts of a module that people may read: its strings with a blank, but not its docstrings."""
    tree = ast.parse(path.read_text())
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and node.body
        if isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.value


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_messages_use_the_words_of_the_glossary(path):
    """No message, log event, metric or help text in the code has a word that was given up."""
    where = str(path.relative_to(ROOT))
    assert [word for text in messages_of(path) for word in given_up(where, text)] == []


def test_each_word_that_stays_is_there():
    """An exception without its word is one too many."""
    texts = {str(path.relative_to(ROOT)): path.read_text() for path in DOCUMENTS} | {
        str(path.relative_to(ROOT)): "\n".join(messages_of(path)) for path in MODULES
    }
    assert [where for where, word in KEPT if word not in texts[where].lower()] == []
