"""docs/extending.md is true: the files that it names are there, its quotes are in them, and its examples run."""

from __future__ import annotations

import re
import sys
import textwrap
from pathlib import Path
from types import ModuleType

import pytest

from forkpolicy.commands.main import COMMANDS, Command
from forkpolicy.commands.main import main as forkpolicy
from forkpolicy.compile.command import main as compile_tables
from forkpolicy.compile.sources import registry
from forkpolicy.importing.formats import FORMATS, Entry
from forkpolicy.policy.matchers import types
from forkpolicy.protocol.layout import wanted_values
from tests.fakes import policy_of, request_of

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "extending.md").read_text()
BLOCK = re.compile(r"^ *```python (new|quote) (\S+)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
NEW = {path: textwrap.dedent(code) for kind, path, code in BLOCK.findall(PAGE) if kind == "new"}
QUOTES = [(path, textwrap.dedent(code)) for kind, path, code in BLOCK.findall(PAGE) if kind == "quote"]


@pytest.fixture
def example(monkeypatch):
    """Imports an example of the page under the name that its file would give it."""

    def module_of(path):
        module = ModuleType(path.removesuffix(".py").replace("/", "."))
        monkeypatch.setitem(sys.modules, module.__name__, module)
        exec(compile(NEW[path], path, "exec"), module.__dict__)
        return module

    return module_of


def test_every_file_that_the_page_names_is_there():
    """A path in backquotes is one of the checkout; the files of the examples are not there yet."""
    named = set(re.findall(r"`([\w.-]+(?:/[\w.-]+)+/?|[A-Z]+\.md)`", PAGE))
    assert named
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []
    assert [name for name in NEW if (ROOT / name).exists()] == []


@pytest.mark.parametrize(("path", "code"), QUOTES, ids=lambda value: str(value).partition("\n")[0])
def test_a_quote_stands_in_its_file(path, code):
    """Each line of a quote is a line of the file, in this order; others may stand between."""
    lines = iter((ROOT / path).read_text().splitlines())
    assert [line for line in code.splitlines() if line not in lines] == []


def test_the_acl_type_decides(example, monkeypatch):
    """The example of a type, registered as its recipe says, decides in compiled and in exact evaluation."""
    monkeypatch.setitem(types.TYPES, "ipv6", example("forkpolicy/policy/matchers/ipv6.py").TYPE)
    policy = policy_of("acl v6 ipv6\naction no REJECT no IPv6\naccess v6 no\n")
    for address, expected in (("2001:db8::1", "REJECT no IPv6"), ("192.0.2.1", "DUNNO")):
        values = wanted_values(request_of(client_address=address), policy.wanted)
        decided = policy.decide(values).rule
        assert policy.text(decided, values) == expected
        assert policy.trace(values).outcome is decided


def test_the_source_is_compiled_and_the_command_lists_its_table(example, monkeypatch, tmp_path, capsys):
    """The example of a source fills a table, and the example of a command names it."""
    monkeypatch.setitem(registry._ROW_SOURCES, "passwd", example("forkpolicy/compile/sources/passwd.py").open_source)
    command = example("forkpolicy/commands/tables.py")
    monkeypatch.setitem(COMMANDS, "tables", Command(command.__name__, "list the tables"))
    (tmp_path / "passwd").write_text("root:x:0:0::/root:/bin/sh\njane:x:1000:1000::/srv/jane:/bin/sh\n")
    (tmp_path / "policy.conf").write_text(
        "table logins key passwd:passwd\nacl signed_in authenticated\naccess signed_in\n"
    )
    settings = tmp_path / "forkpolicy.toml"
    settings.write_text('policy = "policy.conf"\ntables = "compiled"\n')
    assert compile_tables(["-c", str(settings)]) == 0
    assert forkpolicy(["lookup", "-c", str(settings), "logins", "jane"]) == 0
    assert f"passwd:{tmp_path / 'passwd'}:2" in capsys.readouterr().out
    assert forkpolicy(["tables", "-c", str(settings)]) == 0
    assert capsys.readouterr().out == "key logins\n"


def test_the_importer_imports(example, monkeypatch, tmp_path, capsys):
    """The example of an importer, registered as its recipe says, writes a policy and lists what it leaves out."""
    module = example("forkpolicy/importing/badsenders.py")
    monkeypatch.setitem(FORMATS, "badsenders", Entry(module.__name__, "a list of bad senders"))
    given = tmp_path / "list"
    given.write_text("#spammers\nspam@example.org\nspam@exa..mple.org\n@example.net\n")
    assert forkpolicy(["import", "badsenders", str(given)]) == 1
    said = capsys.readouterr()
    assert said.out.splitlines()[2:] == [
        "# spammers",
        f"# {given}:2",
        "acl bad sender spam@example.org",
        "action refuse REJECT you are on our list",
        "access bad refuse",
        f"# {given}:4",
        "acl bad_2 sender @example.net",
        "access bad_2 refuse",
    ]
    assert said.err.startswith(f"{given}:3: left out: spam@exa..mple.org: ")
    assert forkpolicy(["import", "apolicy", str(given)]) == 2
    assert f"forkpolicy import badsenders {given}" in capsys.readouterr().err
