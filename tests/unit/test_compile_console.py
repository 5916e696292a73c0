"""`forkpolicy-compile --console`: the tables whose sources the web console writes, and no others."""

from __future__ import annotations

from pathlib import Path

import pytest

from forkpolicy.compile.console_tables import is_of_console
from forkpolicy.policy.nodes import TableDeclaration
from tests.compiling import Compiler

OWN = Path("/var/lib/forkpolicy-console/tables")


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        ((f"{OWN}/welcome",), True),
        ((f"{OWN}/welcome", f"{OWN}/more/welcome"), True),
        (("../../var/lib/forkpolicy-console/tables/welcome",), True),
        ((f"{OWN}/odd:name",), True),
        ((f"{OWN}/welcome", "tables/ours"), False),
        ((f"{OWN}/../accounts.sqlite",), False),
        ((f"{OWN}-of-others/welcome",), False),
        ((str(OWN),), True),
        (("tables/ours",), False),
        (("-",), False),
        ((f"lmdb:{OWN}/welcome",), False),
        ((f"{OWN}/welcome", f"lmdb:{OWN}/welcome"), False),
        ((f"{OWN}/welcome", "-"), False),
        (("https://lists.example.net/bad.txt",), False),
    ],
)
def test_whose_table_it_is(sources: tuple[str, ...], expected: bool) -> None:
    """All sources are plain files below the console's directory; a name that leads out of it is not."""
    declaration = TableDeclaration("t", "address", sources, "/etc/forkpolicy/policy.conf", 1, (1,) * len(sources))
    assert is_of_console(declaration, OWN) is expected


def test_the_others_stay_as_they_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong source of the administrator's is neither read nor reported, and the console's table is compiled."""
    compiler = Compiler(tmp_path, capsys)
    with compiler.settings.open("a") as settings:
        settings.write('[console]\npath = "console"\n')
    (tmp_path / "console" / "tables").mkdir(parents=True)
    compiler.policy("table ours cidr ours", "table welcome address may-shrink console/tables/welcome")
    compiler.source("ours", "not a network\n")
    compiler.source("console/tables/welcome", "anna@example.org\n")
    outcome = compiler.run("--console", "--if-changed")
    assert (outcome.status, outcome.err) == (0, "")
    assert compiler.files() == {"welcome.lmdb"}
    assert compiler.keys("address", "anna@example.org", name="welcome") == ["anna@example.org"]
    assert "not a network" in compiler.run().err


def test_a_policy_without_such_tables_has_nothing_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The unit does not fail, and says where it has looked."""
    compiler = Compiler(tmp_path, capsys)
    compiler.policy("table ours cidr ours")
    outcome = compiler.run("--console")
    assert outcome.status == 0
    assert "no table has all of its sources in /var/lib/forkpolicy-console/tables: nothing to do" in outcome.err
