"""What `check` says of the sources of tables: that they are there, and that the compiled table is of them."""

from __future__ import annotations

import json
import os
import sqlite3
from dataclasses import replace

import pytest

from forkpolicy.commands import main
from forkpolicy.commands.check import find_diagnostics
from forkpolicy.compile.sources.registry import TextSource
from forkpolicy.errors import Diagnostic
from forkpolicy.tables.format import SUFFIX, TableInfo
from tests.compiling import Compiler
from tests.owners import owner_lines


@pytest.fixture
def compiler(tmp_path, capsys):
    compiler = Compiler(tmp_path, capsys)
    server = f'[server]\nlisten = ["unix:policy"]\ncontrol = "unix:control"\n{owner_lines()}'
    compiler.settings.write_text(compiler.settings.read_text() + server)
    return compiler


@pytest.fixture
def checked(compiler, capsys):
    """A function: exit status and diagnostics of `check`, those about unused names and names of examples left out."""

    def check():
        capsys.readouterr()
        status = main(["check", "--postfix", "none", "--json", "-c", str(compiler.settings)])
        diagnostics = json.loads(capsys.readouterr().out)["diagnostics"]
        others = ("never used", "documentation", "has no access rule")
        return status, [each for each in diagnostics if not any(word in each["message"] for word in others)]

    return check


def test_a_table_of_its_sources_is_nothing_to_speak_of(compiler, checked):
    """Whatever options it was compiled with."""
    for options in ((), ("--allow-wide",), ("--skip-bad",)):
        compiler.one("cidr", "192.0.2.0/24\n", *options)
        assert checked() == (0, [])


def test_a_source_that_has_changed_is_a_warning(compiler, checked):
    """At the table, with what to do; compiling it again ends it."""
    compiler.one("domain", "example.com\nexample.net\n")
    compiler.source("list", "example.com\nexample.org\n")
    status, (diagnostic,) = checked()
    assert (status, diagnostic["severity"], diagnostic["line"]) == (0, "warning", 1)
    assert 'table "t" was compiled from other contents of its sources' in diagnostic["message"]
    assert diagnostic["hint"].startswith("forkpolicy-compile t ")
    assert compiler.run().status == 0
    assert checked() == (0, [])


def test_a_changed_source_is_read_once(compiler, checked, monkeypatch):
    """However many options it may have been compiled with: a list of millions takes a second each time."""
    compiler.one("domain", "example.com\n")
    compiler.source("list", "example.org\n")
    read, really_read = [], TextSource.blocks
    monkeypatch.setattr(TextSource, "blocks", lambda source: read.append(source.name) or really_read(source))
    status, (diagnostic,) = checked()
    assert (status, "was compiled from other contents" in diagnostic["message"]) == (0, True)
    assert read == [str(compiler.directory / "list")]


def test_a_table_of_an_earlier_release_is_named_as_that(compiler, checked, monkeypatch):
    """It has no content digest, and its digest of the sources was made otherwise: they need not have changed."""
    really_pack = TableInfo.pack
    with monkeypatch.context() as earlier:
        earlier.setattr(
            TableInfo, "pack", lambda record: really_pack(replace(record, content_digest="", source_digest="1"))
        )
        compiler.one("domain", "example.com\n")
    status, (diagnostic,) = checked()
    assert (status, diagnostic["severity"]) == (0, "warning")
    assert diagnostic["message"] == 'table "t" was compiled by an earlier release, in its format'
    assert compiler.run().status == 0
    assert checked() == (0, [])


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("gone", "gone: it cannot be read: no such file or directory"),
        ("csv:gone.csv:1", "csv:gone.csv:1: it cannot be read: no such file or directory"),
        ("folder", "folder: this is a directory"),
        ("hash:/etc/postfix/relay", "hash:/etc/postfix/relay: "),
        ("potsconf:mynetworks", 'did you mean "postconf:"?'),
        ("sql:nothing", "expected sql:URL:QUERY"),
    ],
)
def test_a_source_that_cannot_be_had_is_a_mistake(compiler, checked, source, told):
    """At its word, next to a table that was compiled before; the next compile would refuse it."""
    (compiler.directory / "folder").mkdir()
    compiler.one("domain", "example.com\n")
    compiler.policy(f"table t domain {source}")
    status, diagnostics = checked()
    assert status == 1
    (diagnostic,) = [each for each in diagnostics if told in each["message"]]
    assert (diagnostic["severity"], diagnostic["line"], diagnostic["column"]) == ("error", 1, 16)


