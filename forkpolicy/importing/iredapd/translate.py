"""The databases of iRedAPD and of amavisd's lists as a policy: its plugins in the order of their priorities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from forkpolicy.importing.iredapd.accounts import CLIENT, NETWORK, account_of
from forkpolicy.importing.iredapd.greylisting import greylist
from forkpolicy.importing.iredapd.lists import Lists
from forkpolicy.importing.iredapd.settings import Settings, looks_like_settings, read_settings
from forkpolicy.importing.iredapd.throttle import Throttle
from forkpolicy.importing.left_out import Origin
from forkpolicy.importing.sql.database import read_database

if TYPE_CHECKING:
    from forkpolicy.importing.draft import Draft
    from forkpolicy.importing.formats import Inputs
    from forkpolicy.importing.sql.database import Database

_TABLES: Final = frozenset(
    {
        *("wblist", "mailaddr", "users", "outbound_wblist", "wblist_rdns", "throttle", "greylisting"),
        *("greylisting_whitelists", "greylisting_whitelist_domains", "greylisting_whitelist_domain_spf"),
    }
)


def read(inputs: Inputs, draft: Draft) -> None:
    """Read and translate everything."""
    database = read_database(inputs, draft, _TABLES, looks_like_settings)
    settings = read_settings(database.others[-1]) if database.others else Settings()
    signed_in = draft.acl("signed_in", "sasl_username", ["/./"])
    trusted = draft.acl("trusted", "client_address", _trusted(settings, inputs, draft))
    lists = Lists(database, settings, draft)
    if settings.has("wblist_rdns"):
        lists.reverse_names([f"!{signed_in}", f"!{trusted}"])
    if settings.has("greylisting"):
        greylist(database, settings, draft, [f"!{signed_in}", f"!{trusted}"])
    if settings.has("throttle"):
        exempt = [f"!{trusted}"] if settings.is_on("THROTTLE_BYPASS_MYNETWORKS") else []
        Throttle(database, draft, signed_in, exempt).write()
    if settings.has("amavisd_wblist"):
        lists.mail(signed_in)
    _left(inputs, settings, database, draft)


def _trusted(settings: Settings, inputs: Inputs, draft: Draft) -> list[str]:
    """Addresses of the host itself and the networks of settings.py; `192.0.2.*` as networks."""
    networks = ["127.0.0.1", "::1"]
    for text in settings.texts("MYNETWORKS"):
        try:
            account = account_of(text)
            networks += account.patterns if account.kind in (CLIENT, NETWORK) else ()
        except ValueError as error:
            draft.leave_out(Origin(inputs.paths[-1]), f"MYNETWORKS {text}", str(error))
    return list(dict.fromkeys(networks))


def _left(inputs: Inputs, settings: Settings, database: Database, draft: Draft) -> None:
    for row in database.rows("greylisting_whitelist_domains"):
        if not database.rows("greylisting_whitelist_domain_spf"):
            nearest = "acl NAME spf pass, and a table of the domains"
            what = f"greylisting_whitelist_domains {row.get('domain')}"
            draft.leave_out(row.origin, what, "a program of iRedAPD makes networks of it, which are not there", nearest)
    where = Origin(inputs.paths[0])
    if not settings.is_given:
        draft.note(where, "without settings.py every plugin counts as on, with its defaults")
    draft.note(where, 'iRedAPD compares addresses without extension: set recipient_delimiter = "+" in [mail]')
    draft.note(where, "other plugins, alias domains, and what was counted and seen are not carried over")
