"""What people do with held mail: release, delete, ask for a release; one of them or many.

Each mail is looked at first, since who sees it need not have the right to release it. The store acts once for each,
however often a button is pressed.
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from forkpolicy.console.access.scope import held_scope
from forkpolicy.console.errors import NotFound, UserMistake
from forkpolicy.console.held.allowed import Allowed, allowed
from forkpolicy.console.links import is_ours, with_query
from forkpolicy.console.page import Redirect
from forkpolicy.gateway.store_messages import Changed, DeleteHeld, HeldMail, ReleaseHeld, RequestRelease, ShowHeld

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from forkpolicy.console.visit import Visit
    from forkpolicy.gateway.store_messages import Command, Scope

MOST: Final = 200
# The audit cuts what is longer than a thousand characters.
_IN_ENTRY: Final = 40
_FIELD: Final = re.compile(r"mail-([0-9]{1,18})", re.ASCII)


def act(visit: Visit) -> Redirect:
    """Do it with each mail that was chosen and that this account may do it with."""
    name = visit.text("do", most=20)
    if name not in _ACTIONS:
        raise UserMistake(f"do: expected one of {', '.join(_ACTIONS)}, got {name}", "do")
    action = _ACTIONS[name]
    chosen = _chosen(visit)
    ids = tuple(each for each in chosen if _may(visit, each, action))
    changed = 0
    if ids:
        for at in range(0, len(ids), _IN_ENTRY):
            visit.note(action.noted, f"mail {', '.join(map(str, ids[at : at + _IN_ENTRY]))}")
        reply = visit.parts.gateway.ask(action.make(held_scope(visit.account), ids, visit.account.name), Changed)
        changed = reply.changed
    back = visit.text("back", most=20_000)
    back = back if is_ours(back) else "/held"
    return Redirect(with_query(back, done=name, n=changed, already=len(chosen) - changed or None))


def _chosen(visit: Visit) -> list[int]:
    """Raises UserMistake where there is none, or too many."""
    found = list(dict.fromkeys(int(match[1]) for name in visit.form if (match := _FIELD.fullmatch(name))))
    if not found:
        raise UserMistake(visit.say("Choose a mail first."), "mail")
    if len(found) > MOST:
        raise UserMistake(f"at most {MOST} mails at a time, these are {len(found)}", "mail")
    return found


def _may(visit: Visit, held: int, action: Action) -> bool:
    """Raises NotFound for a mail that this account does not see."""
    try:
        mail = visit.parts.gateway.ask(ShowHeld(held_scope(visit.account), held), HeldMail)
    except NotFound:
        # It says no more of a mail of somebody else than of one that never was.
        raise NotFound(visit.say("There is no such mail.")) from None
    return action.may(allowed(visit.account, mail.row, visit.parts.gateway.domains))


class Action(NamedTuple):
    """Who may, what the store is asked, and the entry of the audit."""

    may: Callable[[Allowed], bool]
    make: Callable[[Scope, tuple[int, ...], str], Command]
    noted: str


_ACTIONS: Final[Mapping[str, Action]] = {
    "release": Action(lambda may: may.release, ReleaseHeld, "held mail released"),
    "not_spam": Action(lambda may: may.release, partial(ReleaseHeld, learn=True), "held mail released as not spam"),
    "delete": Action(lambda may: may.delete, DeleteHeld, "held mail deleted"),
    "spam": Action(lambda may: may.delete, partial(DeleteHeld, learn=True), "held mail deleted as spam"),
    "request": Action(lambda may: may.request, RequestRelease, "release of held mail asked for"),
}
