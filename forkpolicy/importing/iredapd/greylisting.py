"""Greylisting of iRedAPD: white lists, then the first setting for the recipient and the sender, on or off."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from forkpolicy.importing.iredapd import accounts
from forkpolicy.importing.iredapd.accounts import account_of
from forkpolicy.importing.iredapd.chains import Chain, Pair
from forkpolicy.importing.iredapd.lists import priority

if TYPE_CHECKING:
    from forkpolicy.importing.draft import Draft
    from forkpolicy.importing.iredapd.settings import Settings
    from forkpolicy.importing.left_out import Origin
    from forkpolicy.importing.sql.database import Database

_WHITE_LISTS = ("greylisting_whitelists", "greylisting_whitelist_domain_spf")


def greylist(database: Database, settings: Settings, draft: Draft, exempt: list[str]) -> None:
    """The rules that greylist."""
    rows = database.rows("greylisting")
    if not rows:
        return
    origin = rows[0].origin
    delay, window = settings.number("GREYLISTING_BLOCK_EXPIRE"), settings.number("GREYLISTING_UNAUTH_TRIPLET_EXPIRE")
    keep = settings.number("GREYLISTING_AUTH_TRIPLET_EXPIRE")
    if not 0 < delay < window * 1440 or not keep:
        draft.leave_out(origin, "greylisting", "its times of settings.py let nobody pass")
        return
    # Whoever has passed once passes with any mail: that is auto=1, by address.
    values = [f"delay={delay}m", f"window={window}d", f"keep={keep}d", "auto=1", "mask=/32,/128"]
    training = ["training"] if settings.is_on("GREYLISTING_TRAINING_MODE") else []
    greylisted = draft.acl("greylisted", "greylisting", [*values, *training])
    try:
        action = draft.action("greylist", f"451 4.7.1 {settings.text('GREYLISTING_MESSAGE')}")
    except ValueError as error:
        draft.leave_out(origin, "GREYLISTING_MESSAGE", str(error))
        return
    terms = [*exempt, *_white(database, draft), *_vouched(settings, draft, origin)]
    chain = Chain(draft, "greylist", ("recipient", "sender"), networks_last=False)
    before: list[str] = []
    for step in chain.steps(_settings(database, draft)):
        if "on" in step.verdicts:
            draft.access([*terms, *before, chain.acl(step, "on"), greylisted], action, origin)
        before.append(f"!{chain.acl(step)}")
    draft.note(origin, "senders that differ in numbers and extensions alone are one sender")


def _settings(database: Database, draft: Draft) -> list[Pair]:
    pairs = []
    for row in database.rows("greylisting"):
        verdict = "on" if row.get("active") == "1" else "off"
        pair = Pair(
            row.get("account"),
            row.get("sender"),
            verdict,
            row.origin,
            priority(row),
            priority(row, "sender_priority"),
        )
        if pair.second.strip().endswith(".*") or "*" in pair.second:
            draft.leave_out(row.origin, f"greylisting {pair.first} {pair.second}", "the server never finds it")
            continue
        pairs.append(pair)
    return pairs


def _white(database: Database, draft: Draft) -> list[str]:
    """Terms for those on a white list: which row it is does not matter."""
    chain = Chain(draft, "greylist_white", ("recipient", "sender"))
    pairs: list[Pair] = []
    for table in _WHITE_LISTS:
        for row in database.rows(table):
            account, sender = row.get("account"), row.get("sender")
            ranks = {
                accounts.EMAIL: 9,
                accounts.EVERYWHERE: 8,
                accounts.CLIENT: 7,
                accounts.DOMAIN: 6,
                accounts.BELOW: 5,
            }
            try:
                first, second = (ranks.get(account_of(each).kind, 0) for each in (account, sender))
            except ValueError:
                first = second = 0
            pairs.append(Pair(account, sender, "", row.origin, first, second))
    return [f"!{chain.acl(step)}" for step in chain.steps(pairs)]


def _vouched(settings: Settings, draft: Draft, origin: Origin) -> list[str]:
    """Hosts that SPF of the sender's domain names are not greylisted."""
    if not settings.is_on("GREYLISTING_BYPASS_SPF"):
        return []
    if importlib.util.find_spec("spf") is None or importlib.util.find_spec("pycares") is None:
        reason = "the extra is not installed here: hosts that SPF allows are greylisted too"
        draft.leave_out(origin, "GREYLISTING_BYPASS_SPF", reason, "pip install 'forkpolicy[dns]'")
        return []
    draft.note(origin, "iRedAPD looks for the client in parts of the SPF record; here it must pass")
    return [f"!{draft.acl('vouched', 'spf', ['pass'])}"]
