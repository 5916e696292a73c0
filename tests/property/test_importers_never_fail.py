"""An importer takes a file of any content: it ends with a documented status, no traceback, and what it prints loads."""

from __future__ import annotations

import contextlib
import io
import os
import sqlite3
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from forkpolicy.commands.main import main as forkpolicy
from forkpolicy.errors import EXIT_CONFIG, EXIT_DONE, EXIT_NO, EXIT_USAGE
from forkpolicy.files import SnapshotFiles
from forkpolicy.importing.formats import FORMATS, load_format
from forkpolicy.policy.load import load_policy
from forkpolicy.tables.live_table import LiveTable
from tests.importing_samples import SAMPLES

EXAMPLES = settings(
    max_examples=int(os.environ.get("FORKPOLICY_EXAMPLES", "150")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
# What no importer of ours may ever print.
OWN_MISTAKE = "error of this importer"
WORDS = sorted({word for text in SAMPLES.values() for word in text.split()})
ODD = [
    "(",
    ")",
    "[",
    "\\",
    "{",
    "}",
    '"',
    "'",
    "`",
    "!",
    ",",
    ";",
    "=",
    "&&X",
    "$(",
    "/",
    "\0",
    "\ufeff",
    "é",
    "%",
    "9" * 400,
]


def imported(name, data):
    """Status, output and messages of an import of one file."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "given"
        path.write_bytes(data)
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = forkpolicy(["import", name, str(path)])
    return status, out.getvalue(), err.getvalue()


def check(name, data):
    """What holds for every file."""
    status, text, said = imported(name, data)
    assert status in (EXIT_DONE, EXIT_NO, EXIT_USAGE, EXIT_CONFIG)
    assert OWN_MISTAKE not in said
    assert said.strip()
    assert bool(text) is (status in (EXIT_DONE, EXIT_NO))
    if text:
        files = SnapshotFiles({"policy.conf": text.encode()})
        load_policy("policy.conf", lambda each: LiveTable(each.name, each.kind, ""), files=files)


@st.composite
def mutated(draw, text):
    """A real file with a few of the things that happen to files."""
    data = text.encode()
    for _ in range(draw(st.integers(1, 4))):
        lines = data.split(b"\n")
        at = draw(st.integers(0, len(data)))
        line = draw(st.integers(0, len(lines) - 1))
        match draw(st.integers(0, 6)):
            case 0:
                data = data[:at]
            case 1:
                data = b"\n".join([*lines[: line + 1], *lines[line:]])
            case 2:
                other = draw(st.integers(0, len(data)))
                low, high = sorted((at, other))
                data = data[:low] + data[high:] + data[low:high]
            case 3:
                data = data[:at] + draw(st.binary(max_size=4)) + data[at:]
            case 4:
                data = data[:at] + draw(st.sampled_from([*ODD, *WORDS])).encode() + data[at:]
            case 5:
                del lines[line]
                data = b"\n".join(lines)
            case 6:
                words = lines[line].split()
                lines[line] = b" ".join(draw(st.permutations(words))) if len(words) < 30 else b""
                data = b"\n".join(lines)
    return data


@pytest.mark.parametrize("name", FORMATS)
@EXAMPLES
@given(data=st.binary(max_size=400))
@example(data=b"")
@example(data=b"\xff\xfe")
@example(data=b"\x00" * 100)
@example(data=b"(" * 100_000)
@example(data=b"\\\n" * 10_000)
@example(data=b"\n" * 60_000 + b"x")
@example(data=b";" * 60_000)
@example(data=b"id=a;" * 10_000)
@example(data=b"{" * 60_000)
@example(data=b"a=" * 30_000)
def test_random_bytes(name, data):
    """Any bytes at all."""
    check(name, data)


@pytest.mark.parametrize("name", FORMATS)
@EXAMPLES
@given(words=st.lists(st.sampled_from([*WORDS, *ODD, "\n", "\n", "\n", "\t"]), max_size=60))
def test_random_words(name, words):
    """Words of all languages in any order."""
    check(name, " ".join(words).replace("\n ", "\n").encode())


@pytest.mark.parametrize("name", [name for name in FORMATS if load_format(name).takes_databases])
@EXAMPLES
@given(changes=st.lists(st.tuples(st.integers(16, 12_287), st.binary(min_size=1, max_size=3)), min_size=1, max_size=20))
def test_damaged_databases(name, changes):
    """A file of SQLite whose bytes were changed anywhere behind its mark."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "database"
        with sqlite3.connect(path) as database:
            for table in ("policies", "policy_members", "access_control", "whitelist", "throttle", "greylisting"):
                database.execute(
                    f"CREATE TABLE {table} (ID INTEGER PRIMARY KEY, PolicyID, Source, Verdict, account, _from)"
                )
                database.execute(f"INSERT INTO {table} VALUES (1, 1, '10.0.0.0/8', 'REJECT', '@.', 'a@example.com')")
        database.close()
        data = bytearray(path.read_bytes())
    for at, piece in changes:
        begin = at % len(data)
        data[begin : begin + len(piece)] = piece
    check(name, bytes(data))


@pytest.mark.parametrize("name", FORMATS)
@EXAMPLES
@given(data=st.data())
def test_mutated_files(name, data):
    """A file of the format that was cut, joined, edited."""
    check(name, data.draw(mutated(SAMPLES[name])))


@pytest.mark.parametrize("name", FORMATS)
@EXAMPLES
@given(data=st.data())
def test_lines_of_the_format_with_odd_words(name, data):
    """Each word of a line may be any other."""
    lines = [line.split(" ") for line in SAMPLES[name].splitlines()]
    for line in lines:
        for at in range(len(line)):
            if data.draw(st.integers(0, 7)) == 0:
                line[at] = data.draw(st.one_of(st.sampled_from([*WORDS, *ODD]), st.text(max_size=12)))
    check(name, "\n".join(" ".join(line) for line in lines).encode("utf-8", "replace"))
