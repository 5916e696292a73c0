"""`forkpolicy held backup` and `restore`: the store in another directory, and back. As root, or as the store's user.

Exit status 1: mails are missing, which are named. Raises StoreError, CannotWriteError.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from forkpolicy.errors import EXIT_DONE, EXIT_NO, printable
from forkpolicy.gateway.store.backing_up import back_up
from forkpolicy.gateway.store.restoring import restore
from forkpolicy.sizes import size_text

if TYPE_CHECKING:
    import argparse

    from forkpolicy.gateway.settings import GatewaySettings


def add_backup_arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument("directory", type=Path, metavar="DIRECTORY", help="the backup: an empty one, or an earlier one")


def add_restore_arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument("directory", type=Path, metavar="DIRECTORY", help="the backup")
    parser.add_argument(
        "--elsewhere",
        action="store_true",
        help="on another host: mail that Postfix had is held, too, as its log is not here",
    )


def take(settings: GatewaySettings, arguments: argparse.Namespace) -> int:
    """Bring a backup up to date."""
    made = back_up(Path(settings.store.path), arguments.directory)
    if arguments.as_json:
        print(json.dumps(made._asdict()))
    else:
        print(f"{arguments.directory}: {_counts(made.by_state)}")
        print(f"{made.mails} mails, {size_text(made.size_bytes)}; {made.new} of them are new")
        for each in made.wrong:
            print(printable(f"wrong: {each}"))
    return EXIT_NO if made.wrong else EXIT_DONE


def put_back(settings: GatewaySettings, arguments: argparse.Namespace) -> int:
    """Make a store of a backup."""
    done = restore(arguments.directory, Path(settings.store.path), elsewhere=arguments.elsewhere)
    if arguments.as_json:
        print(json.dumps(done._asdict()))
    else:
        print(f"{settings.store.path}: {_counts(done.by_state)}, as of {_time(done.taken_s)}")
        print(f"{done.held_again} that were on their way then are held: they may have arrived")
        print(
            "what was released or deleted since then is held again; `forkpolicy held ledger` lists what then goes out"
        )
        print("a second time. Mail that was held since then is not here. Links of earlier digests act no more")
        for each in done.wrong:
            print(printable(f"wrong: {each}"))
    return EXIT_NO if done.wrong else EXIT_DONE


def _counts(by_state: dict[str, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in by_state.items()) or "nothing was ever held"


def _time(at_s: float) -> str:
    return f"{datetime.fromtimestamp(at_s).astimezone():%Y-%m-%d %H:%M:%S}"
