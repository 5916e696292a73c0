"""Whether a Postfix asks this policy where it should: findings of `forkpolicy check --postfix`, an ordered list.

Every finding names the file and the parameter, what happens, and what to write instead. `reachability` has the
findings about rules of the policy. Reads the socket's file and directories, nothing else.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from forkpolicy.commands.check_postfix.lasting_actions import acting_despite_warn_if_reject, lasting_actions
from forkpolicy.commands.check_postfix.mail_addresses import address_findings
from forkpolicy.commands.check_postfix.parameters import OPTION_CHECKS
from forkpolicy.commands.check_postfix.reachability import line_findings
from forkpolicy.commands.check_postfix.setup import GOOD_CALL, Finding, about, inet_text, listening, socket_of, spot_of
from forkpolicy.commands.check_postfix.socketfile import why_no_connection
from forkpolicy.errors import Diagnostic, nearest
from forkpolicy.policy.checks.rules import is_of_held_mail, may_permit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from forkpolicy.commands.check_postfix.setup import Setup
    from forkpolicy.policy.model import Model
    from forkpolicy.postfix.restrictions import CallSite

PERMITTING = {
    "permit_mynetworks": "requests from mynetworks never reach it",
    "permit_inet_interfaces": "requests from this machine never reach it",
    "permit_sasl_authenticated": "requests of authenticated clients never reach it",
    "permit_tls_clientcerts": "requests of clients with a certificate in relay_clientcerts never reach it",
    "permit_tls_all_clientcerts": "requests of clients with a certificate never reach it",
    "permit_auth_destination": "requests about mail to your own domains never reach it",
}
# By the type of an ACL that exempts these clients when it is negated.
EXEMPTED = {
    "permit_mynetworks": "client_address",
    "permit_inet_interfaces": "client_address",
    "permit_sasl_authenticated": "authenticated",
}
ENDING = frozenset({"permit", "reject", "defer"})
# One or two characters differ from a socket of ours, as difflib measures it.
NEARLY_OURS = 0.9


def find_findings(setup: Setup) -> Iterator[Diagnostic]:
    """Every finding, in order."""
    for site in setup.call_sites:
        yield from _without_type(setup, site)
        if site not in setup.ours:
            yield from _asks_in_vain(setup, site)
    if not setup.ours:
        yield _never_asked(setup)
        return
    for site in setup.ours:
        for check in CALL_SITE_CHECKS:
            yield from check(setup, site)
    yield from _asked_twice(setup)
    yield from _rights(setup)
    yield from _delimiter(setup)
    yield from address_findings(setup)
    if setup.model:
        yield from line_findings(setup.postfix, setup.ours, setup.model)


def describe(setup: Setup) -> list[dict[str, object]]:
    """Which server each smtpd service of master.cf asks, and when; also that it asks none."""
    asking = {name for site in setup.call_sites for name in site.services}
    silent = [each.name for each in setup.postfix.services if each.name not in asking]
    described: list[dict[str, object]] = [
        {
            "services": list(site.services),
            "file": spot_of(setup, site, site.list_name)[0],
            "parameter": site.list_name,
            "endpoint": site.endpoint,
            "ours": site in setup.ours,
            "states": list(site.states),
            "policy_context": site.option("policy_context"),
            "text": _in_words(site) + ("" if site in setup.ours else ", which is not this policy"),
        }
        for site in setup.call_sites
    ]
    if silent:
        asks_none = {
            "services": silent,
            "endpoint": "",
            "ours": False,
            "text": f"{', '.join(silent)}: asks no policy server",
        }
        described.append(asks_none)
    return described


def _asks_in_vain(setup: Setup, site: CallSite) -> Iterator[Diagnostic]:
    """A server that is asked, is not ours, and does not exist: most often a typing error."""
    kind, _, rest = site.endpoint.partition(":")
    ours = sorted(listening(setup.settings))
    if kind == "inet":
        near = nearest(inet_text(rest), ours, NEARLY_OURS)
        if near:
            message = f"{site.endpoint} is not a socket of this policy"
            yield about(setup, site, site.list_name, message, f'did you mean "inet:{near}"?')
    elif kind == "unix" and rest:
        path = Path(setup.postfix.parameters["queue_directory"], rest.lstrip("/") if site.chrooted else rest)
        # It may exist where we may not look.
        if os.access(path.parent, os.X_OK) and not path.exists():
            near = nearest(str(path), ours, NEARLY_OURS)
            hint = f"did you mean {near}?" if near else f"this policy listens on {', '.join(ours)}"
            message = f"{site.endpoint} is {path}, which does not exist: clients get the default action"
            yield about(setup, site, site.list_name, message, hint)


def _in_words(site: CallSite) -> str:
    context = site.option("policy_context")
    with_context = f", policy_context {context}" if context else ""
    when = f"at {', '.join(site.states)}" if site.list_name.startswith("smtpd_") else "when an access table says so"
    return f"{site.service}: {site.list_name} asks {site.endpoint} {when}{with_context}"


def _without_type(setup: Setup, site: CallSite) -> Iterator[Diagnostic]:
    endpoint = site.endpoint
    if not endpoint:
        message = "check_policy_service has no server after it: smtpd replies 451 4.3.5 to every client"
        yield about(setup, site, site.list_name, message, f"write {GOOD_CALL}", "error")
    elif endpoint.startswith("{"):
        # fatal: policy service syntax error (3.7.11).
        message = f"no brace closes {endpoint}: smtpd does not start, and no client is served"
        yield about(setup, site, site.list_name, message, f"write {GOOD_CALL}", "error")
    elif not re.match(r"(unix|inet):.", endpoint):
        message = f'"{endpoint}" has no type: smtpd ends with "fatal:" and no client gets a reply'
        meant = f"inet:{endpoint}" if re.search(r":\d+$", endpoint) else f"unix:{endpoint}"
        yield about(setup, site, site.list_name, message, f"write {meant}", "error")


def _never_asked(setup: Setup) -> Diagnostic:
    sockets = ", ".join(setup.settings.server.listen)
    message = f"no smtpd service asks this policy: no check_policy_service names {sockets}"
    queue = setup.postfix.parameters["queue_directory"]
    if setup.call_sites:
        others = ", ".join(dict.fromkeys(f"{site.endpoint} ({site.list_name})" for site in setup.call_sites))
        hint = f"asked instead: {others}; relative paths are below {queue}"
        first = setup.call_sites[0]
        path, line, source = spot_of(setup, first, first.list_name)
        return Finding(path, line, 0, message, source, 1, hint, "warning", first.list_name)
    hint = f"smtpd_recipient_restrictions = {GOOD_CALL}, ..."
    path = setup.postfix.spot("smtpd_recipient_restrictions").path
    return Finding(path, 0, 0, message, "", 1, hint, "warning", "smtpd_recipient_restrictions")


def _order(setup: Setup, site: CallSite) -> Iterator[Diagnostic]:
    for word in dict.fromkeys(site.before):
        if word in ENDING:
            message = f"{word} stands before check_policy_service: no request ever reaches it"
            yield about(setup, site, site.list_name, message, f"put check_policy_service before {word}", "error")
        elif word.startswith("permit_") and not _exempts(setup.model, word):
            consequence = PERMITTING.get(word, f"requests that {word} permits never reach it")
            hint = f"if the policy should decide about them, put check_policy_service before {word}"
            yield about(setup, site, site.list_name, f"{word} stands before check_policy_service: {consequence}", hint)


def _exempts(model: Model | None, word: str) -> bool:
    """Whether every rule leaves alone the clients that a word permits, so that nothing is lost when it is not asked."""
    if not (word in EXEMPTED and model and model.rules and model.default_rule.action.verb == "DUNNO"):
        return False
    return all(any(negated and acl.type_name == EXEMPTED[word] for acl, negated in rule.terms) for rule in model.rules)


def _open_relay(setup: Setup, site: CallSite) -> Iterator[Diagnostic]:
    if not (site.relay_is_open and setup.model):
        return
    rules = (rule for rule in setup.model.rules if not is_of_held_mail(rule))
    lets_in = next((line for line in (*rules, setup.model.default_rule) if may_permit(line.action)), None)
    if lets_in:
        message = f"nothing rejects foreign destinations before the policy, and {lets_in.where} may reply "
        message += f"{lets_in.action.reply.text.split()[0]}: an open relay"
        hint = "put reject_unauth_destination before check_policy_service, or let the policy reply DUNNO"
        yield about(setup, site, site.list_name, message, hint, "error")


def _chroot(setup: Setup, site: CallSite) -> Iterator[Diagnostic]:
    inside = Path(setup.postfix.parameters["queue_directory"] + site.endpoint.removeprefix("unix:"))
    if site.chrooted and site.endpoint.startswith("unix:/") and str(inside) not in listening(setup.settings):
        message = f"{site.service} runs in a chroot, where the absolute path {site.endpoint} does not exist"
        hint = "use a path relative to the queue directory: unix:private/policy works with and without chroot"
        yield about(setup, site, site.list_name, message, hint, "error")


def _asked_twice(setup: Setup) -> Iterator[Diagnostic]:
    """Several lists at one state, which the policy cannot distinguish."""
    seen: dict[tuple[str, str, str], CallSite] = {}
    reported = set()
    for site in setup.ours:
        for service in site.services:
            first = seen.setdefault((service, site.states[0], site.option("policy_context")), site)
            if first is not site and site not in reported and site.list_name.startswith("smtpd_"):
                reported.add(site)
                message = f"{first.list_name} asks at {site.states[0]}, too: every request is sent twice"
                yield about(
                    setup, site, site.list_name, message, "one is enough, or give them different policy_context values"
                )


def _rights(setup: Setup) -> Iterator[Diagnostic]:
    owner, root = setup.postfix.parameters["mail_owner"], Path("/")
    reported = set()
    for site in setup.ours:
        socket = socket_of(site, setup.postfix, setup.settings)
        if not socket.startswith("/"):
            continue
        relative = not site.endpoint.startswith("unix:/")
        # smtpd works in the queue directory, and has entered it as root.
        below = Path(setup.postfix.parameters["queue_directory"]) if relative else root
        why = why_no_connection(Path(socket), below, owner, setup.settings.server)
        if why and why not in reported:
            reported.add(why)
            message, hint = why
            yield Diagnostic(setup.settings.path, 0, 0, message, hint=hint)


def _delimiter(setup: Setup) -> Iterator[Diagnostic]:
    theirs, ours = setup.postfix.parameters["recipient_delimiter"], setup.settings.mail.recipient_delimiter
    if theirs != ours:
        message = f'recipient_delimiter is "{theirs}" in Postfix and "{ours}" here'
        hint = f'[mail] recipient_delimiter = "{theirs}"'
        yield Diagnostic(setup.settings.path, 0, 0, message, hint=hint, severity="warning")


CALL_SITE_CHECKS: tuple[Callable[[Setup, CallSite], Iterator[Diagnostic]], ...] = (
    _order,
    _open_relay,
    *OPTION_CHECKS,
    _chroot,
    lasting_actions,
    acting_despite_warn_if_reject,
)
