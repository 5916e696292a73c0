"""An import of the wrong file says what the file is and what to do; all wrong files are named in one run."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import sqlite3
import stat

import pytest

from forkpolicy.commands.main import main as forkpolicy
from forkpolicy.importing.formats import FORMATS, load_format
from tests.importing_samples import SAMPLES

OURS = "table t cidr tables/t\nacl a client_address table:t\naccess a\n"


def run(capsys, *words):
    """The exit status and what was said, of one import."""
    status = forkpolicy(["import", *map(str, words)])
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return status, said.err.strip()


def test_every_format_has_a_sample():
    """What recognition and fuzzing begin with."""
    assert FORMATS.keys() <= SAMPLES.keys()


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_of_its_own_is_taken(name, tmp_path, capsys):
    """The sample of each format is imported by its format."""
    path = tmp_path / "sample"
    path.write_text(SAMPLES[name])
    status, said = run(capsys, name, path)
    assert status in (0, 1), said


@pytest.mark.parametrize(("asked", "given"), [(a, b) for a in FORMATS for b in FORMATS if a != b])
def test_a_file_of_another_format_is_named_with_the_command_for_it(asked, given, tmp_path, capsys):
    """For each pair of formats, the message says which import is right."""
    path = tmp_path / "sample"
    path.write_text(SAMPLES[given])
    status, said = run(capsys, asked, path)
    assert status == 2
    assert said.startswith(f"{path}: is in the format ")
    assert said.endswith(f"forkpolicy import {given} {path}")


def sqlite(path):
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE policy (x)")
    database.commit()
    database.close()


FILES = {
    "gzip": (lambda path: path.write_bytes(gzip.compress(b"acl x size 1\n")), "compressed by gzip"),
    "bzip2": (lambda path: path.write_bytes(bz2.compress(b"acl x size 1\n")), "compressed by bzip2"),
    "xz": (lambda path: path.write_bytes(lzma.compress(b"acl x size 1\n")), "compressed by xz"),
    "sqlite": (sqlite, "an SQLite database"),
    "nul": (lambda path: path.write_bytes(b"acl x sender a\0b\n"), "NUL byte"),
    "empty": (lambda path: path.write_bytes(b""), "is empty"),
    "blank": (lambda path: path.write_bytes(b"\n \n"), "is empty"),
    "html": (lambda path: path.write_text("<!DOCTYPE html>\n<html>access x</html>"), "an HTML page"),
    "ours": (lambda path: path.write_text(OURS), "a policy of forkpolicy already"),
    "directory": (lambda path: path.mkdir(), "is a directory"),
    "fifo": (os.mkfifo, "is a pipe"),
    "missing": (lambda _path: None, "no such file"),
}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("kind", FILES)
def test_a_file_that_cannot_be_is_named_with_what_it_is(kind, name, tmp_path, capsys):
    """Binary, compressed, empty, saved from the web, not a file: said in words, for every format."""
    make, expected = FILES[kind]
    path = tmp_path / "given"
    make(path)
    status, said = run(capsys, name, path)
    if kind == "sqlite" and "SQLite" not in said:
        assert status in (1, 78), "a format that takes databases says what this one lacks"
        return
    assert status in (2, 78)
    assert said.startswith(str(path))
    assert expected in said


@pytest.mark.parametrize("name", [name for name in FORMATS if not load_format(name).takes_databases])
def test_the_url_of_a_database_is_no_rule(name, tmp_path, capsys):
    """A file with nothing but a URL is named as what it is, and its password is not shown."""
    (tmp_path / "url").write_text("# ours\npostgresql://policyd:s3cret@localhost/policyd\n")
    status, message = run(capsys, name, tmp_path / "url")
    assert status == 2
    assert "is the URL of a database: forkpolicy import reads one for cluebringer, iredapd, policyd" in message
    assert "s3cret" not in message


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
@pytest.mark.parametrize("name", FORMATS)
def test_an_unreadable_file_is_named(name, tmp_path, capsys):
    """A file without the right to read it is said so."""
    path = tmp_path / "given"
    path.write_text(SAMPLES[name])
    path.chmod(stat.S_IWUSR)
    assert run(capsys, name, path) == (78, f"{path}: cannot be read: permission denied")


@pytest.mark.parametrize("name", FORMATS)
def test_all_wrong_files_are_named_in_one_run(name, tmp_path, capsys):
    """Two missing ones and a compressed one are three lines."""
    packed = tmp_path / "packed"
    packed.write_bytes(gzip.compress(b"x"))
    status, said = run(capsys, name, tmp_path / "one", packed, tmp_path / "two")
    assert status == 78
    assert sorted(line.partition(":")[0].rpartition("/")[2] for line in said.splitlines()) == ["one", "packed", "two"]


ENCODINGS = {
    "latin-1": lambda text: (text + "# é\n").encode("latin-1"),
    "utf-16": lambda text: text.encode("utf-16"),
    "utf-8 with its mark": lambda text: text.encode("utf-8-sig"),
    "cr lf": lambda text: text.replace("\n", "\r\n").encode(),
    "cr": lambda text: text.replace("\n", "\r").encode(),
    "no last newline": lambda text: text.rstrip("\n").encode(),
}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_encoding_of_a_file_changes_nothing(encoding, name, tmp_path, capsys):
    """Whatever wrote a file, the same rules come of it."""
    rules = []
    for each in (lambda text: text.encode(), ENCODINGS[encoding]):
        path = tmp_path / "sample"
        path.write_bytes(each(SAMPLES[name]))
        assert forkpolicy(["import", name, str(path)]) in (0, 1)
        text = capsys.readouterr().out
        rules.append([line for line in text.splitlines() if not line.startswith("#")])
    assert rules[0] == rules[1]
