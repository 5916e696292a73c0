"""The formats that `forkpolicy import` knows: one line each. A format's package is imported when it is asked for.

A format reads its files into a `Draft`. `Original` runs the program that the rules come from, to compare its replies.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from forkpolicy.files import Files
    from forkpolicy.importing.draft import Draft


@dataclass(frozen=True)
class Inputs:
    """What the command line names: files or URLs as given, the reader of files, and the format's own options."""

    paths: tuple[str, ...]
    files: Files
    options: Mapping[str, str] = field(default_factory=dict)


class Original(Protocol):
    """The program that the rules come from, running."""

    def replies(self, requests: Sequence[Mapping[str, str]]) -> list[str]:
        """What it replies to each, in order: the text behind `action=`. Raises ForkpolicyError."""


@dataclass(frozen=True)
class Format:
    """One format. `read` raises ConfigError only for files that cannot be read at all. `looks_like` is given the
    beginning of a file. `original` starts the program; None where there is none to start, for the reason `no_original`.
    `same_reply`: whether two replies differ at most by what differs by design. `takes_databases`: files of SQLite too.
    `is_file`: whether a word of the command line is a file of the format, and not a part of one that it names so.
    """

    name: str
    title: str
    read: Callable[[Inputs, Draft], None]
    looks_like: Callable[[str], bool]
    original: Callable[[Inputs], AbstractContextManager[Original]] | None = None
    no_original: str = ""
    same_reply: Callable[[str, str], bool] = str.__eq__
    takes_databases: bool = False
    is_file: Callable[[str], bool] = bool


class Option(NamedTuple):
    """An option that one format has, `--NAME VALUE`."""

    name: str
    metavar: str
    help: str
    choices: tuple[str, ...] | None = None


class Entry(NamedTuple):
    """Where a format is, what `--help` says of it, and its own options."""

    module: str
    title: str
    options: tuple[Option, ...] = ()


FORMATS: Final[dict[str, Entry]] = {
    "access": Entry(
        "forkpolicy.importing.access",
        "Postfix's main.cf with the access(5) maps of its lists, or maps alone: check_sender_access:hash:FILE",
    ),
    "apolicy": Entry(
        "forkpolicy.importing.apolicy",
        "policy.conf, main.conf and value files of the ACL Policy Daemon for Postfix",
        (
            Option(
                "values",
                "HOW",
                "exact: whole addresses and @domains are exact, all else stays expressions; searched: each value stays "
                "the expression that it was; searched-case: the same, and case is not folded",
                ("exact", "searched", "searched-case"),
            ),
        ),
    ),
    "postgrey": Entry(
        "forkpolicy.importing.postgrey", "whitelist_clients, whitelist_recipients and /etc/default/postgrey"
    ),
    "postfwd": Entry("forkpolicy.importing.postfwd", "rule files of postfwd, versions 1 to 3"),
    "cluebringer": Entry(
        "forkpolicy.importing.cluebringer",
        "policyd version 2 (cluebringer): a dump or URL of its database, cluebringer.conf",
    ),
    "iredapd": Entry(
        "forkpolicy.importing.iredapd",
        "iRedAPD of iRedMail: dumps or URLs of its databases and of amavisd's lists, settings.py",
    ),
    "policyd": Entry("forkpolicy.importing.policyd", "policyd version 1: a dump or URL of its database, policyd.conf"),
}


def load_format(name: str) -> Format:
    """The format of that name, which FORMATS has."""
    found: Format = import_module(FORMATS[name].module).FORMAT
    return found
