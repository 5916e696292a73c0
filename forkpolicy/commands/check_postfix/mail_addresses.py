"""Whether `[mail]` and the policy's tables know what this Postfix makes of addresses: findings of `check --postfix`.

Each finding says what to write. Reads the policy's tables, and what postfix/own_names.py reads; domains in Postfix's
maps are left to `postconf:` sources.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from forkpolicy.commands.check_postfix.setup import about
from forkpolicy.errors import Diagnostic
from forkpolicy.postfix.lists import split_list
from forkpolicy.postfix.own_names import appended_domain, is_name, local_names, origin, own_addresses, second_form
from forkpolicy.tables.keys import fold_domain, ip_key
from forkpolicy.tables.kinds import KINDS
from forkpolicy.tables.live_table import LiveTable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from forkpolicy.commands.check_postfix.setup import Setup
    from forkpolicy.policy.model import Model
    from forkpolicy.postfix.restrictions import CallSite

# What `rewriting = "postfix"` assumes; all of these are Postfix's defaults.
ASSUMED = {
    "append_at_myorigin": "yes",
    "swap_bangpath": "yes",
    "allow_percent_hack": "yes",
    "resolve_dequoted_address": "yes",
    "resolve_numeric_domain": "no",
}
LOCALHOST = re.compile(r"localhost(\..*)?")
# In the order in which smtpd(8) asks them when a recipient is given.
LISTS = (
    *("smtpd_client_restrictions", "smtpd_helo_restrictions", "smtpd_sender_restrictions"),
    *("smtpd_relay_restrictions", "smtpd_recipient_restrictions"),
)
FULL = ("reject_non_fqdn_sender", "reject_non_fqdn_recipient")
DOMAINS = ("mydestination", "virtual_mailbox_domains", "virtual_alias_domains", "relay_domains")
ADDRESSES = frozenset({"sender", "recipient"})


def address_findings(setup: Setup) -> Iterator[Diagnostic]:
    """Every finding; none where the policy asks about no address."""
    model = setup.model
    if model and ADDRESSES.isdisjoint(name for acl in model.acls.values() for name in acl.attributes):
        return
    for site in setup.ours:
        yield from _in_front(setup, site)
    if setup.settings.mail.rewriting == "none":
        message = (
            'rewriting = "none": policies see addresses as the client sent them, and Postfix rewrites them afterwards'
        )
        yield _warning(
            setup, message, f'[mail] rewriting = "postfix" and myorigin = "{origin(setup.postfix.parameters)}"'
        )
    else:
        yield from _settings(setup)
    if model:
        yield from _tables(setup, model)


def _warning(setup: Setup, message: str, hint: str) -> Diagnostic:
    return Diagnostic(setup.settings.path, 0, 0, message, hint=hint, severity="warning")


def _in_front(setup: Setup, site: CallSite) -> Iterator[Diagnostic]:
    """Addresses without a full domain that reach the policy."""
    if site.list_name not in LISTS or "RCPT" not in site.states:
        return
    earlier = LISTS[: LISTS.index(site.list_name)]
    for service in setup.postfix.services:
        if service.name not in site.services:
            continue
        words = {*site.before, *(word for name in earlier for word in split_list(service.values.get(name, "")))}
        missing = [word for word in FULL if word not in words]
        if missing:
            message = f"{' and '.join(missing)} not before the policy: it is asked about addresses without a domain"
            hint = f"write {' '.join(missing)} before check_policy_service"
            yield about(setup, site, site.list_name, message, hint)
            return


def _settings(setup: Setup) -> Iterator[Diagnostic]:
    parameters, mail = setup.postfix.parameters, setup.settings.mail
    for name, assumed in ASSUMED.items():
        value = parameters.get(name, assumed)
        if value != assumed:
            message = f'{name} = {value} in Postfix, and rewriting = "postfix" assumes {name} = {assumed}'
            hint = f'write {name} = {assumed}, its default, or [mail] rewriting = "none" where no address is rewritten'
            yield _warning(setup, message, hint)
    wanted = {
        "myorigin": origin(parameters),
        "mydomain": appended_domain(parameters),
    }
    for name, theirs in wanted.items():
        ours = getattr(mail, name)
        if fold_domain(ours) != fold_domain(theirs):
            shown = "append_dot_mydomain is no" if theirs == "-" else f'{name} is "{theirs}"'
            yield _warning(setup, f'{shown} in Postfix, and {name} is "{ours}" here', f'[mail] {name} = "{theirs}"')
    yield from _lists(setup)


def _lists(setup: Setup) -> Iterator[Diagnostic]:
    parameters, mail = setup.postfix.parameters, setup.settings.mail
    listed = split_list(parameters["mydestination"])
    names = [word for word in listed if is_name(word)]
    wanted = local_names(parameters)
    folded, ours = {fold_domain(name) for name in wanted}, {fold_domain(name) for name in mail.local_domains}
    if len(names) < len(listed):
        # The domains in maps are not visible here: more than the plain ones are fine.
        ours &= folded
    if folded - {"localhost"} != ours - {"localhost"}:
        here = ", ".join(mail.local_domains) or "nothing"
        message = f"mydestination has {', '.join(names) or 'no plain name'} in Postfix, and local_domains has {here}"
        hint = f"[mail] local_domains = {json.dumps(wanted, ensure_ascii=False)}"
        yield _warning(setup, message, hint)
    theirs = own_addresses(parameters)
    missing = {ip_key(each) for each in theirs} - {ip_key(each) for each in mail.local_addresses}
    if missing:
        shown = ", ".join(f"[{each}]" for each in theirs)
        message = f"Postfix treats {shown} as this machine's, and local_addresses lacks {len(missing)} of them"
        yield _warning(setup, message, f"[mail] local_addresses = {json.dumps(theirs)}")


def _tables(setup: Setup, model: Model) -> Iterator[Diagnostic]:
    """Domains of Postfix that a table of local domains lacks: one that is asked about senders and recipients."""
    asked: dict[str, set[str]] = {}
    slots: dict[str, LiveTable] = {}
    for acl in model.acls.values():
        for matcher in acl.matchers:
            table = matcher.lookup
            if len(matcher.attributes) == 1 and isinstance(table, LiveTable) and KINDS[table.kind].has_domains_alone:
                slots[table.name] = table
                asked.setdefault(table.name, set()).update(matcher.attributes)
    for name, slot in slots.items():
        if asked[name] >= ADDRESSES:
            slot.refresh()
            if slot.table:
                yield from _lacks(setup, name, [each for each in _domains(setup) if slot.find(each[0]) is None])
            slot.close()


def _domains(setup: Setup) -> list[tuple[str, str, str]]:
    """(domain, the parameter that has it, its spelling there), each domain once; localhost is seen as myorigin."""
    parameters = setup.postfix.parameters
    appended = origin(parameters)
    found = {appended: (appended, "myorigin", appended)} if appended else {}
    for parameter in DOMAINS:
        for word in split_list(parameters.get(parameter, "")):
            if is_name(word) and not LOCALHOST.fullmatch(word.lower()) and word[0] not in ".[":
                for domain in filter(None, (word, second_form(parameters, word))):
                    found.setdefault(domain, (domain, parameter, word))
    return list(found.values())


def _lacks(setup: Setup, table: str, missing: Iterable[tuple[str, str, str]]) -> Iterator[Diagnostic]:
    for domain, parameter, word in missing:
        if word == domain:
            message = f'{parameter} has {domain}, and table "{table}" does not: its mail is not local to the policy'
            hint = f"add it to the table's source, or add the source postconf:{parameter}"
        else:
            message = (
                f'{parameter} has {word}, for which Postfix also takes mail to {domain}, and table "{table}" lacks it'
            )
            hint = f"add {domain} to the table's source"
        if parameter == "relay_domains":
            hint += "; a domain for which you are backup MX may be missing on purpose"
        yield _warning(setup, message, hint)
