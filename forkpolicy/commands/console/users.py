"""`forkpolicy console user`: accounts, and the one-time links with which people choose their passwords.

No password is an argument or is printed. As root it works as the owner of the console's directory, whose files they
are, and shows nothing of them that a terminal would take for orders. Raises UsageError, CannotWriteError.
"""

from __future__ import annotations

import getpass
import json
import os
import sqlite3
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from forkpolicy.commands.shared.parsers import add_command, add_json
from forkpolicy.console.access.accounts import LINK_DAYS, Accounts
from forkpolicy.console.access.audit import Audit
from forkpolicy.console.access.database import Database
from forkpolicy.console.access.rights import Role
from forkpolicy.console.errors import UserMistake
from forkpolicy.errors import EXIT_DONE, CannotWriteError, UsageError, printable
from forkpolicy.settings import load_settings

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from forkpolicy.console.access.accounts import Kept


def add_user_commands(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """`user` and its commands."""
    parser = add_command(commands, "user", "manage accounts of the console")
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    add = _add_verb(verbs, "add", "make an account, and print a one-time link to choose its password", _add)
    add.add_argument("--role", required=True, choices=[each.value for each in Role], help="what it may see and do")
    add.add_argument("--domain", dest="domains", metavar="D", action="append", default=[], help="for the role domain")
    add.add_argument("--address", dest="addresses", metavar="A", action="append", default=[], help="for the role user")
    every = add_command(verbs, "list", "show the accounts")
    add_json(every)
    every.set_defaults(run_console=_list)
    disable = _add_verb(verbs, "disable", "end the sessions of an account, and let it sign in no more", _disable)
    _add_verb(verbs, "enable", "let a disabled account sign in again", _enable)
    _add_verb(verbs, "link", "print a new one-time link, which replaces earlier ones", _link)
    delete = _add_verb(verbs, "delete", "remove an account", _delete)
    for each in (disable, delete):
        each.add_argument("--force", action="store_true", help="even if it is the last admin")


def _add_verb(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser],
    verb: str,
    text: str,
    run: Callable[[argparse.Namespace], int],
) -> argparse.ArgumentParser:
    parser = add_command(verbs, verb, text)
    parser.add_argument("name", metavar="NAME")
    parser.set_defaults(run_console=run)
    return parser


def _add(arguments: argparse.Namespace) -> int:
    role = Role(arguments.role)
    if bool(arguments.domains) != (role is Role.DOMAIN):
        raise UsageError("--domain is for the role domain, which needs at least one")
    if bool(arguments.addresses) != (role is Role.USER):
        raise UsageError("--address is for the role user, which needs at least one")
    with _kept(arguments) as kept:
        kept.accounts.add(arguments.name, role, arguments.domains, arguments.addresses)
        kept.note(f"account of role {role} added", arguments.name)
    return _link(arguments)


def _list(arguments: argparse.Namespace) -> int:
    with _kept(arguments) as kept:
        accounts = kept.accounts.all()
    if arguments.as_json:
        print(json.dumps([_document(each) for each in accounts], indent=2))
        return EXIT_DONE
    rows = [(each.name, each.role, each.state, " ".join(sorted(each.domains | each.addresses))) for each in accounts]
    widths = [max((len(row[at]) for row in rows), default=0) for at in range(3)]
    for *cells, sees in rows:
        columns = [f"{cell:{width}}" for cell, width in zip(cells, widths, strict=True)]
        print(printable("  ".join([*columns, sees]).rstrip()))
    return EXIT_DONE


def _document(kept: Kept) -> dict[str, object]:
    return {
        "name": kept.name,
        "role": kept.role,
        "domains": sorted(kept.domains),
        "addresses": sorted(kept.addresses),
        "state": kept.state,
        "created_s": kept.created_s,
    }


def _disable(arguments: argparse.Namespace) -> int:
    with _kept(arguments) as kept:
        kept.accounts.disable(arguments.name, even_last=arguments.force)
        kept.note("account disabled", arguments.name)
    return EXIT_DONE


def _enable(arguments: argparse.Namespace) -> int:
    with _kept(arguments) as kept:
        kept.accounts.enable(arguments.name)
        kept.note("account enabled", arguments.name)
    return EXIT_DONE


def _delete(arguments: argparse.Namespace) -> int:
    with _kept(arguments) as kept:
        kept.accounts.delete(arguments.name, even_last=arguments.force)
        kept.note("account deleted", arguments.name)
    return EXIT_DONE


def _link(arguments: argparse.Namespace) -> int:
    with _kept(arguments) as kept:
        secret = kept.accounts.new_link(arguments.name)
        kept.note("one-time link made", arguments.name)
    origin = load_settings(arguments.settings).console.origin
    print(f"{origin}/first/{secret}\nIt works once, for {LINK_DAYS} days: give it to {arguments.name} alone.")
    return EXIT_DONE


class _Kept(NamedTuple):
    """What the console keeps of its accounts."""

    accounts: Accounts
    audit: Audit

    def note(self, what: str, name: str) -> None:
        """It was done here, by the user of this shell."""
        who = os.environ.get("SUDO_USER") or getpass.getuser()
        self.audit.note(f"command line ({who})", what, name.strip().casefold())


@contextmanager
def _kept(arguments: argparse.Namespace) -> Iterator[_Kept]:
    """The accounts, as the user whose they are."""
    settings = load_settings(arguments.settings)
    directory = Path(settings.console.path)
    try:
        with _as_owner(directory):
            yield _Kept(Accounts(Database(str(directory))), Audit(str(directory), settings.history.audit_days))
    except UserMistake as error:
        raise UsageError(str(error)) from error
    except (OSError, sqlite3.Error) as error:
        why = (error.strerror or str(error)).lower() if isinstance(error, OSError) else printable(str(error))
        raise CannotWriteError(f"{directory} cannot be written: {why}") from error


@contextmanager
def _as_owner(directory: Path) -> Iterator[None]:
    """With the rights of the directory's owner, where this is root; the directory is made if it is missing."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if os.geteuid() != 0:
        yield
        return
    owner, groups = directory.stat(), os.getgroups()
    os.setgroups([])
    os.setegid(owner.st_gid)
    os.seteuid(owner.st_uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)
