"""What a request must pass before an endpoint sees it: a session, and a form of our own for whatever acts.

`Gate` says what the application asks; `Door` is the gate of `console serve`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forkpolicy.console.access.account import Account


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came. `headers`: names in small letters. `peer`: the address at the other end of the connection,
    `unix` for a socket file. `form`: empty unless it is a POST.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    cookies: Mapping[str, str]
    form: Mapping[str, str]
    peer: str


@dataclass(frozen=True, slots=True)
class Entered:
    """Who it is. `client`: the address of the browser, behind trusted proxies. `account` is None for nobody; `session`
    is an id for logs and counts, and no secret; `token` must stand in each form.
    """

    client: str
    account: Account | None = None
    session: str = ""
    token: str = ""


class Gate(Protocol):
    """Who is asking, and whether this POST comes from a form of ours."""

    def enter(self, asked: Asked) -> Entered:
        """The visitor. Raises NotAllowed for a POST without the token of its session or from another origin, and for a
        Host that is not ours.
        """
        ...