def test_a_table_that_was_never_compiled_has_both_mistakes(compiler, checked):
    """The table and its source, in one run."""
    compiler.policy("table t domain gone")
    status, diagnostics = checked()
    assert status == 1
    assert len(diagnostics) == 2


def test_standard_input_and_databases_are_not_read(compiler, checked, monkeypatch):
    """The one gives what it has but once, the others may be far away."""
    sqlite3.connect(compiler.directory / "mail.db").close()
    for source in ("-", "sql:sqlite:///mail.db:SELECT 1"):
        compiler.one("key", "x\n")
        compiler.policy(f"table t key {source}")
        assert checked() == (0, [])


def test_sources_of_a_shadow_are_warnings(compiler, checked):
    """It keeps nobody from anything."""
    compiler.policy("acl a sender example.com", "action no REJECT", "access a no")
    (compiler.directory / "trial.conf").write_text(
        "table t key gone\nacl a sender table:t\naction no REJECT\naccess a no\n"
    )
    compiler.settings.write_text('shadow = "trial.conf"\n' + compiler.settings.read_text())
    status, diagnostics = checked()
    assert status == 0
    assert {each["severity"] for each in diagnostics} == {"warning"}
    assert len(diagnostics) == 2


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_as_root_what_the_servers_user_may_not_read_is_a_warning(compiler, checked):
    """Policy and value files: a server that root starts reads them, one that systemd starts as its user does not."""
    compiler.policy("acl a sender example.com", "action no REJECT", "access a no")
    text = compiler.settings.read_text().replace('user = "root"\n', 'user = "nobody"\n', 1)
    compiler.settings.write_text(text)
    status, diagnostics = checked()
    assert status == 0
    warned = {each["path"] for each in diagnostics if "user nobody may not read it" in each["message"]}
    # Directories of pytest are their owner's alone.
    assert warned == {str(compiler.settings), str(compiler.directory / "policy.conf")}


def test_a_compiled_table_that_is_damaged_is_not_compared(compiler, checked):
    """One diagnostic about it is enough."""
    compiler.one("domain", "example.com\n")
    (compiler.tables / f"t{SUFFIX}").write_bytes(b"nothing")
    status, diagnostics = checked()
    assert (status, len(diagnostics)) == (1, 1)


def test_a_setting_that_is_wrong_is_reported_once(tmp_path, monkeypatch):
    """It has its default for the rest of the check, and nothing that this would meet on the machine is reported."""
    path = tmp_path / "forkpolicy.toml"
    path.write_text('policy = "policy.conf"\n[server]\nuser = 7\ngroup = "nobody"\n')
    (tmp_path / "policy.conf").write_text("acl a sender @a.example\naccess a\n")
    met = [Diagnostic(str(path), line, 1, f"met at {line}") for line in (3, 4)]
    monkeypatch.setattr("forkpolicy.commands.check.find_obstacles", lambda _start: met)
    said = [str(each) for each in find_diagnostics(str(path))[0]]
    assert [each for each in said if "met at" in each] == [f"{path}:4:1: met at 4"]
    assert any(each.startswith(f"{path}:3:1: user: expected") for each in said)


def test_a_table_in_whose_place_something_else_stands(compiler, checked):
    """The hint is what helps. Since `check` exists it said to compile, which replaces nothing that is not a table."""
    compiler.one("domain", "example.org\n")
    path = compiler.table_path("t")
    path.write_bytes(path.read_bytes()[:20000])
    _, (diagnostic,) = checked()
    assert diagnostic["hint"] == "move that file away, then compile it: forkpolicy-compile t"
    assert compiler.run().status == 73
    path.rename(path.with_suffix(".away"))
    _, (diagnostic,) = checked()
    assert diagnostic["message"].endswith("t.lmdb does not exist: compile it with forkpolicy-compile t")
    assert compiler.run().status == 0
    assert checked() == (0, [])
