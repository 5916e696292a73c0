"""The page of a link of a digest: one mail for the one who has the link, to be released or deleted once.

GET shows, since scanners of mail fetch what links lead to; POST acts. It needs no session: the store knows its own
tokens, and decides what one may still do. Neither text nor headers of the mail are here. Raises NotFound where the
console has no gateway.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from forkpolicy.console.errors import NotFound, UserMistake
from forkpolicy.console.held.pages import states_in_words
from forkpolicy.console.held.why import cause_words
from forkpolicy.console.page import Page, Redirect
from forkpolicy.errors import ForkpolicyError
from forkpolicy.gateway.digest_messages import LINK_ACTIONS, LinkedMail, ShowLink, UseLink
from forkpolicy.gateway.releasing import recipient_may_release
from forkpolicy.tables.keys import fold_address

if TYPE_CHECKING:
    from forkpolicy.console.visit import Visit

_log: Final = logging.getLogger("forkpolicy.console")


def show(visit: Visit) -> Page:
    """The mail, or why the link does nothing any more."""
    try:
        return _shown(visit)
    except ForkpolicyError as error:
        return _later(visit, error)


def act(visit: Visit) -> Page | Redirect:
    """Release or delete it, if that may be done; the page says what became of it."""
    action = visit.text("do", most=20)
    if action not in LINK_ACTIONS:
        raise UserMistake(f"do: expected one of {', '.join(LINK_ACTIONS)}, got {action}", "do")
    try:
        return _done(visit, action)
    except ForkpolicyError as error:
        return _later(visit, error)


def _later(visit: Visit, error: ForkpolicyError) -> Page:
    """Strangers come here: why it is not known is for the log."""
    _log.warning("the link of a digest: %s", error)
    return _page(visit, visit.say("Later, please: the store of held mail does not answer now."), status=503)


def _shown(visit: Visit) -> Page:
    linked = _asked(visit)
    if linked is None:
        return _page(visit, visit.say("There is no such link."), status=404)
    if linked.standing != "open":
        return _page(visit, _over(visit, linked))
    cause = cause_words(visit.say, linked.cause, linked.spam_score, linked.recipient, visit.parts.gateway.domains)
    return _page(visit, cause, linked)


def _done(visit: Visit, action: str) -> Page | Redirect:
    linked = _asked(visit)
    if linked is None:
        return _page(visit, visit.say("There is no such link."), status=404)
    if action in _actions(visit, linked):
        who = fold_address(linked.recipient)
        what = f"held mail {'released' if action == 'release' else 'deleted'} by the link of a digest"
        visit.parts.audit.note(who, what, f"mail {linked.id}", client=visit.client)
        visit.parts.gateway.ask(UseLink(visit.path["token"], action), LinkedMail)
    return Redirect(f"/d/{visit.path['token']}")


def _asked(visit: Visit) -> LinkedMail | None:
    """The mail of the address; None for no link of the store's. The page is in the language of the digest then."""
    # A NotFound of another kind than that of no link.
    visit.parts.gateway.require()
    try:
        linked = visit.parts.gateway.ask(ShowLink(visit.path["token"]), LinkedMail)
    except NotFound:
        return None
    visit.language = linked.language
    return linked


def _actions(visit: Visit, linked: LinkedMail) -> tuple[str, ...]:
    """What the store lets this link do, as far as the domain lets its users."""
    may_release = recipient_may_release(linked.cause, linked.recipient, visit.parts.gateway.domains)
    return tuple(each for each in linked.actions if each != "release" or may_release)


def _over(visit: Visit, linked: LinkedMail) -> str:
    if linked.standing == "expired":
        return visit.say("This link is too old to do anything.")
    if linked.used_for == "release":
        return visit.say("This link was used: the mail was released.")
    if linked.used_for == "delete":
        return visit.say("This link was used: the mail was deleted.")
    return visit.say("This link does nothing any more. State of the mail: {state}.", state=_state(visit, linked))


def _state(visit: Visit, linked: LinkedMail) -> str:
    return states_in_words(visit)[linked.state]


def _page(visit: Visit, sentence: str, linked: LinkedMail | None = None, status: int = 200) -> Page:
    mail = linked and {
        "recipient": linked.recipient,
        "sender": linked.sender,
        "from_header": linked.from_header,
        "subject": linked.subject,
        "arrived_s": linked.arrived_s,
        "until_s": linked.until_s,
    }
    actions = _actions(visit, linked) if linked else ()
    data = {"mail": mail, "actions": actions, "token": visit.path["token"] if linked else ""}
    return Page("held/link", visit.say("Held mail"), sentence, data, status=status, is_translated=True)
