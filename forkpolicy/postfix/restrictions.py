"""The restriction lists of smtpd(8), and each `check_policy_service` in them, a call site of a policy service.

A list is evaluated word by word, and a restriction class stands for its words. With `smtpd_delay_reject = yes`, the
default, the lists about client, HELO and sender are evaluated when a recipient is given.

Facts only, which commands/check_postfix judges; does no I/O.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from forkpolicy.postfix.lists import split_list
from forkpolicy.protocol.attributes import STATES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from forkpolicy.postfix.parameters import Postfix, Smtpd

# Each restriction list, and the protocol states at which it is evaluated when nothing delays it.
LISTS = {
    "smtpd_client_restrictions": ("CONNECT",),
    "smtpd_helo_restrictions": ("EHLO", "HELO"),
    "smtpd_sender_restrictions": ("MAIL",),
    "smtpd_relay_restrictions": ("RCPT", "VRFY"),
    "smtpd_recipient_restrictions": ("RCPT", "VRFY"),
    "smtpd_data_restrictions": ("DATA",),
    "smtpd_end_of_data_restrictions": ("END-OF-MESSAGE",),
    "smtpd_etrn_restrictions": ("ETRN",),
}
DELAYED = {
    "smtpd_client_restrictions": ("RCPT", "VRFY", "ETRN"),
    "smtpd_helo_restrictions": ("RCPT", "VRFY", "ETRN"),
    "smtpd_sender_restrictions": ("RCPT", "VRFY"),
}
RELAYING = ("smtpd_relay_restrictions", "smtpd_recipient_restrictions")
# What keeps a list from accepting mail for any destination.
CLOSING = frozenset({"reject_unauth_destination", "defer_unauth_destination", "reject", "defer"})
# In the order in which they are evaluated for a recipient.
AT_RCPT = (*DELAYED, *RELAYING)
UNLISTED = "reject_unlisted_recipient"
OPTIONS = ("default_action", "timeout", "try_limit", "request_limit", "policy_context")
CHECK = "check_policy_service"


@dataclass(frozen=True, slots=True)
class CallSite:
    """One `check_policy_service` in one list, of every service that has it so.

    `before`: the words before it; `in_braces`: options next to the endpoint; `own`: parameters that
    the services set in master.cf. `list_name` is a restriction class where only an access table leads to it.
    """

    services: tuple[str, ...]
    list_name: str
    endpoint: str
    options: tuple[tuple[str, str], ...]
    in_braces: frozenset[str]
    before: tuple[str, ...]
    states: tuple[str, ...]
    own: frozenset[str]
    chrooted: bool
    relay_is_open: bool
    proxied: bool
    # What may still refuse a recipient after the policy's reply, at the same command.
    refusing_after: tuple[str, ...] = ()

    @property
    def service(self) -> str:
        """The services in words."""
        return ", ".join(self.services)

    def option(self, name: str) -> str:
        """The value of a smtpd_policy_service_ parameter, as it counts here."""
        return dict(self.options)[name]

    def parameter_of(self, option: str) -> str:
        """The parameter in which an option stands."""
        return self.list_name if option in self.in_braces else f"smtpd_policy_service_{option}"


def find_call_sites(postfix: Postfix) -> list[CallSite]:
    """Every call site; one that several services share, once."""
    merged: dict[CallSite, list[str]] = {}
    for service in postfix.services:
        for site in _call_sites_of(service):
            merged.setdefault(replace(site, services=()), []).append(service.name)
    return [replace(site, services=tuple(dict.fromkeys(names))) for site, names in merged.items()]


def _call_sites_of(service: Smtpd) -> Iterator[CallSite]:
    values = service.values
    classes = {name: split_list(values.get(name, "")) for name in split_list(values["smtpd_restriction_classes"])}
    lists = {name: list(_expanded(split_list(values.get(name, "")), classes)) for name in LISTS}
    for name, words in lists.items():
        others = {word for each in RELAYING if each != name for word in lists[each]}
        for site in _in_list(service, name, words, others):
            yield replace(site, refusing_after=_refusing_after(site, lists, values))
    inlined = {word for name in LISTS for word in split_list(values.get(name, ""))}
    for name, words in classes.items():
        if name not in inlined:
            yield from _in_list(service, name, words, CLOSING)


def _expanded(words: Iterable[str], classes: Mapping[str, list[str]], depth: int = 0) -> Iterator[str]:
    for word in words:
        # smtpd follows classes in classes, too; one that contains itself is for Postfix to report.
        if word in classes and depth < len(classes):
            yield from _expanded(classes[word], classes, depth + 1)
        else:
            yield word


def _in_list(service: Smtpd, name: str, words: list[str], other_words: Iterable[str]) -> Iterator[CallSite]:
    values = service.values
    for at, word in enumerate(words):
        if word.lower() != CHECK:
            continue
        endpoint, braces = parse_service(words[at + 1] if at + 1 < len(words) else "")
        options = tuple((each, braces.get(each, values.get(f"smtpd_policy_service_{each}", ""))) for each in OPTIONS)
        before = tuple(each.lower() for each in words[:at])
        relevant = {name, "smtpd_delay_reject", *(f"smtpd_policy_service_{each}" for each in OPTIONS)}
        yield CallSite(
            services=(),
            list_name=name,
            endpoint=endpoint,
            options=options,
            in_braces=frozenset(braces),
            before=before,
            states=_states(name, values),
            own=service.own & relevant,
            chrooted=service.chrooted,
            relay_is_open=name in RELAYING and CLOSING.isdisjoint((*before, *other_words)),
            proxied=bool(values.get("smtpd_proxy_filter")),
        )


def _refusing_after(site: CallSite, lists: Mapping[str, list[str]], values: Mapping[str, str]) -> tuple[str, ...]:
    """What may refuse a recipient behind a call site about a recipient: in its list, in those that smtpd evaluates
    later, and, without a restriction, the check whether the recipient exists.
    """
    if "RCPT" not in site.states:
        return ()
    order = list(AT_RCPT)
    if values.get("smtpd_relay_before_recipient_restrictions") == "no":
        order[-2:] = reversed(order[-2:])
    at = order.index(site.list_name)
    after = [
        *lists[site.list_name][len(site.before) + 2 :],
        *(word for name in order[at + 1 :] for word in lists[name]),
    ]
    before = [*site.before, *(word for name in order[:at] for word in lists[name])]
    refusing = [word for word in map(str.lower, after) if _refuses_recipients(word)]
    if values.get("smtpd_reject_unlisted_recipient") == "yes" and UNLISTED not in (*before, *refusing):
        refusing.append("smtpd_reject_unlisted_recipient")
    return tuple(dict.fromkeys(refusing))


def _refuses_recipients(word: str) -> bool:
    """Whether a restriction refuses one recipient and not another."""
    return (
        word == CHECK
        or word.endswith("_unauth_destination")
        or re.match("(reject|check)_.*recipient", word) is not None
    )


def _states(name: str, values: Mapping[str, str]) -> tuple[str, ...]:
    delayed = values["smtpd_delay_reject"] == "yes"
    states = DELAYED[name] if delayed and name in DELAYED else LISTS.get(name, STATES)
    return tuple(state for state in states if state != "VRFY" or values.get("disable_vrfy_command") != "yes")


def parse_service(word: str) -> tuple[str, dict[str, str]]:
    """Endpoint and options of `unix:path` or of `{ unix:path, name=value, { name = value } }`. What lacks its closing
    brace comes back as it stands.
    """
    if not (word.startswith("{") and word.endswith("}")):
        return word, {}
    endpoint, *rest = split_list(word[1:-1]) or [""]
    options = {}
    for each in rest:
        inner = each[1:-1] if each.startswith("{") and each.endswith("}") else each
        name, _, value = inner.partition("=")
        options[name.strip()] = value.strip()
    return endpoint, options
