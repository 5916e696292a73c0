"""Every kind of copy of an address in the whole product, with what reaches it. docs/personal-data.md has the same
table, and a test compares them.

A new kind of copy is added here. `history export` and `history forget` read and change those that say so; the others
they name, for the administrator.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from forkpolicy.history.damaged import all_aside
from forkpolicy.history.personal.log_files import unnamed
from forkpolicy.history.personal.versions import versions_naming

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkpolicy.history.personal.person import Person
    from forkpolicy.history_settings import HistorySettings


@dataclass(frozen=True, slots=True)
class Copy:
    """A kind of copy. `by_hand`: how an administrator reaches it, where `export` and `forget` do not; `{address}`
    stands for the address. Empty: there is nothing to do.
    """

    name: str
    is_exported: bool = False
    is_forgotten: bool = False
    by_hand: str = ""


COPIES: Final = (
    Copy("log of decisions", is_exported=True, is_forgotten=True),
    Copy("files of the days", is_exported=True, is_forgotten=True),
    Copy("lines of the days", is_exported=True, is_forgotten=True),
    Copy("damaged days", by_hand="those that were set aside: remove them, or wait until they go with their day"),
    Copy("roll-ups"),
    Copy("versions", by_hand="policies and tables of then that name {address}, listed below, go with their age"),
    Copy("server's log", by_hand="where [log] target ends: the journal, syslog or a file"),
    Copy("Postfix's log", by_hand="the mail log, as long as its rotation keeps it"),
    Copy("what is remembered", by_hand="forkpolicy state list --key '*{address}*', then state reset or state forget"),
    Copy("sources of tables", by_hand="where an administrator has written {address}: edit, then forkpolicy-compile"),
    Copy("users' lists", by_hand="the console's page of welcome and blocked senders, searched for {address}"),
    Copy("held mail", by_hand="of a gateway: forkpolicy held list --state all --text '{address}', then held delete"),
    Copy("compiled tables", by_hand="they follow their sources"),
    Copy("copies of fetched lists", by_hand="they follow the lists"),
    Copy("metrics"),
    Copy("backups", by_hand="of any of these"),
)


def beyond_reach(settings: HistorySettings, person: Person) -> Iterator[str]:
    """What `export` and `forget` have not looked at, a line each."""
    for copy in COPIES:
        if copy.by_hand:
            yield f"{copy.name}: {copy.by_hand.format(address=person.text)}"
    for _, path in sorted(all_aside(settings.path)):
        yield f"{path} is damaged"
    for path in versions_naming(settings.path, person):
        yield f"{path} names {person.text}, or cannot be read"
    for path in unnamed(settings.log) if settings.log else ():
        yield f"{path} is not a file of the log, or is compressed"
