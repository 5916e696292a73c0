"""One request to the console as an endpoint sees it: who asks, for what, and the parts that can answer."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeVar

from forkpolicy.console.access.rights import Right, may
from forkpolicy.console.errors import UserMistake
from forkpolicy.console.page import Notice
from forkpolicy.errors import ForkpolicyError
from forkpolicy.translations import DEFAULT, translate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from forkpolicy.console.access.account import Account
    from forkpolicy.console.parts import Parts
    from forkpolicy.console.routes import Route

T = TypeVar("T")

_MOST_DIGITS: Final = 19
_AWAY: Final = (
    "A part of the mail server does not answer now, and something is missing here. Try again later, please; "
    "administrators find the reason in the console's log."
)
_log: Final = logging.getLogger("forkpolicy.console")


@dataclass(slots=True)
class Visit:
    """`path`: what stands in the braces of its route. `query` and `form` have the last of equal names. `nav`: the pages
    that are listed for this account. `client`: the address of the browser, or of what is in front of it. `account` is
    there unless the route is open to everybody. `session`: an id of the session that is no secret. `token`: what its
    forms must have. `wants_json`: `Accept` says so. `language`: for people whose mail is held. `render`: HTML of a
    template, for a stream.
    """

    parts: Parts
    nav: Sequence[Route]
    path: Mapping[str, str]
    query: Mapping[str, str]
    form: Mapping[str, str]
    headers: Mapping[str, str]
    client: str
    now_s: float
    signed_in: Account | None = None
    session: str = ""
    token: str = ""
    wants_json: bool = False
    language: str = DEFAULT
    notices: list[Notice] = field(default_factory=list)
    render: Callable[[str, Mapping[str, object]], str] = lambda template, _context: template

    @property
    def account(self) -> Account:
        """Who has signed in. Only a route that is open to everybody has visits without."""
        if self.signed_in is None:
            raise AssertionError("an open route asks for its account")
        return self.signed_in

    def say(self, text: str, /, **values: object) -> str:
        """A text of translations/ in the visitor's language."""
        return translate(self.language, text, **values)

    def text(self, name: str, *, most: int = 1000) -> str:
        """A field of the form, or else of the address, without white space around it. Raises UserMistake when it is
        longer than `most` characters.
        """
        value = self.form.get(name, self.query.get(name, "")).strip()
        if len(value) > most:
            raise UserMistake(f"{name}: at most {most} characters, these are {len(value)}", name)
        return value

    def number(self, name: str, default: int, *, least: int = 0, most: int = 1 << 53) -> int:
        """A number in decimal digits. Raises UserMistake."""
        text = self.text(name, most=20)
        if not text:
            return default
        if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
            raise UserMistake(f"{name}: expected a number from {least} to {most}, got {text}", name)
        return int(text)

    def path_number(self, name: str) -> int | None:
        """A number of the address; None: it is none that we count up to."""
        text = self.path[name]
        return int(text) if text.isascii() and text.isdigit() and len(text) < _MOST_DIGITS else None

    def note(self, what: str, about: str = "", reason: str = "") -> None:
        """An entry of the audit, before the action: this account, from here. Raises CannotWriteError, sqlite3.Error."""
        self.parts.audit.note(self.account.name, what, about, reason, self.client)

    def reason(self, error: Exception, what: str = "") -> str:
        """Why a part cannot be asked; paths and lines of settings are in the log for who does not see the server."""
        if self.signed_in and may(self.signed_in.role, Right.SEE_SERVER):
            return f"{what}: {error}" if what else str(error)
        _log.warning("not shown to %s: %s", self.signed_in.name if self.signed_in else "a visitor", error)
        return self.say(_AWAY)

    @contextmanager
    def noting(self, what: str) -> Iterator[None]:
        """What cannot be read inside becomes a notice above the page, "WHAT: why", and the page goes on without."""
        try:
            yield
        except (ForkpolicyError, sqlite3.Error, OSError) as error:
            self.notices.append(Notice(self.reason(error, what)))

    def known(self, what: str, ask: Callable[[], T]) -> T | None:
        """What `ask` returns; None, and a notice as in `noting`, where it cannot be read."""
        answer = None
        with self.noting(what):
            answer = ask()
        return answer  # noqa: RET504 - what is raised inside does not come here
