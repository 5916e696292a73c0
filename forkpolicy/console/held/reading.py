"""The text of a held mail: who may have it, the frame that shows it, its attachments and the mail itself as downloads.

The frame is an address of its own with the strictest policy that a browser knows: no script, no image, no form, no
address but this one, and an origin that has nothing (`sandbox`). A download is never opened by the browser.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from forkpolicy.console.access.scope import held_scope
from forkpolicy.console.errors import NotAllowed, NotFound, TooMany, UserMistake
from forkpolicy.console.held.allowed import allowed
from forkpolicy.console.held.downloads import Pieces, pieces_of
from forkpolicy.console.held.letter import MOST_BYTES, Letter
from forkpolicy.console.held.preview import POLICY, document
from forkpolicy.console.held.taking_apart import Outline, TooHardError
from forkpolicy.console.page import Download, Raw, Redirect
from forkpolicy.gateway.store_messages import HeldMail, ShowHeld

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forkpolicy.console.visit import Visit
    from forkpolicy.gateway.domains import Domain
    from forkpolicy.gateway.store_messages import HeldRow

_LEAST_REASON: Final = 4
_NOT_APART: Final = "It cannot be taken apart here: download the whole mail."
# What a browser that does not read keeps in memory without being counted.
_SMALL_BYTES: Final = 256 << 10
_ANYTHING: Final = "application/octet-stream"
_DOWNLOAD: Final = {"Content-Security-Policy": "default-src 'none'; sandbox", "X-Content-Type-Options": "nosniff"}


def readable(visit: Visit, row: HeldRow, domains: Mapping[str, Domain]) -> tuple[Outline | None, bool]:
    """The text for the page of a mail, None where this account may not have it or its file has gone; and whether it
    may have it for a reason.
    """
    may = allowed(visit.account, row, domains)
    if not may.read:
        return None, False
    if may.needs_reason and not visit.parts.gateway.grants.has(visit.session, row.id):
        return None, True
    try:
        return _outline(visit, row), False
    except NotFound:
        return None, False


def give_reason(visit: Visit) -> Redirect:
    """Note why somebody else's mail is read, and let it be read."""
    row = _row(visit)
    may = allowed(visit.account, row, visit.parts.gateway.domains)
    if not may.read:
        raise NotAllowed("This mail has a virus: only an administrator of the whole site may read it.")
    reason = visit.text("reason", most=500)
    if len(reason) < _LEAST_REASON:
        raise UserMistake("Say in some words why you read somebody else's mail.", "reason")
    visit.note("held mail read", f"mail {row.id} for {row.recipient}", reason)
    visit.parts.gateway.grants.give(visit.session, row.id)
    return Redirect(f"/held/{row.id}")


def body(visit: Visit) -> Raw | Download:
    """The document of the frame."""
    content = _document(visit, _readable_row(visit))
    return _sent(visit, content, "text/html; charset=utf-8", {"Content-Security-Policy": POLICY})


def raw(visit: Visit) -> Download:
    """The mail as it arrived."""
    row = _readable_row(visit)
    with ExitStack() as stack:
        stack.callback(visit.parts.gateway.downloads.begin(visit.account.name))
        mail = visit.parts.gateway.open_mail(held_scope(visit.account), row.id)
        stack.callback(mail.close)
        pieces = Pieces(mail.pieces(), stack.pop_all().close)
    return Download(pieces, mail.size_bytes, _ANYTHING, _as_file(f"mail-{row.id}.eml"))


def part(visit: Visit) -> Raw | Download:
    """One attachment. Raises NotFound."""
    row, number = _readable_row(visit), visit.path_number("n")
    if row.size_bytes > MOST_BYTES:
        raise NotFound(_NOT_APART)
    try:
        found = visit.parts.gateway.taking_apart.part(_bytes(visit, row), number or 0)
    except TooHardError:
        raise NotFound(_NOT_APART) from None
    if found is None:
        raise NotFound("This mail has no such attachment.")
    return _sent(visit, found.content, _ANYTHING, _as_file(found.name))


def _row(visit: Visit) -> HeldRow:
    held = visit.path_number("id")
    if held is None:
        raise NotFound("There is no such mail.")
    return visit.parts.gateway.ask(ShowHeld(held_scope(visit.account), held), HeldMail).row


def _readable_row(visit: Visit) -> HeldRow:
    """Raises NotAllowed where this account may not read it, or has given no reason."""
    row = _row(visit)
    may = allowed(visit.account, row, visit.parts.gateway.domains)
    if not may.read:
        raise NotAllowed(visit.say("A mail with a virus is shown to nobody but an administrator."))
    if may.needs_reason and not visit.parts.gateway.grants.has(visit.session, row.id):
        raise NotAllowed("Give a reason first, on the page of this mail.")
    return row


def _outline(visit: Visit, row: HeldRow) -> Outline:
    if row.size_bytes > MOST_BYTES:
        return Outline(why_not=_too_large(visit))
    try:
        return visit.parts.gateway.taking_apart.outline(_bytes(visit, row))
    except TooHardError:
        return Outline(why_not=_too_hard(visit))
    except TooMany:
        # The mail can be released or deleted all the same.
        return Outline(why_not=visit.say("Much held mail is read at this moment: try again in some seconds."))


def _document(visit: Visit, row: HeldRow) -> bytes:
    why_not = _too_large(visit)
    if row.size_bytes <= MOST_BYTES:
        as_text = visit.text("as", most=10) == "text"
        try:
            return visit.parts.gateway.taking_apart.document(_bytes(visit, row), visit.language, as_text=as_text)
        except TooHardError:
            why_not = _too_hard(visit)
    return document(Letter(why_not=why_not), visit.say).encode()


def _bytes(visit: Visit, row: HeldRow) -> bytes:
    return visit.parts.gateway.read_mail(held_scope(visit.account), row.id)


def _too_large(visit: Visit) -> str:
    return visit.say("It is too large to be shown here: download it.")


def _too_hard(visit: Visit) -> str:
    return visit.say("It cannot be shown here: download it.")


def _sent(visit: Visit, content: bytes, kind: str, headers: Mapping[str, str]) -> Raw | Download:
    if len(content) <= _SMALL_BYTES:
        return Raw(content, kind, headers)
    pieces = Pieces(pieces_of(content), visit.parts.gateway.downloads.begin(visit.account.name))
    return Download(pieces, len(content), kind, headers)


def _as_file(name: str) -> Mapping[str, str]:
    """With `_ANYTHING`: a file that no browser opens, whatever the mail says that it is."""
    ascii_name = "".join(each if each.isascii() and (each.isalnum() or each in "-_.") else "_" for each in name)
    disposition = f"attachment; filename=\"{ascii_name}\"; filename*=UTF-8''{quote(name, safe='')}"
    return {**_DOWNLOAD, "Content-Disposition": disposition}
