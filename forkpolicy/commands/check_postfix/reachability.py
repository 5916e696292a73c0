"""Which rules of a policy can never fire with a Postfix: findings of `forkpolicy check --postfix`.

A rule needs a call site that asks at a state at which it can fire, with the policy_context that it asks for, and that
no `permit_...` in front of it keeps its clients from. Reports nothing where tables or expressions may decide.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from forkpolicy.policy.checks.rules import about, asks_others, fits_context, is_of_held_mail, states_of_rule
from forkpolicy.policy.matchers.guards import Networks
from forkpolicy.protocol.attributes import STATES, attribute
from forkpolicy.protocol.reply import WHOLE_MESSAGE
from forkpolicy.tables.keys import parse_network_spec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from forkpolicy.errors import Diagnostic
    from forkpolicy.policy.model import Acl, Model, Rule
    from forkpolicy.postfix.parameters import Postfix
    from forkpolicy.postfix.restrictions import CallSite

# The list to ask in, for a state.
LIST_FOR = {"DATA": "smtpd_data_restrictions", "END-OF-MESSAGE": "smtpd_end_of_data_restrictions"}
LOGIN = frozenset({"sasl_username", "sasl_method", "sasl_sender"})
AT_END = "END-OF-MESSAGE"
BEFORE_MAIL = frozenset({"CONNECT", "EHLO", "HELO"})


def line_findings(postfix: Postfix, call_sites: Sequence[CallSite], model: Model) -> Iterator[Diagnostic]:
    """Every finding about rules; not one by one, so that ten thousand cost little."""
    inside = _Inside(postfix)
    version = _version(postfix.parameters.get("mail_version", ""))
    for line in model.rules:
        states = states_of_rule(line)
        if not states or is_of_held_mail(line):
            # Every check reports the former, whatever the Postfix; the latter is for the store.
            continue
        asked = [site for site in call_sites if states & set(site.states)]
        never = _never(line, states, asked, call_sites, inside) or _too_new(line, version)
        if never:
            yield about(line, f"this rule never fires with this Postfix: {never[0]}", never[1])
        elif line.action.verb in WHOLE_MESSAGE:
            yield from _ignored(line, asked)
        elif line.action.verb == "PREPEND":
            yield from _too_late(line, states, asked)


def _never(
    line: Rule, states: set[str], asked: list[CallSite], call_sites: Sequence[CallSite], inside: _Inside
) -> tuple[str, str] | None:
    if not asked:
        reached = {state for site in call_sites for state in site.states}
        place = next((LIST_FOR[state] for state in LIST_FOR if state in states), "")
        hint = f"it could fire at {_words(states)}"
        return f"Postfix asks only at {_words(reached)}", f"{hint}: ask in {place}, too" if place else hint
    fitting = [site for site in asked if context_fits(line, site)]
    if not fitting:
        contexts = sorted({site.option("policy_context") or "none" for site in asked})
        return f"policy_context is only {', '.join(contexts)}", "set it in the braces of check_policy_service"
    blocks = [_blocking(line, site, inside) for site in fitting]
    if all(blocks):
        return f"{blocks[0]} has already accepted its clients", "put check_policy_service before it"
    return None


def context_fits(line: Rule, site: CallSite) -> bool:
    """Whether a rule can fire with the policy_context of a call site."""
    return fits_context(line, site.option("policy_context"))


def _blocking(line: Rule, site: CallSite, inside: _Inside) -> str:
    if "permit_sasl_authenticated" in site.before and any(_asks_for_login(acl, not_) for acl, not_ in line.terms):
        return "permit_sasl_authenticated"
    if "permit_mynetworks" in site.before and any(inside.has(acl) for acl, not_ in line.terms if not not_):
        return "permit_mynetworks"
    return ""


def _asks_for_login(acl: Acl, negated: bool) -> bool:
    """Whether it holds only for authenticated clients."""
    if negated or not acl.attributes or not LOGIN.issuperset(acl.attributes) or asks_others(acl):
        return False
    return acl.find(dict.fromkeys(acl.attributes, "")) is None


class _Inside:
    """The plain networks of mynetworks. With an exclusion or a table among them it is not known what is inside."""

    def __init__(self, postfix: Postfix) -> None:
        self.ranges: list[tuple[bytes, bytes]] = []
        for word in re.split(r"[,\s]+", postfix.parameters.get("mynetworks", "").strip()):
            if word.startswith("!"):
                self.ranges = []
                return
            try:
                self.ranges += parse_network_spec(word)
            except ValueError:
                # A table, a file, or what only Postfix accepts.
                continue

    def has(self, acl: Acl) -> bool:
        """Whether it holds for clients of mynetworks only."""
        guards = [matcher.guard() for each in acl.alternatives for matcher in each.matchers]
        networks = [each for each in guards if isinstance(each, Networks)]
        if acl.attributes != ("client_address",) or len(networks) < max(1, len(guards)):
            return False
        ranges = [span for each in networks for span in each.ranges]
        return all(any(low <= first and last <= high for low, high in self.ranges) for first, last in ranges)


def _too_new(line: Rule, version: tuple[int, ...]) -> tuple[str, str] | None:
    for acl, negated in line.terms:
        for name in acl.attributes:
            since = attribute(name).since
            if version and since and _version(since) > version and not negated and _needs_value(acl, name):
                return f"{name} is sent only by Postfix {since} and later", f"this is {version[0]}.{version[1]}"
    return None


def _needs_value(acl: Acl, name: str) -> bool:
    """Whether an ACL can hold only where the attribute has a value."""
    return acl.attributes == (name,) and not asks_others(acl) and acl.find({name: ""}) is None


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(each) for each in re.findall(r"\d+", text)[:2])


def _ignored(line: Rule, asked: list[CallSite]) -> Iterator[Diagnostic]:
    verb = line.action.verb
    if all(BEFORE_MAIL.issuperset(site.states) for site in asked):
        message = f"Postfix ignores {verb} in {', '.join(sorted({site.list_name for site in asked}))}"
        yield about(line, f"{message} with smtpd_delay_reject = no", "ask in smtpd_recipient_restrictions")
    elif all(site.proxied for site in asked):
        yield about(line, f"Postfix ignores {verb} with smtpd_proxy_filter")


def _too_late(line: Rule, states: set[str], asked: list[CallSite]) -> Iterator[Diagnostic]:
    """A header that comes after the message. For a rule that fires nowhere else every check reports it."""
    if states != {AT_END} and all(states.intersection(site.states) == {AT_END} for site in asked):
        message = "Postfix ignores PREPEND at END-OF-MESSAGE, the only state at which it asks for this rule: it warns"
        hint = "ask in smtpd_data_restrictions, or for a recipient in smtpd_recipient_restrictions"
        yield about(line, f"{message} and delivers without the header", hint)


def _words(states: set[str]) -> str:
    return ", ".join(state for state in STATES if state in states)
