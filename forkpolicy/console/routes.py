"""Every page of the console: its address, what may be done there, and who may.

The one table. `get` shows and changes nothing; `post` acts, and is reached with the token of a session only, or where
there is none from a page of ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from forkpolicy.console import home, language, theme
from forkpolicy.console.access import administration, own_account
from forkpolicy.console.access import pages as access
from forkpolicy.console.access.rights import Right
from forkpolicy.console.change import page as change
from forkpolicy.console.change import table_page as change_table
from forkpolicy.console.decisions import pages as decisions
from forkpolicy.console.decisions.suggestions import suggest
from forkpolicy.console.funnel import pages as funnel
from forkpolicy.console.held import acting, digests, linked, mail, reading
from forkpolicy.console.held import pages as held
from forkpolicy.console.lists import pages as lists
from forkpolicy.console.now import pages as now
from forkpolicy.console.queue import pages as queue
from forkpolicy.console.rules import pages as rules
from forkpolicy.console.state import pages as state
from forkpolicy.console.tables import pages as tables
from forkpolicy.console.tracking import pages as tracking
from forkpolicy.console.training import pages as training
from forkpolicy.console.whatif import pages as what_if
from forkpolicy.console.why import pages as why

if TYPE_CHECKING:
    from collections.abc import Callable

    from forkpolicy.console.page import Download, Page, Raw, Redirect, Stream
    from forkpolicy.console.visit import Visit

    Endpoint = Callable[[Visit], Page | Raw | Download | Redirect | Stream]


@dataclass(frozen=True, slots=True)
class Route:
    """`path` as Starlette writes it, `{name}` for a part. `act`: the right that `post` needs where it is another.
    `nav`: its name in the list of pages that each of them has. `is_of_gateway`: nothing without a gateway.
    """

    path: str
    right: Right
    get: Endpoint | None = None
    post: Endpoint | None = None
    act: Right | None = None
    nav: str = ""
    is_of_gateway: bool = False


# In the order in which the list of pages has them.
ROUTES: Final = (
    Route("/", Right.SIGNED_IN, get=home.show),
    Route("/now", Right.SEE_SERVER, get=now.show, nav="Now"),
    Route("/now/live", Right.SEE_SERVER, get=now.live),
    Route("/held", Right.SEE_HELD, get=held.show, nav="Held mail", is_of_gateway=True),
    Route("/held/act", Right.ACT_ON_HELD, post=acting.act, is_of_gateway=True),
    Route(lists.ADDRESS, Right.SEE_HELD, get=lists.show, post=lists.act, act=Right.ACT_ON_HELD, is_of_gateway=True),
    Route("/held/digest", Right.SEE_HELD, get=digests.show, post=digests.choose, is_of_gateway=True),
    Route("/held/{id}", Right.SEE_HELD, get=mail.show, is_of_gateway=True),
    Route("/held/{id}/read", Right.READ_HELD, post=reading.give_reason, is_of_gateway=True),
    Route("/held/{id}/body", Right.READ_HELD, get=reading.body, is_of_gateway=True),
    Route("/held/{id}/raw", Right.READ_HELD, get=reading.raw, is_of_gateway=True),
    Route("/held/{id}/parts/{n}", Right.READ_HELD, get=reading.part, is_of_gateway=True),
    Route("/mail", Right.SEE_DECISIONS, get=tracking.show, post=tracking.paste, nav="Where is my mail?"),
    Route("/decisions", Right.SEE_DECISIONS, get=decisions.show, post=decisions.paste, nav="Decisions"),
    Route("/decisions/words", Right.SEE_DECISIONS, get=suggest),
    Route("/why/{id}", Right.SEE_DECISIONS, get=why.show),
    Route("/why/{id}/mail", Right.SEE_DECISIONS, get=why.mail),
    Route("/whatif", Right.CHANGE, get=what_if.show, nav="What if"),
    Route("/whatif/apply", Right.CHANGE, post=what_if.apply),
    Route("/funnel", Right.SEE_SERVER, get=funnel.show, nav="Funnel"),
    Route("/training", Right.SEE_TRAINING, get=training.show, nav="Training", is_of_gateway=True),
    Route("/rules", Right.SEE_SERVER, get=rules.show, nav="Rules"),
    Route("/rules/{at:path}", Right.SEE_SERVER, get=rules.show_rule),
    Route("/tables", Right.SEE_SERVER, get=tables.show, nav="Tables"),
    Route("/tables/{name}", Right.SEE_SERVER, get=tables.show_one),
    Route("/state", Right.SEE_SERVER, get=state.show, nav="State"),
    Route("/state/forget", Right.CHANGE_STATE, post=state.forget),
    Route("/queue", Right.SEE_SERVER, get=queue.show, nav="Queue"),
    Route("/change", Right.CHANGE, get=change.show, post=change.act, nav="Change"),
    Route("/change/check", Right.CHANGE, post=change.check),
    Route("/change/names", Right.CHANGE, post=change.names),
    Route("/change/table/{table}/{at}", Right.CHANGE, get=change_table.show, post=change_table.act),
    Route("/change/{n}", Right.CHANGE, get=change.show_change, post=change.undo),
    Route("/accounts", Right.MANAGE_ACCOUNTS, get=administration.show_accounts, nav="Accounts"),
    Route("/accounts/{name:path}", Right.MANAGE_ACCOUNTS, post=administration.act),
    Route("/audit", Right.MANAGE_ACCOUNTS, get=administration.show_audit),
    Route("/account", Right.SIGNED_IN, get=own_account.show),
    Route("/account/password", Right.SIGNED_IN, post=own_account.change_password),
    Route("/account/sessions", Right.SIGNED_IN, post=own_account.end_session),
    Route("/sign-in", Right.OPEN, get=access.show_sign_in, post=access.sign_in),
    Route("/sign-in/oidc", Right.OPEN, get=access.to_provider),
    Route("/sign-in/oidc/back", Right.OPEN, get=access.from_provider),
    Route("/sign-out", Right.SIGNED_IN, post=access.sign_out),
    Route("/first/{secret}", Right.OPEN, get=access.show_first, post=access.first),
    Route("/d/{token}", Right.OPEN, get=linked.show, post=linked.act, is_of_gateway=True),
    Route("/theme", Right.SIGNED_IN, post=theme.choose),
    Route("/language", Right.SIGNED_IN, post=language.choose),
)
