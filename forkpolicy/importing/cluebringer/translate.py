"""A database of policyd version 2 (cluebringer) as a policy: its modules in the order of their priorities."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Final

from forkpolicy.importing.cluebringer.config import Config, looks_like_config, read_config
from forkpolicy.importing.cluebringer.greylisting import greylist
from forkpolicy.importing.cluebringer.helo import Helo
from forkpolicy.importing.cluebringer.logic import ALWAYS, TooManyError, both, negated, term
from forkpolicy.importing.cluebringer.policies import Policies
from forkpolicy.importing.cluebringer.quotas import Quotas
from forkpolicy.importing.cluebringer.replies import reply_of
from forkpolicy.importing.left_out import Origin
from forkpolicy.importing.sql.database import read_database

if TYPE_CHECKING:
    from forkpolicy.importing.draft import Draft
    from forkpolicy.importing.formats import Inputs
    from forkpolicy.importing.sql.database import Database

_TABLES: Final = frozenset(
    {
        *("policies", "policy_members", "policy_groups", "policy_group_members", "access_control", "checkspf"),
        *("checkhelo", "checkhelo_blacklist", "checkhelo_whitelist", "greylisting", "greylisting_whitelist"),
        *("quotas", "quotas_limits", "accounting", "amavis_rules"),
    }
)
# Modules as cluebringer.conf names them, and the table of each.
_MODULES: Final = {
    "AccessControl": "access_control",
    "CheckHelo": "checkhelo",
    "CheckSPF": "checkspf",
    "Greylisting": "greylisting",
    "Quotas": "quotas",
    "Accounting": "accounting",
}


def read(inputs: Inputs, draft: Draft) -> None:
    """Read and translate everything."""
    database = read_database(inputs, draft, _TABLES, looks_like_config)
    config = read_config(database.others[-1]) if database.others else Config()
    policies = Policies(database, draft)
    if config.is_on("accesscontrol"):
        _access_control(policies, draft)
    if config.is_on("checkhelo"):
        Helo(database, policies, draft).write()
    if config.is_on("checkspf"):
        _spf(policies, draft)
    if config.is_on("greylisting"):
        greylist(database, policies, config, draft)
    if config.is_on("quotas"):
        Quotas(database, policies, draft).write()
    _left(inputs, config, database, draft)


def _access_control(policies: Policies, draft: Draft) -> None:
    """The first row of each policy that matches; PASS ends this module alone."""
    others = ALWAYS
    seen: set[str] = set()
    for condition, row in policies.rows("access_control"):
        if row.get("policyid") in seen:
            draft.leave_out(row.origin, f"access_control {row.get('name')}", "the server takes one row of a policy")
            continue
        seen.add(row.get("policyid"))
        verdict = row.get("verdict")
        if not verdict:
            continue
        try:
            when = both(condition, others)
            if verdict.upper() == "PASS":
                others = both(others, negated(condition))
                continue
            action = draft.action(f"{verdict}_{row.get('name')}".lower(), reply_of(verdict, row.get("data")))
        except TooManyError:
            draft.leave_out(row.origin, f"access_control {row.get('name')}", "more rules than anybody wants to read")
        except ValueError as error:
            draft.leave_out(row.origin, f"access_control {row.get('name')}: {verdict} {row.get('data')}", str(error))
        else:
            for terms in when:
                draft.access(sorted(terms), action, row.origin)


def _spf(policies: Policies, draft: Draft) -> None:
    """Refuse what SPF forbids, put off what cannot be known."""
    for condition, settings, row in policies.effective("checkspf", ("usespf", "rejectfailedspf", "addspfheader")):
        if settings.get("usespf") != "1":
            continue
        if importlib.util.find_spec("spf") is None or importlib.util.find_spec("pycares") is None:
            draft.leave_out(row.origin, "checkspf", "the extra is not installed here", "pip install 'forkpolicy[dns]'")
            return
        if settings.get("addspfheader") == "1":
            nearest = "action mark PREPEND Received-SPF: {match.any_spf}, as the last rule"
            draft.leave_out(row.origin, "AddSPFHeader", "a reply that adds a header ends the policy", nearest)
        if settings.get("rejectfailedspf") == "1":
            failed = draft.acl("spf_failed", "spf", ["fail", "permerror"])
            unknown = draft.acl("spf_unknown", "spf", ["temperror"])
            for terms in both(condition, term(f"!{draft.acl('null_sender', 'null_sender', [])}")):
                draft.access([*sorted(terms), failed], draft.action("forged", "REJECT Failed SPF check"), row.origin)
                draft.access([*sorted(terms), unknown], draft.action("unsure", "DEFER Failed SPF check"), row.origin)
            draft.note(row.origin, "the reply of SPF does not have the explanation of the domain")


def _left(inputs: Inputs, config: Config, database: Database, draft: Draft) -> None:
    for row in database.rows("accounting"):
        if row.get("disabled") != "1" and config.is_on("accounting"):
            nearest = "acl NAME rate {KEY} LIMIT/1d"
            draft.leave_out(
                row.origin,
                f"accounting {row.get('name')}",
                "it counts by days, weeks and months of the calendar",
                nearest,
            )
    for row in database.rows("amavis_rules"):
        draft.leave_out(
            row.origin, f"amavis_rules of policy {row.get('policyid')}", "amavis asks for these, not Postfix"
        )
    where = Origin(inputs.paths[0])
    for module, table in _MODULES.items():
        if database.rows(table) and not config.is_on(module.lower()):
            draft.note(where, f"{table}: not carried over, since cluebringer.conf does not enable [{module}]")
    if not config.is_given:
        draft.note(where, "without cluebringer.conf every module counts as on")
    draft.note(
        where, "what was counted and seen (quotas_tracking, greylisting_tracking, session_tracking) is not carried over"
    )
