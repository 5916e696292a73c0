"""`forkpolicy advise`: how many workers this server should have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkpolicy.commands.parsers import add_command, add_json
from forkpolicy.errors import UsageError
from forkpolicy.master.sockets.control import look
from forkpolicy.preflight import control_path
from forkpolicy.settings import load_settings

if TYPE_CHECKING:
    import argparse

ANSWER_TIMEOUT_S = 10.0


def add_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add it to the table."""
    advise = add_command(commands, "advise", _advise, "measure the running server and say how many workers it needs")
    advise.add_argument(
        "--seconds", metavar="N", type=float, default=10.0, help="how long to look (default: %(default)s)"
    )
    advise.add_argument(
        "--target", metavar="MS", type=float, default=5.0, help="p99 to keep, in milliseconds (default: %(default)s)"
    )
    advise.add_argument(
        "--rate", metavar="N", type=float, default=0.0, help="what if N requests came a second (default: as measured)"
    )
    advise.add_argument(
        "--burstiness",
        metavar="X",
        type=float,
        default=1.0,
        help="variance of arrivals over their mean: 1 for random ones, more for bursts (default: %(default)s)",
    )
    add_json(advise)


def _advise(arguments: argparse.Namespace) -> int:
    from forkpolicy.commands import advising

    if arguments.seconds < 1 or arguments.target <= 0 or arguments.rate < 0 or arguments.burstiness < 1:
        raise UsageError("advise: --seconds and --burstiness from 1 on, --target above 0, --rate not below 0")
    path = control_path(load_settings(arguments.settings))
    wish = advising.Wish(arguments.seconds, arguments.target / 1000, arguments.rate, arguments.burstiness)
    return advising.run(lambda: look(path, ANSWER_TIMEOUT_S), wish, as_json=arguments.as_json)
