"""How often digests come to the addresses of an account, and in which language: its own choice, kept by the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkpolicy.console.errors import NotFound, UserMistake
from forkpolicy.console.links import link
from forkpolicy.console.page import Notice, Page, Redirect
from forkpolicy.gateway.domains import DIGESTS
from forkpolicy.gateway.store_messages import Changed, ChooseDigest, DigestChoice, Scope, ShowDigestChoice
from forkpolicy.tables.keys import fold_address
from forkpolicy.translations import LANGUAGES

if TYPE_CHECKING:
    from forkpolicy.console.visit import Visit

ADDRESS = "/held/digest"


def show(visit: Visit) -> Page:
    """A form for each address."""
    settings = visit.parts.gateway.settings.digest
    rows = [_row(visit, each) for each in sorted(visit.account.addresses)]
    if visit.text("done", most=5):
        visit.notices.append(Notice(visit.say("Kept."), "done"))
    if not (settings.sender and settings.url):
        visit.notices.append(Notice(visit.say("This mail server sends no digests.")))
    sentence = visit.say("A digest is a mail about what is newly held for you; none comes when nothing is new.")
    if not rows:
        sentence = visit.say("Your account has no address: an administrator adds one.")
    data = {
        "rows": rows,
        "schedules": {each: schedule_words(visit, each) for each in DIGESTS},
        "languages": LANGUAGES,
        "usual_language": LANGUAGES[settings.language],
    }
    return Page("held/digest", visit.say("Digests by mail"), sentence, data, is_translated=True)


def choose(visit: Visit) -> Redirect:
    """Keep the choice for one address. Raises NotFound for one of somebody else."""
    address = fold_address(visit.text("address", most=500))
    schedule, language = visit.text("schedule", most=20), visit.text("language", most=20)
    if address not in visit.account.addresses:
        raise NotFound(visit.say("There is no such address."))
    for name, value, known in (("schedule", schedule, DIGESTS), ("language", language, tuple(LANGUAGES))):
        if value and value not in known:
            raise UserMistake(f"{name}: expected one of {', '.join(known)}, got {value}", name)
    visit.note("digests chosen", address, f"{schedule or 'as the domain'}, {language or 'as the server'}")
    chosen = ChooseDigest(_own(visit), address, schedule, language, visit.account.name)
    visit.parts.gateway.ask(chosen, Changed)
    return Redirect(link(ADDRESS, done="1"))


def schedule_words(visit: Visit, schedule: str) -> str:
    """One of DIGESTS, as people say it."""
    return {"off": visit.say("never"), "daily": visit.say("daily"), "weekly": visit.say("weekly")}[schedule]


def _row(visit: Visit, address: str) -> dict[str, object]:
    choice = visit.parts.gateway.ask(ShowDigestChoice(_own(visit), address), DigestChoice)
    domain = visit.parts.gateway.domains.get(address.rpartition("@")[2])
    return {
        "address": address,
        "schedule": choice.schedule,
        "language": choice.language,
        "usual": schedule_words(visit, domain.digest if domain else "off"),
        "is_served": domain is not None,
    }


def _own(visit: Visit) -> Scope:
    return Scope(addresses=tuple(sorted(visit.account.addresses)))
