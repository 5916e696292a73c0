"""Light, dark, or as the system says: a cookie of the browser, set by a form so that it needs no scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from forkpolicy.console.errors import UserMistake
from forkpolicy.console.links import is_ours
from forkpolicy.console.page import Redirect

if TYPE_CHECKING:
    from forkpolicy.console.visit import Visit

THEMES: Final = ("", "light", "dark")
_YEAR_S: Final = 365 * 86400


def choose(visit: Visit) -> Redirect:
    """Remember it, and go back to the page with the switch."""
    theme, back = visit.text("theme"), visit.text("back", most=20_000)
    if theme not in THEMES:
        raise UserMistake(f"theme: expected light, dark or nothing, got {theme}", "theme")
    cookie = f"theme={theme}; Path=/; Max-Age={_YEAR_S if theme else 0}; HttpOnly; SameSite=Lax"
    return Redirect(back if is_ours(back) else "/", (cookie,))
