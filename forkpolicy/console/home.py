"""The first page after signing in: the first of the list that the account may see."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkpolicy.console.page import Page, Redirect

if TYPE_CHECKING:
    from forkpolicy.console.visit import Visit


def show(visit: Visit) -> Page | Redirect:
    """Go there; a page that says so where there is none yet."""
    if visit.nav:
        return Redirect(visit.nav[0].path)
    sentence = visit.say("You are signed in as {name}.", name=visit.account.name)
    return Page("home", visit.say("Signed in"), sentence, data={"role": visit.account.role}, is_translated=True)
