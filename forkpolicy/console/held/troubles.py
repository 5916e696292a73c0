"""What is wrong with the store and its digests, as notices of the administrator's first page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from forkpolicy.console.page import Notice
from forkpolicy.console.rendering import moment
from forkpolicy.gateway.store_messages import ShowTroubles, TroublesReply

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkpolicy.console.visit import Visit

_TIMEOUT_S: Final = 3.0
_MOST_FAILURES: Final = 5
# The timer runs each day.
_LATE_S: Final = 2 * 86_400.0


def note_troubles(visit: Visit) -> None:
    """Add what the store says; a store that is away is a notice, too. Nothing where there is no gateway."""
    gateway = visit.parts.gateway
    if not gateway.is_on:
        return
    with visit.noting("the store of held mail"):
        reply = gateway.ask(ShowTroubles(), TroublesReply, _TIMEOUT_S)
        sends_digests = bool(gateway.settings.digest.sender)
        visit.notices += notices_of(reply, visit.now_s, sends_digests=sends_digests)


def notices_of(reply: TroublesReply, now_s: float, *, sends_digests: bool) -> Iterator[Notice]:
    """In the order in which a person would look at them."""
    for error in reply.errors:
        yield Notice(f"The store of held mail: {error}", "alarm")
    for each in reply.digest_failures[:_MOST_FAILURES]:
        yield Notice(f"No digest for {each.about or 'anybody'} since {moment(each.since_s)}: {each.error}", "alarm")
    if (more := len(reply.digest_failures) - _MOST_FAILURES) > 0:
        yield Notice(f"{more} more digests fail: forkpolicy gateway check names them.", "alarm")
    if sends_digests and reply.digests_ran_s is not None and now_s - reply.digests_ran_s > _LATE_S:
        text = f"No run of digests has ended since {moment(reply.digests_ran_s)}: forkpolicy-digest.timer starts one."
        yield Notice(text, "alarm")
