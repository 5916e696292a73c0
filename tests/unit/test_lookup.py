"""`forkpolicy lookup`: one key in one compiled table, as the workers would find it."""

from __future__ import annotations

import json

import pytest

from forkpolicy.commands import main
from tests.compiling import Compiler


@pytest.fixture
def compiler(tmp_path, capsys):
    return Compiler(tmp_path, capsys)


@pytest.fixture
def lookup(compiler, capsys):
    """Look up in the compiler's table t; exit status, standard output and standard error."""

    def run(*words):
        capsys.readouterr()
        status = main(["lookup", "-c", str(compiler.settings), *words])
        return status, *capsys.readouterr()

    return run


def test_a_table_that_was_never_compiled_says_what_to_do(compiler, lookup):
    """Since `lookup` exists it said "out of reach: No such file or directory"."""
    compiler.policy("table t domain list")
    path = compiler.table_path("t")
    assert lookup("t", "example.org") == (78, "", f"{path} does not exist: compile it with forkpolicy-compile t\n")


def test_an_entry_comes_with_its_source(compiler, lookup):
    """Key, value and place as text and as JSON; status 1 without an entry."""
    compiler.one("domain", "# ours\n.example.org\n")
    assert lookup("t", "mail.example.org")[:2] == (0, f".example.org  ({compiler.directory / 'list'}:2)\n")
    status, out, _ = lookup("t", "anna@example.net", "--json")
    assert (status, json.loads(out)) == (1, {"table": "t", "key": "anna@example.net", "found": False})
    assert lookup("t", "example.net")[:2] == (1, 'table "t" has nothing for "example.net"\n')


def test_a_table_that_the_policy_does_not_declare(compiler, lookup):
    """Wrong usage, with the name that was meant."""
    compiler.policy("table local_domains domain list")
    assert lookup("local_domain", "x") == (
        2,
        "",
        'the policy declares no table "local_domain": did you mean "local_domains"?\n',
    )
