"""What short commands import, and what they do not. Modules are counted; `python -m loadtest startup` measures time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from forkpolicy.commands.main import COMMANDS

ROOT = Path(__file__).parent.parent.parent
RUN = """
import sys
from forkpolicy.commands import main
try:
    status = main()
except SystemExit as ended:
    status = ended.code
assert not status, status
print("imported:", *sys.modules)
"""
POLICY = """
acl    from_us sender @example.com
acl    inside  client_address 192.0.2.0/24
action no      REJECT 5.7.1 not as {sender_domain}
access !inside from_us no
"""
# What a policy without expressions, memory, DNS lists and services needs none of.
OF_OTHERS = (
    "difflib",
    "forkpolicy.explaining.as_object",
    "forkpolicy.postgresql_urls",
    "forkpolicy.redis_urls",
    "gevent",
    "idna",
    "json",
    "shutil",
    "forkpolicy.commands.shared.world",
    "forkpolicy.master",
    "forkpolicy.messages",
    "forkpolicy.policy.matchers.regex",
    "forkpolicy.policy.matchers.remembering.rate",
    "forkpolicy.policy.plan.plan",
    "forkpolicy.state.live_map",
    "forkpolicy.status",
    "forkpolicy.worker",
    "re2",
)


def imported_by(*words, cwd=ROOT):
    """The modules that a command has imported when it is over, and its output."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, *words], cwd=cwd, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    output, _, names = done.stdout.rpartition("imported:")
    return set(names.split()), output


def test_help_imports_no_command():
    """Neither a command nor what deals with errors: three modules of ours, and the one that has the version."""
    modules, output = imported_by("--help")
    assert output.startswith("usage: forkpolicy")
    ours = {name for name in modules if name.startswith("forkpolicy")}
    assert ours == {"forkpolicy", "forkpolicy.commands", "forkpolicy.commands.main", "forkpolicy.standard_streams"}
    assert not modules & {"json", "socket", "lmdb", "re2", "tomllib"}


@pytest.mark.parametrize("columns", [60, 150])
def test_help_is_as_wide_as_it_is_said_to_be(columns, monkeypatch):
    """By COLUMNS, less the margin of argparse."""
    monkeypatch.setenv("COLUMNS", str(columns))
    _, output = imported_by("explain", "--help")
    assert columns - 20 < max(map(len, output.splitlines())) <= columns - 2, output


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_imports_no_other_one(name):
    """Each of them but for what it shares with others."""
    modules, _ = imported_by(name, "--help")
    mine = COMMANDS[name].module.removesuffix(".command")
    others = {each.module.removesuffix(".command") for each in COMMANDS.values()} - {mine}
    assert modules & others == set()


def test_explain_imports_what_its_policy_has(tmp_path):
    """One request of a small policy needs none of what serves, remembers, asks or searches."""
    (tmp_path / "policy.conf").write_text(POLICY)
    (tmp_path / "forkpolicy.toml").write_text("")
    words = ("client_address=203.0.113.5", "sender=a@example.com")
    modules, output = imported_by("explain", "-c", "forkpolicy.toml", *words, cwd=tmp_path)
    assert output.startswith("action=REJECT 5.7.1 not as example.com")
    assert [name for name in OF_OTHERS if name in modules] == []
    # 62 more of them were imported before types, plan and status waited until they are needed. Since then every policy
    # needs what reads and limits restricted files.
    assert len({name for name in modules if name.startswith("forkpolicy")}) <= 102


def test_names_for_completion_import_nothing_that_decides(tmp_path):
    """What runs while somebody waits for a key reads settings and policy, and no more."""
    (tmp_path / "policy.conf").write_text("table local_domains domain domains\n")
    (tmp_path / "forkpolicy.toml").write_text("")
    modules, output = imported_by("completion", "-c", "forkpolicy.toml", "--names", "tables", cwd=tmp_path)
    assert output == "local_domains\n"
    deciding = {"re2", "shtab", "forkpolicy.loading", "forkpolicy.policy.resolve", "forkpolicy.policy.policy"}
    assert modules & deciding == set()
