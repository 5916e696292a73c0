"""The servers that are measured in turn (clients/rounds.py): forkpolicy with the founding policy, and echo servers.

Each has its files below `directory` and runs until `stack` is closed. The day gives tables and requests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadtest.clients.added import C_ECHO
from loadtest.clients.rounds import Contender
from loadtest.errors import SetupError
from loadtest.measure.processes import descendants
from loadtest.servers.echo import echo_server
from loadtest.servers.server import Server
from loadtest.traffic.traffic import PASSED, POLICY

if TYPE_CHECKING:
    from contextlib import ExitStack
    from pathlib import Path

    from loadtest.clients.generator import Requests
    from loadtest.servers.earlier import Earlier
    from loadtest.traffic.traffic import Day

PYTHON_ECHO = "Python echo"
# What is logged of the decisions, and how the tables call a server with that setting.
VARIANTS = {"none": "forkpolicy", "acted": "forkpolicy, logging refusals"}


def echo_contender(
    stack: ExitStack, directory: Path, day: Day, *, native: bool, processes: int = 1
) -> Contender | None:
    """Start an echo server; None for the native one where there is no compiler."""
    name = C_ECHO if native else PYTHON_ECHO
    path = directory / f"{name.replace(' ', '-')}-{processes}"
    pid = stack.enter_context(echo_server(path, native=native, processes=processes))
    if pid is None:
        return None
    # Its reply is always the same.
    return Contender(name, path, [pid, *descendants(pid)], [(text, PASSED) for text, _ in day.requests()])


def native_echo(stack: ExitStack, directory: Path, requests: Requests) -> Contender:
    """Start the echo server in C for these requests. Raises SetupError without a compiler."""
    pid = stack.enter_context(echo_server(directory / "echo", native=True))
    if pid is None:
        raise SetupError("no C compiler: what an ACL adds is measured next to the echo server in C")
    return Contender(C_ECHO, directory / "echo", [pid], [(text, PASSED) for text, _ in requests])


def least_server(stack: ExitStack, directory: Path, day: Day) -> Contender:
    """Start the echo server that costs least on this machine: in C, or in Python without a compiler."""
    least = echo_contender(stack, directory, day, native=True) or echo_contender(stack, directory, day, native=False)
    assert least is not None
    return least


def forkpolicy_contender(
    stack: ExitStack, directory: Path, day: Day, decisions: str, *, workers: int = 1, build: Earlier | None = None
) -> Contender:
    """Start forkpolicy, today's or that of an earlier build."""
    server = Server(
        directory / f"{decisions}-{workers}-{build.name if build else 'now'}",
        POLICY,
        sources=day.sources,
        decisions=decisions,
        workers=workers,
        environment=build.environment if build else None,
        map_size="",
    )
    stack.enter_context(server)
    name = named(VARIANTS[decisions], build)
    return Contender(name, server.socket_path, server.process_ids(), day.requests())


def named(variant: str, build: Earlier | None) -> str:
    """How the tables call that build of a variant."""
    return f"{variant}, at {build.name}" if build else variant
