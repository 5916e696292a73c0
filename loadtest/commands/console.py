"""`python -m loadtest console`: what the pages of the console take, with a history of any size; and its memory.

A history is filled as `python -m loadtest history` does, evenly over --days; a server runs next to it. Each page is
asked once, and then --rounds times in turn; what is measured is the whole answer on loopback, next to what is wanted
of the page. --soak MINUTES: --sessions have the live list open, ask a page every two seconds each, and new decisions
come; a row a minute has the memory of the console's process.

With --keep DIR the history stays there, and --again DIR uses such a one; `loadtest history --keep` leaves one, too.
"""

from __future__ import annotations

import argparse
import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from loadtest.clients.console_client import ConsoleClient
from loadtest.clients.policy_client import PolicyClient
from loadtest.errors import SetupError
from loadtest.history.filling import Filler
from loadtest.history.pages import soaked, times_of
from loadtest.history.server import written_lines
from loadtest.measure.heading import heading, heading_lines
from loadtest.options import at_least, positive
from loadtest.servers.console import Console, console_settings
from loadtest.servers.ports import free_port
from loadtest.servers.postfix import traversable_directory
from loadtest.servers.server import Server
from loadtest.traffic.mail import policy_request
from loadtest.traffic.past_decisions import MARKED, PastDecisions, Values
from loadtest.traffic.profile import load_profile
from loadtest.traffic.traffic import POLICY, Day

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_SAMPLE = "sample.json"
Row = dict[str, float | str]


def main(argv: Sequence[str]) -> int:
    """Measure and print."""
    options = _options(argv)
    head = heading(f"{options.rounds} rounds of each page")
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(traversable_directory())
        day = Day(load_profile("bench"))
        kept = Path(options.again or options.keep or folder)
        sample = _sample(kept) if options.again else _filled(folder, kept, day, options)
        port = free_port()
        more = console_settings(folder / "console-server", port).replace(
            f'path = "{folder}/console-server/history"', f'path = "{kept}/history"'
        )
        server = Server(folder / "console-server", POLICY, sources=day.sources, state_and_more=more)
        stack.enter_context(server)
        console = stack.enter_context(Console(server, port))
        if not options.json:
            print("\n".join(heading_lines(head)), flush=True)
        found: dict[str, list[Row]] = {"pages": [], "soak": []}
        for part, row in _measured(console, server, sample, options):
            found[part].append(row)
            if not options.json:
                print(_line(row), flush=True)
    if options.json:
        print(json.dumps({**head, **found}))
    return 0


def _measured(
    console: Console, server: Server, sample: Sequence[Values], options: argparse.Namespace
) -> Iterator[tuple[str, Row]]:
    with ConsoleClient(console.add_account("measuring", "--role", "admin")) as client:
        for row in times_of(console, client, sample, options.rounds):
            yield "pages", row
    if options.soak:
        links = [console.add_account(f"session{number}", "--role", "admin") for number in range(options.sessions)]
        with PolicyClient(server.socket_path) as asking:

            def send() -> None:
                for mail in MARKED:
                    asking.ask(policy_request(mail, mail.recipients[0], 1))

            for row in soaked(console, links, sample, options.soak, send):
                yield "soak", row


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m loadtest console", description=__doc__)
    parser.add_argument("--decisions", type=at_least(1000), default=300_000, help="default %(default)s")
    parser.add_argument("--days", type=at_least(1), default=30, help="of the history (default %(default)s)")
    parser.add_argument("--rounds", type=at_least(1), default=20, help="default %(default)s")
    parser.add_argument("--keep", metavar="DIR", help="leave the history there: an empty directory")
    parser.add_argument("--again", metavar="DIR", help="use what --keep has left")
    parser.add_argument("--soak", metavar="MINUTES", type=positive, help="watch the memory for so long")
    parser.add_argument("--sessions", type=at_least(1), default=20, help="of --soak (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="figures for programs")
    return parser.parse_args(argv)


def _filled(folder: Path, kept: Path, day: Day, options: argparse.Namespace) -> list[Values]:
    kept.mkdir(parents=True, exist_ok=True)
    if (kept / "history").exists():
        raise SetupError(f"{kept} has a history: --keep wants an empty directory, --again {kept} uses it")
    past = PastDecisions(written_lines(folder / "server", day))
    filled = Filler(kept, past, options.decisions, options.days).fill(options.decisions)
    (kept / _SAMPLE).write_text(json.dumps([*map(list, filled.sample)]))
    return filled.sample


def _sample(folder: Path) -> list[Values]:
    try:
        return [Values(*each) for each in json.loads((folder / _SAMPLE).read_text())]
    except OSError as error:
        raise SetupError(f"{folder} is not what --keep leaves: {error}") from error


def _line(row: Mapping[str, float | str]) -> str:
    return "  " + "  ".join(
        f"{name} {value if isinstance(value, str) else f'{value:,.0f}' if value == int(value) else f'{value:,.1f}'}"
        for name, value in row.items()
    )
