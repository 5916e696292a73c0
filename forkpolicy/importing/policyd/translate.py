"""A database of policyd version 1, and its policyd.conf, as a policy: its modules in its order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from forkpolicy.importing.left_out import Origin
from forkpolicy.importing.policyd.config import Config, looks_like_config, read_config
from forkpolicy.importing.policyd.greylisting import greylist
from forkpolicy.importing.policyd.lists import Lists
from forkpolicy.importing.policyd.throttles import Throttles
from forkpolicy.importing.sql.database import read_database

if TYPE_CHECKING:
    from forkpolicy.importing.draft import Draft
    from forkpolicy.importing.formats import Inputs
    from forkpolicy.importing.sql.database import Database

_TABLES: Final = frozenset(
    {
        *(f"{list_}{what}" for list_ in ("whitelist", "blacklist") for what in ("", "_sender", "_dnsname")),
        *("blacklist_helo", "spamtrap", "policy", "throttle", "throttle_rcpt", "rcpt_acl"),
    }
)
# Tables whose rows policyd asks only where policyd.conf sets all of these to 1.
_SWITCHES: Final = {
    "whitelist": ("WHITELISTING",),
    "whitelist_sender": ("WHITELISTING", "WHITELISTSENDER"),
    "whitelist_dnsname": ("WHITELISTING", "WHITELISTDNSNAME"),
    "blacklist": ("BLACKLISTING",),
    "blacklist_helo": ("BLACKLISTING", "BLACKLIST_HELO"),
    "blacklist_sender": ("BLACKLISTING", "BLACKLISTSENDER"),
    "blacklist_dnsname": ("BLACKLISTING", "BLACKLISTDNSNAME"),
    "spamtrap": ("SPAMTRAPPING",),
    "throttle": ("SENDERTHROTTLE",),
    "throttle_rcpt": ("RECIPIENTTHROTTLE",),
}


def read(inputs: Inputs, draft: Draft) -> None:
    """Read and translate everything."""
    database = read_database(inputs, draft, _TABLES, looks_like_config)
    config = read_config(database.others[-1]) if database.others else Config()
    lists, throttles = Lists(database, config, draft), Throttles(database, config, draft)
    lists.white()
    lists.black()
    lists.spamtraps()
    lists.random_helo()
    greylist(database, config, draft)
    throttles.senders()
    throttles.recipients()
    _left(inputs, config, database, draft)


def _left(inputs: Inputs, config: Config, database: Database, draft: Draft) -> None:
    for row in database.rows("rcpt_acl"):
        what = f"rcpt_acl {row.get('_sender')} {row.get('_rcpt')}"
        draft.leave_out(row.origin, what, "a table of a changed policyd", "table NAME pair:address,address FILE")
    for table, switches in _SWITCHES.items():
        off = next((each for each in switches if not config.is_on(each)), "")
        if off and database.rows(table):
            draft.note(config.origin, f"{table}: not carried over, since policyd does not ask it: {off} is not 1")
    where = Origin(inputs.paths[0])
    if not config.is_given:
        draft.note(
            where, "without policyd.conf every module counts as on, with its usual texts; greylisting needs its times"
        )
    draft.note(where, "what policyd has counted and seen (triplet, helo, throttle_from_instance) is not carried over")
