"""`python -m loadtest startup`: CPU of commands that are over at once, next to `python -c pass`, in turn.

`--help` of every command, and `explain` of one request with the founding policy and its compiled tables. Programs run
as an installed package does: from an environment of their own, which has the packages of this one and no editable
install (whose finder alone costs what `python -c pass` does), with byte-compiled modules, in another directory.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sysconfig
import venv
from typing import TYPE_CHECKING

from forkpolicy.commands.main import COMMANDS
from loadtest.errors import SetupError
from loadtest.measure.heading import heading, heading_lines
from loadtest.options import at_least
from loadtest.servers.contenders import named
from loadtest.servers.earlier import CHECKOUT, earlier_build
from loadtest.servers.postfix import traversable_directory
from loadtest.servers.server import Server
from loadtest.traffic.profile import load_profile
from loadtest.traffic.traffic import POLICY, Day

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PYTHON = "python -c pass"
# What pip writes into the script of a command.
PROGRAM = "import sys; from {module} import main; sys.exit(main())"
MODULES = {"forkpolicy": "forkpolicy.commands", "forkpolicy-compile": "forkpolicy.compile.command"}
REQUEST = ("client_address=203.0.113.5", "sender=a@example.com", "recipient=b@example.com")


def main(argv: Sequence[str]) -> int:
    """Run it, print the table."""
    options = _options(argv)
    head = heading(f"{options.rounds} runs of each, in turn")
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(traversable_directory())
        settings = _settings(directory / "site")
        programs = _programs(directory / "now", CHECKOUT, settings)
        if options.against:
            earlier = earlier_build(options.against, directory / "earlier")
            builds = _programs(directory / "then", directory / "earlier", settings).items()
            programs |= {named(name, earlier): command for name, command in builds if name != PYTHON}
        runs = {name: _Run(command, directory) for name, command in programs.items()}
        known = {name: run for name, run in runs.items() if run.works()}
        for _ in range(options.rounds):
            for run in known.values():
                run.measure()
    rows = _rows(known)
    if options.json:
        print(json.dumps({**head, "rows": rows}))
    else:
        print(*heading_lines(head), f"{'CPU of':<44} {'least ms':>9} {'median ms':>9} {'times':>6}", sep="\n")
        for row in rows:
            print(f"{row['what']:<44} {row['least_ms']:>9.1f} {row['median_ms']:>9.1f} {row['times']:>6.1f}")
    return 0


class _Run:
    """A command, and what it used each time."""

    def __init__(self, command: list[str], directory: Path) -> None:
        self._command, self._directory = command, directory
        self.cpu_s: list[float] = []

    def works(self) -> bool:
        """Once before the rounds, which byte-compiles its modules. False for a command that an earlier build lacks."""
        return self._go()[0] == 0

    def measure(self) -> None:
        """Once more. Raises SetupError when it fails now."""
        status, cpu_s = self._go()
        if status:
            raise SetupError(f"{' '.join(self._command)} ended with status {status}")
        self.cpu_s.append(cpu_s)

    def _go(self) -> tuple[int, float]:
        environment = {
            **os.environ,
            "PYTHONDONTWRITEBYTECODE": "",
            "PYTHONPYCACHEPREFIX": str(self._directory / "code"),
        }
        null = subprocess.DEVNULL
        process = subprocess.Popen(
            self._command, cwd=self._directory, env=environment, stdin=null, stdout=null, stderr=null
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        return process.returncode, used.ru_utime + used.ru_stime


def _settings(directory: Path) -> Path:
    """The settings of a site with the founding policy, its tables compiled."""
    day = Day(load_profile("bench"))
    server = Server(directory, POLICY, sources=day.sources, workers=1, environment={}, map_size="")
    server.compile()
    return server.settings


def _programs(environment: Path, source: Path, settings: Path) -> dict[str, list[str]]:
    """Name -> command line, each in an environment that finds forkpolicy in `source`."""
    venv.EnvBuilder(symlinks=True).create(environment)
    (packages,) = (environment / "lib").glob("python*/site-packages")
    (packages / "measured.pth").write_text(f"{source}\n{sysconfig.get_path('purelib')}\n")
    python = str(environment / "bin" / "python")

    def command(program: str, *words: str) -> list[str]:
        return [python, "-c", PROGRAM.format(module=MODULES[program]), *words]

    return {
        PYTHON: [python, "-c", "pass"],
        "forkpolicy --help": command("forkpolicy", "--help"),
        "forkpolicy explain, one request": command("forkpolicy", "explain", "-c", str(settings), *REQUEST),
        "forkpolicy-compile --help": command("forkpolicy-compile", "--help"),
        **{f"forkpolicy {name} --help": command("forkpolicy", name, "--help") for name in COMMANDS},
    }


def _rows(runs: dict[str, _Run]) -> list[dict[str, object]]:
    """The table: least and median, and how many times `python -c pass` that is (by the least)."""
    least_s = min(runs[PYTHON].cpu_s)
    return [
        {
            "what": name,
            "least_ms": min(run.cpu_s) * 1e3,
            "median_ms": statistics.median(run.cpu_s) * 1e3,
            "times": min(run.cpu_s) / least_s,
        }
        for name, run in runs.items()
    ]


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m loadtest startup", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=at_least(1), default=15, help="how often each is run (default %(default)s)")
    parser.add_argument("--against", metavar="COMMIT", default="", help="also the forkpolicy of that commit")
    parser.add_argument("--json", action="store_true", help="figures for programs")
    return parser.parse_args(argv)
