"""What became of the mail of a day at a gateway: copies in the backend's Maildirs, rows of the store, both queues.

A mail is known by the number in its subject. Raises SetupError where the store does not answer.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from forkpolicy.gateway.client import ask
from forkpolicy.gateway.store_messages import (
    STATES,
    DeleteHeld,
    HeldRows,
    Ledger,
    LedgerReply,
    ListHeld,
    ReleaseHeld,
    Scope,
    StatusReply,
    StoreStatus,
    Wanted,
)
from loadtest.errors import SetupError
from loadtest.traffic.gateway_day import BODY_HEADER, digest_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkpolicy.gateway.store_messages import Command, HeldRow
    from loadtest.servers.gateway_site import GatewaySite
    from loadtest.servers.postfix import PrivatePostfix

_SUBJECT: Final = re.compile(rb"^Subject: mail (\d+)\r?$", re.MULTILINE)
_BODY: Final = re.compile(rb"^%b: (\w+)\r?$" % BODY_HEADER.encode(), re.MULTILINE)
_QUEUES: Final = ("incoming", "active", "deferred", "maildrop")
_PAGE: Final = 1000
# A mail and a recipient in lower case.
Copy = tuple[int, str]
T = TypeVar("T")


class Found(NamedTuple):
    """`delivered`: how often; `changed`: copies whose body is another one; `rows`: those of the store."""

    delivered: Counter[Copy]
    changed: list[Copy]
    rows: dict[Copy, list[HeldRow]]


def found_at(site: GatewaySite) -> Found:
    """All of it, now."""
    delivered: Counter[Copy] = Counter()
    changed: list[Copy] = []
    for arrived, is_whole in _mailboxes(site):
        delivered[arrived] += 1
        changed += [] if is_whole else [arrived]
    rows = defaultdict(list)
    for state in STATES:
        for row in held_rows(site, Scope(everything=True), state):
            if copy := copy_of(row):
                rows[copy].append(row)
    return Found(delivered, changed, rows)


def _mailboxes(site: GatewaySite) -> Iterator[tuple[Copy, bool]]:
    for path in site.backend.mailboxes.glob("*/*/new/*"):
        head, _, body = path.read_bytes().partition(b"\n\n")
        number, digest = _SUBJECT.search(head), _BODY.search(head)
        if number and digest:
            domain, user = path.parts[-4], path.parts[-3]
            yield (int(number[1]), f"{user}@{domain}"), digest[1].decode() == digest_of(body)


def held_rows(site: GatewaySite, scope: Scope, state: str = "held") -> Iterator[HeldRow]:
    """Rows of a state, page after page, as a person of that scope sees them."""
    before_s, before_id = None, 0
    while True:
        page = _asked(site, ListHeld(scope, Wanted(state), before_s, before_id, _PAGE), HeldRows)
        yield from page.rows
        if not page.more:
            return
        before_s, before_id = page.rows[-1].arrived_s, page.rows[-1].id


def copy_of(row: HeldRow) -> Copy | None:
    """Which mail of the day a row is, and for whom."""
    found = _SUBJECT.match(f"Subject: {row.subject}".encode())
    return (int(found[1]), row.recipient.lower()) if found else None


def act(site: GatewaySite, wish: str, recipient: str, ids: tuple[int, ...]) -> None:
    """Release or delete rows as their recipient."""
    scope = Scope(addresses=(recipient,))
    kind = ReleaseHeld if wish == "release" else DeleteHeld
    ask(site.store.api, kind(scope, ids, recipient))


def ledger_of(site: GatewaySite) -> LedgerReply:
    """The store's own account."""
    return _asked(site, Ledger(), LedgerReply)


def is_quiet(site: GatewaySite) -> bool:
    """Whether neither Postfix has mail left, and the store has nothing to send on or to hear of."""
    if waiting(site.postfix) or waiting(site.backend.postfix):
        return False
    if _asked(site, StoreStatus(), StatusReply).releasing:
        return False
    return not list(held_rows(site, Scope(everything=True), "sent"))


def waiting(postfix: PrivatePostfix) -> int:
    """How many mails are in its queue."""
    return sum(each.is_file() for part in _QUEUES for each in (postfix.queue / part).rglob("*"))


def _asked(site: GatewaySite, command: Command, kind: type[T]) -> T:
    reply = ask(site.store.api, command)
    if not isinstance(reply, kind):
        raise SetupError(f"the store answered {reply}")
    return reply
