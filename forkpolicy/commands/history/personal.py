"""`forkpolicy history export ADDRESS` and `forget ADDRESS`: what is kept about a person, printed or removed.

Both name on standard error the copies that they do not reach. Exit status of `export`: 1, nothing is kept. Raises
UsageError, HistoryError, CannotWriteError.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from typing import TYPE_CHECKING

from forkpolicy.commands.history.clean import clean
from forkpolicy.errors import EXIT_DONE, EXIT_NO, CannotWriteError, UsageError
from forkpolicy.history.errors import HistoryError
from forkpolicy.history.opening import open_history
from forkpolicy.history.personal.copies import beyond_reach
from forkpolicy.history.personal.forgetting import forget
from forkpolicy.history.personal.log_files import lines_of, may_change
from forkpolicy.history.personal.person import Person
from forkpolicy.process import own_user

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from forkpolicy.history_settings import HistorySettings


def add_person(parser: argparse.ArgumentParser) -> None:
    """The argument of both."""
    parser.add_argument("address", metavar="ADDRESS", help="a whole address, or @example.com for a domain")


def add_yes(parser: argparse.ArgumentParser) -> None:
    """The option of `forget`."""
    parser.add_argument("--yes", action="store_true", dest="is_sure", help="do not ask")


def export_person(settings: HistorySettings, address: str, *, as_json: bool) -> int:
    """Print every decision about the person, with its line."""
    person = _person(address)
    printed = unread = 0
    for place, line in _everything(settings, person):
        if line is None:
            unread += 1
            continue
        text = line.decode("utf-8", "replace")
        print(json.dumps({"copy": place, "decision": json.loads(text)}) if as_json else f"{place}: {clean(text)}")
        printed += 1
    if unread:
        print(f"decisions that are left out, since their lines are damaged: {unread}", file=sys.stderr)
    _name_others(settings, person, "this export leaves out other copies")
    return EXIT_DONE if printed else EXIT_NO


def forget_person(settings: HistorySettings, address: str, now_s: float, *, is_sure: bool) -> int:
    """Ask, then forget."""
    person = _person(address)
    os.umask(0o027)
    if settings.log and not may_change(settings.log):
        raise CannotWriteError(f"{own_user()} may not overwrite lines of {settings.log}: run this as root")
    count = sum(1 for _ in _everything(settings, person))
    if not is_sure and not _is_confirmed(f"forget what is kept about {person.text} (decisions: {count})"):
        return EXIT_NO
    try:
        forgotten = forget(settings, person, now_s)
    except OSError as error:
        raise CannotWriteError(f"{error.filename or settings.path}: {error.strerror}; start this again") from error
    except sqlite3.Error as error:
        raise CannotWriteError(f"{settings.path}: {error}; start this again") from error
    print(f"decisions of {person.text} that were forgotten: {count}")
    if forgotten.blotted:
        print(f"lines about others in which the address was blotted out: {forgotten.blotted}")
    _name_others(settings, person, "this does not reach other copies")
    return EXIT_DONE


def _person(address: str) -> Person:
    try:
        return Person(address)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _everything(settings: HistorySettings, person: Person) -> Iterator[tuple[str, bytes | None]]:
    """Each decision: where it is kept, and its line; None where that is damaged. One that was taken in is not named
    again where the log has it.
    """
    history, taken = open_history(settings), set()
    for found in history.find(person.query()):
        taken.add(found.id)
        try:
            line: bytes | None = history.raw(found)
        except HistoryError:
            line = None
        yield found.day, line
    try:
        for line in lines_of(settings.log, person) if settings.log else ():
            if json.loads(line).get("id") not in taken:
                yield "log", line
    except OSError as error:
        raise HistoryError(f"the log of decisions cannot be read: {error}") from error


def _is_confirmed(what: str) -> bool:
    if not sys.stdin.isatty():
        raise UsageError(f"this would {what}: add --yes")
    print(f"{what}? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _name_others(settings: HistorySettings, person: Person, title: str) -> None:
    print(f"{title} (docs/personal-data.md):", file=sys.stderr)
    for line in beyond_reach(settings, person):
        print(f"  {clean(line)}", file=sys.stderr)
