"""`forkpolicy hosts FILE`: what the hosts of a file run (release, settings, policy, tables), and in what they differ.

Exit status 1: they differ, or one was not reached. Raises UsageError, and ConfigError for mistakes in the file.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

from forkpolicy.commands.hosts.asking import ask_all
from forkpolicy.commands.hosts.hosts_file import read_hosts
from forkpolicy.commands.shared.hosts import compared
from forkpolicy.commands.shared.parsers import add_json
from forkpolicy.commands.shared.status_report import duration
from forkpolicy.documents import plain
from forkpolicy.errors import EXIT_DONE, EXIT_NO, UsageError, printable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from forkpolicy.commands.hosts.running import Running

_TIMEOUT_S: Final = 20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument(
        "file", metavar="FILE", help="one host a line: NAME ssh DESTINATION, NAME metrics URL, NAME here"
    )
    parser.add_argument(
        "--except",
        dest="left_out",
        action="append",
        default=[],
        metavar="WHAT",
        help="what may differ: release, settings, policy, or the name of a table",
    )
    parser.add_argument(
        "--timeout", type=_seconds, default=_TIMEOUT_S, metavar="S", help="seconds for each host (default: %(default)s)"
    )
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Ask, compare, print."""
    try:
        text = Path(arguments.file).read_text(errors="replace")
    except OSError as error:
        raise UsageError(f"{arguments.file} cannot be read: {error.strerror}") from error
    hosts = ask_all(read_hosts(arguments.file, text), arguments.timeout)
    versions = _versions([host for host in hosts if not host.trouble])
    differing = [what for what, each in versions.items() if len(set(each.values())) > 1]
    if arguments.as_json:
        print(json.dumps({"hosts": [plain(host) for host in hosts], "differ": differing}))
    else:
        # What other hosts have sent is for a terminal.
        print("\n".join(map(printable, _lines(hosts, versions))))
    wanted = [what for what in differing if what.removeprefix("table ") not in arguments.left_out]
    return EXIT_NO if wanted or any(host.trouble for host in hosts) else EXIT_DONE


def _seconds(text: str) -> float:
    """Raises ArgumentTypeError."""
    if not (text.isdecimal() and 1 <= int(text) <= 3600):
        raise argparse.ArgumentTypeError(f'expected seconds from 1 to 3600, got "{text}"')
    return float(text)


def _versions(hosts: Sequence[Running]) -> dict[str, dict[str, str]]:
    """For each thing that can differ, the version of each host; empty where it has none."""
    versions = {
        "release": {host.name: host.release for host in hosts},
        "settings": {host.name: host.settings for host in hosts},
        "policy": {host.name: host.policy for host in hosts},
    }
    for table in sorted({name for host in hosts for name in host.tables}):
        versions[f"table {table}"] = {
            host.name: host.tables[table].version if table in host.tables else "" for host in hosts
        }
    return versions


def _lines(hosts: Sequence[Running], versions: Mapping[str, dict[str, str]]) -> Iterator[str]:
    width = max(len(host.name) for host in hosts)
    for host in hosts:
        yield f"host     {host.name:<{width}}  {_host(host)}"
    for what, each in versions.items():
        kind, _, name = what.partition(" ")
        yield from compared(f"{kind:<8} {name}".rstrip(), each)


def _host(host: Running) -> str:
    if host.trouble:
        return f"NOT KNOWN: {host.trouble}"
    ages_s = [table.age_s for table in host.tables.values()]
    tables = f"  youngest table {duration(min(ages_s))} old" if ages_s else ""
    return f"generation {host.generation}  up {duration(host.uptime_s)}{tables}"
