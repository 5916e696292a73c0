"""The language of pages for people whose mail is held: a cookie of the browser, or else what the browser asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from forkpolicy.console.errors import UserMistake
from forkpolicy.console.links import is_ours
from forkpolicy.console.page import Redirect
from forkpolicy.translations import DEFAULT, LANGUAGES, preferred

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forkpolicy.console.visit import Visit

_YEAR_S: Final = 365 * 86400


def language_of(cookies: Mapping[str, str], headers: Mapping[str, str]) -> str:
    """One of LANGUAGES."""
    chosen = cookies.get("language", "")
    return chosen if chosen in LANGUAGES else preferred(headers.get("accept-language", "")) or DEFAULT


def choose(visit: Visit) -> Redirect:
    """Remember it, and go back to the page with the switch."""
    language, back = visit.text("language"), visit.text("back", most=20_000)
    if language not in LANGUAGES:
        raise UserMistake(f"language: expected one of {', '.join(LANGUAGES)}, got {language}", "language")
    cookie = f"language={language}; Path=/; Max-Age={_YEAR_S}; HttpOnly; SameSite=Lax"
    return Redirect(back if is_ours(back) else "/", (cookie,))
