"""What the watcher of this machine's networks says, and that it says it once."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from forkpolicy.compile.command import compile_tables
from forkpolicy.compile.sources import interfaces
from forkpolicy.compile.watch import Rebuilding, watch
from forkpolicy.tables.rows import Row
from tests.compiling import Compiler

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Log:
    """Remembers the events since it was last asked, and their reasons."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []
        self.fields: list[dict[str, object]] = []

    def event(self, level: str, event: str, **fields: object) -> None:
        self.fields.append(fields)
        self.events.append((f"{level}: {event}", str(fields.get("reason", ""))))

    def taken(self) -> list[str]:
        events, self.events = self.events, []
        return [event for event, _ in events]


class Machine:
    """Networks of a machine, or why the kernel does not list them, or warnings with them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.networks, self.failure, self.warnings = ["192.0.2.0/24"], "", list[str]()
        machine = self

        def rows(source: interfaces.InterfacesSource) -> Iterator[Row]:
            if machine.failure:
                raise ValueError(machine.failure)
            source.warnings += machine.warnings
            return iter([Row(each) for each in machine.networks])

        monkeypatch.setattr(interfaces.InterfacesSource, "rows", rows)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def rebuilding(tmp_path: Path, log: Log) -> Rebuilding:
    compiler = Compiler(tmp_path)
    compiler.policy("table t cidr interfaces:", "table other cidr nowhere")
    return Rebuilding(str(compiler.settings), log, compile_tables)


def test_a_failure_is_said_when_it_is_new(rebuilding: Rebuilding, machine: Machine, log: Log) -> None:
    """Tried again and again, it is one line; another failure is another, and the end of all is said."""
    assert rebuilding.attempt()
    assert log.taken() == ["info: networks compiled"]
    machine.failure = "the kernel is busy"
    assert [rebuilding.attempt() for _ in range(3)] == [False] * 3
    assert "the kernel is busy" in log.events[0][1]
    assert log.taken() == ["error: networks not compiled"]
    machine.failure = "the kernel is gone"
    assert [rebuilding.attempt() for _ in range(3)] == [False] * 3
    assert log.taken() == ["error: networks not compiled"]
    machine.failure = ""
    assert rebuilding.attempt()
    assert log.taken() == ["info: networks compiled after a failure"]
    machine.failure = "the kernel is gone"
    assert not rebuilding.attempt()
    assert log.taken() == ["error: networks not compiled"]


def test_wrong_settings_are_said_once(rebuilding: Rebuilding, machine: Machine, log: Log, tmp_path: Path) -> None:
    """A policy that cannot be read is a failure like any other."""
    policy = (tmp_path / "policy.conf").read_text()
    (tmp_path / "policy.conf").write_text("table\n")
    assert not rebuilding.attempt()
    assert not rebuilding.attempt()
    (tmp_path / "policy.conf").write_text(policy)
    assert rebuilding.attempt()
    assert log.taken() == [
        "error: networks not compiled",
        "info: networks compiled",
        "info: networks compiled after a failure",
    ]


@pytest.mark.parametrize("wrong", ["list", "place"])
def test_a_failure_names_the_tables_that_failed(
    rebuilding: Rebuilding, machine: Machine, log: Log, tmp_path: Path, wrong: str
) -> None:
    """Not those that were compiled next to them, and no warning as a reason, nor anything that is not a failure."""
    machine.warnings = ["br0 is a bridge"]
    compiler = Compiler(tmp_path)
    compiler.policy("table nets cidr interfaces:", "table only cidr list interfaces:")
    compiler.source("list", "192.0.2.5/24\n" if wrong == "list" else "10.0.0.0/8\n")
    if wrong == "place":
        (compiler.table_path("only") / "x").mkdir(parents=True)
    assert not rebuilding.attempt()
    failed = log.fields[-1]
    assert failed["tables"] == "only"
    only = compiler.table_path("only")
    expected = f"{tmp_path}/list:1:1: host bits set" if wrong == "list" else f"{only} is not a forkpolicy table"
    assert str(failed["reason"]).startswith(expected)
    assert "bridge" not in str(failed["reason"])
    assert [fields["tables"] for fields in log.fields if "reason" not in fields] == ["nets"]
    assert [event for event in log.taken() if "warning" not in event] == [
        "info: networks compiled",
        "error: networks not compiled",
    ]


def test_a_warning_is_said_when_it_is_new(rebuilding: Rebuilding, machine: Machine, log: Log) -> None:
    """Not at every rebuild; when it comes back after it was gone, it is new."""
    told = ["warning: networks compiled with a warning", "info: networks compiled"]
    machine.warnings = ["br0 is a bridge"]
    for number, expected in enumerate([told, told[1:], told[1:]]):
        machine.networks = [f"192.0.{number}.0/24"]
        assert rebuilding.attempt()
        assert log.taken() == expected
    assert rebuilding.attempt()
    assert log.taken() == []
    for warnings, expected in (([], told[1:]), (["br0 is a bridge", "br1 is a bridge"], [told[0], *told])):
        machine.warnings = warnings
        machine.networks.append(f"10.{len(machine.networks)}.0.0/16")
        assert rebuilding.attempt()
        assert log.taken() == expected


def test_a_kernel_that_lets_nobody_listen_is_reported(
    tmp_path: Path, machine: Machine, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line with the reason, and the watcher returns: it is not started again."""

    def refuse(*_: object) -> None:
        raise OSError(97, "Address family not supported by protocol")

    monkeypatch.setattr(socket, "socket", refuse)
    watch(str(tmp_path / "forkpolicy.toml"), log, compile_tables)
    assert log.events == [
        (
            "error: networks not watched",
            "cannot listen to the kernel (AF_NETLINK): Address family not supported by protocol",
        )
    ]
