"""The page of one held mail: why it is held, its text in a frame of its own, what happened to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkpolicy.console.access.rights import Right, Role, may
from forkpolicy.console.access.scope import held_scope
from forkpolicy.console.errors import NotFound
from forkpolicy.console.held.pages import done_notices, row_of
from forkpolicy.console.held.reading import readable
from forkpolicy.console.page import Page
from forkpolicy.gateway.store_messages import HeldMail, ShowHeld

if TYPE_CHECKING:
    from forkpolicy.console.visit import Visit


def asked_mail(visit: Visit) -> HeldMail:
    """The mail of the address. Raises NotFound."""
    held = visit.path_number("id")
    if held is None:
        raise NotFound("There is no such mail.")
    return visit.parts.gateway.ask(ShowHeld(held_scope(visit.account), held), HeldMail)


def show(visit: Visit) -> Page:
    """Everything that is known of it; its text only for those who may read it."""
    mail = asked_mail(visit)
    domains = visit.parts.gateway.domains
    row = row_of(visit, mail.row, domains)
    letter, needs_reason = readable(visit, mail.row, domains)
    visit.notices += done_notices(visit)
    sees_server = may(visit.account.role, Right.SEE_SERVER)
    return Page(
        "held/mail",
        mail.row.subject or visit.say("(no subject)"),
        str(row["why"]),
        {
            "row": row,
            "headers": mail.headers,
            "symbols": mail.symbols,
            "events": [{"at_s": at_s, "who": who, "what": what} for at_s, who, what in mail.events],
            "letter": letter and {"parts": letter.parts, "is_html": letter.is_html, "why_not": letter.why_not},
            "needs_reason": needs_reason,
            "sees_server": sees_server,
            "is_user": visit.account.role is Role.USER,
            "may_list": bool(mail.row.sender) and may(visit.account.role, Right.ACT_ON_HELD),
        },
        "" if visit.account.role is Role.USER else f"forkpolicy held show {mail.row.id}",
        is_translated=True,
    )
