"""`forkpolicy init` on the shapes of real configurations: drafted, written, applied, and then nothing is left to do."""

from __future__ import annotations

import os
import re
import shlex
import subprocess

import pytest

from forkpolicy.commands import main
from forkpolicy.commands.init.drafting import draft, entries_of
from forkpolicy.commands.init.place import Place
from forkpolicy.commands.init.policy_text import DOMAINS_FILE
from forkpolicy.commands.init.site import read_site
from forkpolicy.compile.command import compile_tables
from tests.postfix.init_shapes import SHAPES


class Site:
    """A configuration directory, and the place for the draft."""

    def __init__(self, base, capsys):
        self.etc, self.ours = base / "etc", base / "forkpolicy"
        self.settings = self.ours / "forkpolicy.toml"
        self._capsys = capsys
        self.etc.mkdir()

    def configure(self, shape):
        """Write main.cf, master.cf and what lies next to them."""
        for name, text in shape.files.items():
            (self.etc / name).write_text(text)
            if name.endswith(".hash"):
                (self.etc / "main.cf").write_text("")
                subprocess.run(["/usr/sbin/postmap", "-c", self.etc, f"hash:{self.etc / name}"], check=True)
        level = "" if "compatibility_level" in shape.main else "compatibility_level = 3.6\n"
        (self.etc / "main.cf").write_text(shape.main.replace("{dir}", str(self.etc)) + level)
        (self.etc / "master.cf").write_text(shape.master)
        self.cool_down()

    def cool_down(self):
        """Postfix waits a second for files that were just written."""
        for name in ("main.cf", "master.cf"):
            os.utime(self.etc / name, (0, 0))

    def init(self, *options):
        """Exit status, standard output, standard error."""
        status = main(["init", "-c", str(self.settings), *options])
        said = self._capsys.readouterr()
        return status, said.out, said.err

    def compile(self):
        """Compile the draft's tables, somewhere else than it says."""
        text = self.settings.read_text()
        compiled = f'tables = "{self.etc / "compiled"}"'
        self._compiled = self.etc / "compiled.toml"
        self._compiled.write_text(
            re.sub("(?m)^tables = .*$", compiled, text).replace('"policy.conf"', f'"{self.ours / "policy.conf"}"')
        )
        assert compile_tables(["-c", str(self._compiled)]) == 0, self._capsys.readouterr()

    def files(self):
        """What was written, by its path below the settings' directory."""
        files = [path for path in self.ours.rglob("*") if path.is_file()]
        return {str(path.relative_to(self.ours)): path.read_text() for path in files}

    def drafted_again(self, shape):
        """What a second run would write, and what it would change in Postfix; test_init_verdicts.py runs all of it."""
        place, there = Place(self.settings), self.files()
        options = [word for word in shape.options if not word.startswith("--")]
        named = dict.fromkeys([*entries_of(there.get(DOMAINS_FILE, "")), *map(str.lower, options)])
        with_relayed = "--relay-domains" in shape.options
        site = read_site(None, is_default=True, named=list(named), with_relayed=with_relayed, instance="")
        return draft(site, place, there), site.changes

    def is_local(self, domain):
        """Whether the compiled table has a domain."""
        done = main(["lookup", "-c", str(self._compiled), "local_domains", domain])
        self._capsys.readouterr()
        return done == 0


@pytest.fixture
def site(tmp_path, capsys, monkeypatch):
    site = Site(tmp_path, capsys)
    monkeypatch.setenv("MAIL_CONFIG", str(site.etc))
    return site


def commands_in(output):
    """The commands for Postfix that were printed."""
    return [shlex.split(line) for line in re.findall(r"^  (postconf .*)$", output, re.MULTILINE)]


def errors_in(output):
    """What `check` called an error, but for what a start needs and this machine lacks."""
    _, _, said = output.partition("forkpolicy check says about it:\n")
    found = re.findall(r"^  (/\S+?(?::\d+)*: (?!warning).*)$", said.partition("\n\n")[0], re.MULTILINE)
    return [each for each in found if not re.search(r"forkpolicy\.toml\S*: (user|group|listen|control)", each)]


def in_order(text, parts):
    """Whether the parts stand in a text in this order."""
    at = -1
    for part in parts:
        at = text.find(part, at + 1)
        if at < 0:
            return False
    return True


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape(site, name):
    """The draft passes `check` and decides as it should; applied, it is what a second run drafts again."""
    shape = SHAPES[name]
    site.configure(shape)
    status, out, err = site.init("--write", *shape.options)
    assert (status, err) == (shape.status, ""), out
    assert errors_in(out) == []
    assert [each for each in shape.said if each not in out] == [], out
    assert "s3cret" not in out + (site.ours / "policy.conf").read_text()
    site.compile()
    assert [each for each in shape.inside if not site.is_local(each)] == []
    assert [each for each in shape.outside if site.is_local(each)] == []
    lists = [words[-1] for words in commands_in(out) if words[1] == "-e"]
    assert [each for each in lists if not in_order(each, shape.order)] == []
    assert lists
    for words in commands_in(out):
        subprocess.run(["/usr/sbin/postconf", *words[1:]], check=True)
    site.cool_down()
    assert site.drafted_again(shape) == (site.files(), ())
