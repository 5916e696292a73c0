"""What documents say about commands, files and policies is so: links and anchors lead somewhere, examples run."""

from __future__ import annotations

import argparse
import contextlib
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from forkpolicy.commands.main import make_parser
from forkpolicy.compile import command as compile_command
from tests.fakes import diagnostics_of

ROOT = Path(__file__).parent.parent.parent
FENCED = re.compile(r"^ *```(\w*).*?\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)")
# A command where it can stand alone: at the start of an indented line, or all of what stands in backquotes.
COMMAND_LINE = re.compile(
    r"^ {4,}(?:\$ )?((?:python -m )?forkpolicy(?:-compile)? .*)$|`(forkpolicy(?:-compile)? [^`]+)`", re.MULTILINE
)
STATEMENT = re.compile(r"^ {4}((?:table|acl|action|access) .*)$", re.MULTILINE)


def documents():
    """Every document that git knows, or would if it were added."""
    names = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.splitlines()
    return [ROOT / name for name in names if (ROOT / name).is_file()]


DOCUMENTS = documents()
every_document = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


def without_fences(text):
    return FENCED.sub("", text)


def anchors_of(path):
    """The anchors of a document's headings, as they are made on the web: lower case, blanks to dashes, no signs."""
    headings = re.findall(r"^#+ (.+)$", without_fences(path.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@every_document
def test_links_and_anchors_lead_somewhere(path):
    """A relative link names a file of the checkout; behind a # stands one of that document's headings."""
    wrong = []
    for name, anchor in LINK.findall(path.read_text()):
        target = path.parent / name if name else path
        if not target.exists() or (anchor and anchor not in anchors_of(target)):
            wrong.append(f"{name}#{anchor}" if anchor else name)
    assert wrong == []


class RefusedError(Exception):
    """What a parser says of a command line that is wrong."""


def refuse(message):
    raise RefusedError(message)


def parse(parser, words):
    """Parse as the command would, without ending the process. A command's name alone is a way to speak of it."""
    parsers = [parser]
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            if len(words) == 1 and words[0] in action.choices:
                return
            parsers += action.choices.values()
    for each in parsers:
        each.error = refuse
    with contextlib.suppress(SystemExit):
        # What ends here is --help and --version.
        parser.parse_args(words)


def command_lines(text):
    """Every command of ours that a document shows; not the forms with brackets and alternatives of a synopsis."""
    for indented, quoted in COMMAND_LINE.findall(text):
        line = re.split(r"\s+#|\s*[|<>&]|\s\\$", indented or quoted)[0].strip()
        if not set(line) & set("[]{}") and "..." not in line:
            # Where any number may stand.
            yield re.sub(r"\bN\b", "2", line)


@every_document
def test_commands_in_documents_are_commands(path):
    """Each command line that a document shows is one: the command is there, and so are its options."""
    wrong = []
    for line in command_lines(without_fences(path.read_text())):
        words = shlex.split(line.removeprefix("python -m "))
        parser = make_parser() if words[0] == "forkpolicy" else compile_command.make_parser()
        if words[1:] == ["COMMAND"]:
            continue
        try:
            parse(parser, words[1:])
        except RefusedError as error:
            # A sentence may end with an option: `forkpolicy replay --against`.
            if not (words[-1].startswith("--") and str(error).endswith("expected one argument")):
                wrong.append(f"{line}: {error}")
    assert wrong == []


def test_the_readme_shows_the_policy_that_is_shipped():
    """The policy in README.md is conf/policy.conf without its comments, blanks aside."""
    shipped = (ROOT / "conf" / "policy.conf").read_text().splitlines()
    statements = [line.split() for line in shipped if line and line[0] not in "#;"]
    block = (ROOT / "README.md").read_text().split("conf/policy.conf)")[-1]
    shown = [line.split() for line in STATEMENT.findall(block)]
    assert shown == statements


def test_the_policy_of_the_manual_loads():
    """The example at the top of policy.conf(5) is a whole policy."""
    text = (ROOT / "docs" / "policy.conf.5.md").read_text().split("\n## ")[0]
    statements = STATEMENT.findall(text)
    assert [line.split()[0] for line in statements].count("access") >= 2
    assert diagnostics_of("\n".join(statements)) == []


def test_the_architecture_names_files_that_are_there():
    """Every file and directory that ARCHITECTURE.md names is in the package, or is the package's own business."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    named = set(re.findall(r"\b((?:\w+/)*\w+\.py)\b", text)) | set(
        re.findall(r"(?<![\w/.])((?:[a-z_]+/)+)(?=[\s,;|)])", text)
    )
    there = [ROOT, ROOT / "forkpolicy", *(ROOT / "forkpolicy").rglob("*/")]
    assert named
    assert [name for name in sorted(named) if not any((base / name).exists() for base in there)] == []


def test_the_architecture_has_every_room():
    """Each package, at any depth, and each module next to the packages stands in the list of packages."""
    package = ROOT / "forkpolicy"
    rooms = (ROOT / "ARCHITECTURE.md").read_text().split("## The packages")[1].split("## The way of a request")[0]
    modules = {path.name for path in package.glob("*.py") if path.name[0] != "_"}
    packages = {f"{path.parent.name}/" for path in package.rglob("__init__.py") if path.parent != package}
    assert [name for name in sorted(modules | packages) if not re.search(rf"(?<!\w){re.escape(name)}", rooms)] == []
