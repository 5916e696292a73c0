"""The list of log lines in docs/operations.md is the list of events in the code."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
LOGGING = ("event", "line", "writer")
# The one helper process whose name the master is given.
COMPANIONS = ("networks",)


def logged_events():
    """What the code writes as `event=`: the second argument of what logs, or the value in a dictionary of fields."""
    for path in (ROOT / "forkpolicy").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") in LOGGING and len(node.args) > 1:
                yield from names_of(node.args[1])
            elif isinstance(node, ast.Dict):
                for key, value in zip(node.keys, node.values, strict=True):
                    if isinstance(key, ast.Constant) and key.value == "event":
                        yield from names_of(value)


def names_of(node):
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    elif isinstance(node, ast.JoinedStr):
        end = "".join(part.value for part in node.values if isinstance(part, ast.Constant))
        yield from (f"{name}{end}" for name in COMPANIONS)


def test_every_event_is_in_the_list_and_every_one_in_the_list_is_an_event():
    """Each event of the log is described with what to do, and nothing is described that never comes."""
    section = (ROOT / "docs" / "operations.md").read_text().split("## What each log line means")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (`.*?) \| ", section, re.MULTILINE)
    described = {name for row in rows for name in re.findall(r"`([^`]+)`", row)}
    assert described
    assert sorted(set(logged_events()) ^ described) == []
