"""Whether the smtpd_policy_service_ parameters of a call site are sane: findings of `forkpolicy check --postfix`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from forkpolicy.commands.check_postfix.setup import GOOD_CALL, about
from forkpolicy.errors import Diagnostic, nearest
from forkpolicy.postfix.lists import split_list
from forkpolicy.protocol.reply import parse_reply
from forkpolicy.redis_urls import is_redis_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from forkpolicy.commands.check_postfix.setup import Setup
    from forkpolicy.postfix.restrictions import CallSite

# smtpd waits for a reply twice, with a second in between, before it gives up.
LONGEST_SANE_TIMEOUT_S = 30
TIME = re.compile(r"(\d+)([smhdw]?)", re.ASCII)
UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "": 1}

# What smtpd accepts in the braces; with any other option, or a time that is not valid, it ends at its start.
TIMES = frozenset({"timeout", "max_idle", "max_ttl", "retry_delay"})
KNOWN = TIMES | {"request_limit", "try_limit", "default_action", "policy_context"}


def _fatal(setup: Setup, site: CallSite) -> Iterator[Diagnostic]:
    for name in sorted(site.in_braces - KNOWN):
        near = nearest(name, KNOWN)
        hint = f'did you mean "{near}"?' if near else f"known are {', '.join(sorted(KNOWN))}"
        message = f'"{name}" is not an option of check_policy_service: smtpd does not start, and no client is served'
        yield about(setup, site, site.list_name, message, hint, "error")
    timeout = site.option("timeout")
    if timeout and not TIME.fullmatch(timeout):
        message = f'"{timeout}" is not a valid time for timeout: smtpd does not start, and no client is served'
        yield about(setup, site, site.parameter_of("timeout"), message, f"write {GOOD_CALL}", "error")


def _timeout(setup: Setup, site: CallSite) -> Iterator[Diagnostic]:
    timeout_s = _seconds(site.option("timeout"))
    if timeout_s > LONGEST_SANE_TIMEOUT_S:
        message = f"a server that does not reply holds each smtpd for {2 * timeout_s + 1} s (timeout {timeout_s} s)"
        yield about(setup, site, site.parameter_of("timeout"), message, f"write {GOOD_CALL}")


def _budget(setup: Setup, site: CallSite) -> Iterator[Diagnostic]:
    """Whether smtpd waits for as long as a request may."""
    model, state = setup.model, setup.settings.state
    if (
        site not in setup.ours
        or model is None
        or not (model.asks_world or (model.remembers and is_redis_url(state.url)))
    ):
        return
    timeout_s = _seconds(site.option("timeout"))
    if state.budget + 1 >= timeout_s:
        message = f"smtpd waits {timeout_s} s for a reply, and a request may wait {state.budget:g} s for what it asks"
        hint = f"set a timeout above {state.budget + 1:g}s, or [state] budget below {timeout_s - 1}"
        yield about(setup, site, site.parameter_of("timeout"), message, hint)


def _tries(setup: Setup, site: CallSite) -> Iterator[Diagnostic]:
    if site.option("try_limit") == "1":
        message = "try_limit 1: a lost connection is not opened again within an SMTP session, so that every later"
        message += " recipient gets the default action"
        yield about(setup, site, site.parameter_of("try_limit"), message, "leave it at 2, its default", "error")
    limit = site.option("request_limit")
    if limit not in ("0", ""):
        message = f"request_limit {limit}: a new connection after every {limit} requests, without any use"
        hint = "leave it at 0: forkpolicy keeps connections as long as Postfix does"
        yield about(setup, site, site.parameter_of("request_limit"), message, hint)


def _default_action(setup: Setup, site: CallSite) -> Iterator[Diagnostic]:
    action, parameter = site.option("default_action"), site.parameter_of("default_action")
    if action.startswith("{"):
        message = f"default_action {action} is an unknown restriction to Postfix: clients get 451 4.3.5"
        hint = "write { default_action = 451 4.7.1 text } in its own braces"
        yield about(setup, site, parameter, message, hint, "error")
    elif action.startswith("451 4.3.5 Server configuration"):
        message = 'while the policy server is down, clients get "Server configuration problem"'
        hint = "set default_action to a text of your own, or to DUNNO to accept mail unchecked"
        yield about(setup, site, parameter, message, hint)
    else:
        yield from _odd_action(setup, site, action, parameter)


def _odd_action(setup: Setup, site: CallSite, action: str, parameter: str) -> Iterator[Diagnostic]:
    classes = split_list(setup.postfix.parameters["smtpd_restriction_classes"])
    if action.partition(" ")[0] in classes:
        return
    try:
        reply = parse_reply(action)
    except ValueError as error:
        yield about(setup, site, parameter, f"default_action: {error}", f"write {GOOD_CALL}", "error")
        return
    if reply.verb in ("OK", "RELAY") or reply.text.startswith("permit"):
        message = f"default_action {action}: while the policy server is down, the restrictions after it are skipped"
        yield about(setup, site, parameter, message, "DUNNO continues with them")


def _idle(setup: Setup, site: CallSite) -> Iterator[Diagnostic]:
    idle_s, kept_s = (
        setup.settings.server.idle_timeout,
        _seconds(setup.postfix.parameters["smtpd_policy_service_max_idle"]),
    )
    if idle_s <= kept_s and site is setup.ours[0]:
        message = f"idle_timeout ends a connection after {idle_s:g} s, and Postfix keeps it for {kept_s} s: "
        hint = f"[server] idle_timeout above {kept_s}"
        yield Diagnostic(
            setup.settings.path, 0, 0, message + "each costs its smtpd a second", hint=hint, severity="warning"
        )


OPTION_CHECKS: tuple[Callable[[Setup, CallSite], Iterator[Diagnostic]], ...] = (
    _fatal,
    _timeout,
    _budget,
    _tries,
    _default_action,
    _idle,
)


def _seconds(text: str) -> int:
    found = TIME.fullmatch(text)
    return int(found[1]) * UNITS_S[found[2]] if found else 0
