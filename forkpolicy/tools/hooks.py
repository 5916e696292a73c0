"""Whether a Postfix asks this policy where it should: findings of `forkpolicy check --postfix`.

Every finding names the file and the parameter, says what happens, and what to write instead.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from forkpolicy.errors import Complaint
from forkpolicy.policy.checks_lines import states_of_line
from forkpolicy.settings import unix_path

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkpolicy.policy.model import Model
    from forkpolicy.settings import Settings
    from forkpolicy.tools.postfix import Hook, Postfix

# smtpd waits for an answer twice, with a second in between, before it gives up.
LONGEST_SANE_TIMEOUT_S = 30
UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "": 1}
PERMITTING = {
    "permit_mynetworks": "requests from mynetworks never reach the policy",
    "permit_sasl_authenticated": "requests of authenticated clients never reach the policy",
    "permit": "no request ever reaches the policy",
}


def hooks_of(postfix: Postfix, settings: Settings) -> list[Hook]:
    """The places at which this Postfix asks one of our sockets."""
    ours = {_normal(endpoint, settings) for endpoint in settings.server.listen}
    return [hook for hook in postfix.hooks if _asked(hook.endpoint, postfix) in ours]


def find_findings(postfix: Postfix, settings: Settings, model: Model) -> Iterator[Complaint]:
    """Every finding about this Postfix, these settings and this policy."""
    for hook in postfix.hooks:
        if not re.match(r"(unix|inet):", hook.endpoint):
            message = f'"{hook.endpoint}" has no type: smtpd answers 451 to everybody'
            yield _about(postfix, hook, message, f"write inet:{hook.endpoint} or unix:private/policy", "error")
    hooks = hooks_of(postfix, settings)
    if not hooks:
        sockets = ", ".join(settings.server.listen)
        message = f"no smtpd service asks this policy: no check_policy_service names {sockets}"
        hint = "smtpd_recipient_restrictions = check_policy_service unix:private/policy, ..."
        yield Complaint(f"{postfix.directory}/main.cf", 0, 0, message, hint=hint, severity="warning")
        return
    for hook in hooks:
        yield from _order(postfix, hook, model)
        yield from _options(postfix, hook)
        yield from _reach(postfix, hook)
    yield from _rights(postfix, hooks, settings)
    yield from _delimiter(postfix, settings)
    yield from _unreached(hooks, model)


def _order(postfix: Postfix, hook: Hook, model: Model) -> Iterator[Complaint]:
    for word in hook.before:
        if word in PERMITTING or word.startswith("permit_"):
            told = PERMITTING.get(word, f"what {word} lets through never reaches the policy")
            yield _about(postfix, hook, f"{word} stands before check_policy_service: {told}")
    lets_in = [line for line in model.lines if line.action.verb in ("OK", "RELAY", "restriction")]
    if (
        lets_in
        and hook.relay_is_open
        and hook.list_name in ("smtpd_recipient_restrictions", "smtpd_relay_restrictions")
    ):
        message = (
            f"nothing rejects foreign destinations before the policy, and {lets_in[0].where} may say OK: an open relay"
        )
        yield _about(postfix, hook, message, "put reject_unauth_destination in front of check_policy_service", "error")


def _options(postfix: Postfix, hook: Hook) -> Iterator[Complaint]:
    timeout_s = _seconds(hook.options["timeout"])
    if timeout_s > LONGEST_SANE_TIMEOUT_S:
        message = (
            f"a policy server that does not answer holds each smtpd for {2 * timeout_s + 1} s (timeout {timeout_s} s)"
        )
        yield _about(postfix, hook, message, "check_policy_service { unix:private/policy, timeout=10s }")
    if hook.options["try_limit"] == "1":
        message = "try_limit 1: a lost connection is not opened again within an SMTP session"
        yield _about(postfix, hook, message, "leave smtpd_policy_service_try_limit at 2", "error")
    action = hook.options["default_action"]
    if action.startswith("{"):
        message = f"default_action {action} is an unknown restriction to Postfix"
        yield _about(postfix, hook, message, "write { default_action = 451 4.7.1 text } with its own braces", "error")
    elif action.startswith("451 4.3.5 Server configuration"):
        message = "while the policy server is away, clients are told of a server configuration problem"
        yield _about(postfix, hook, message, "set default_action to a text of your own, or to DUNNO to let mail pass")
    limit = hook.options["request_limit"]
    if limit not in ("0", ""):
        message = f"request_limit {limit}: a new connection after every {limit} requests, for nothing"
        yield _about(postfix, hook, message, "forkpolicy keeps connections for as long as Postfix wants")


def _reach(postfix: Postfix, hook: Hook) -> Iterator[Complaint]:
    if hook.chrooted and hook.endpoint.startswith("unix:/"):
        message = f"{hook.service} runs in a chroot, where the absolute path {hook.endpoint} does not exist"
        hint = "use a path relative to the queue directory: unix:private/policy works with and without chroot"
        yield _about(postfix, hook, message, hint, "error")


def _rights(postfix: Postfix, hooks: list[Hook], settings: Settings) -> Iterator[Complaint]:
    owner = postfix.parameters["mail_owner"]
    server, mode = settings.server, int(settings.server.socket_mode, 8)
    by_owner = server.socket_user == owner and mode & 0o200
    by_group = server.socket_group == owner and mode & 0o020
    if any(hook.endpoint.startswith("unix:") for hook in hooks) and not (by_owner or by_group or mode & 0o002):
        message = f"user {owner} may not write to the socket: mode {server.socket_mode}, "
        message += f"owner {server.socket_user}, group {server.socket_group}"
        yield Complaint(settings.path, 0, 0, message, hint=f'socket_group = "{owner}" and socket_mode = "0660"')


def _delimiter(postfix: Postfix, settings: Settings) -> Iterator[Complaint]:
    theirs, ours = postfix.parameters["recipient_delimiter"], settings.mail.recipient_delimiter
    if theirs != ours:
        message = f'recipient_delimiter is "{theirs}" in Postfix and "{ours}" here'
        hint = f'[mail] recipient_delimiter = "{theirs}"'
        yield Complaint(settings.path, 0, 0, message, hint=hint, severity="warning")


def _unreached(hooks: list[Hook], model: Model) -> Iterator[Complaint]:
    reached = {state for hook in hooks for state in hook.states}
    for line in model.lines:
        states = states_of_line(line)
        if states and not states & reached and line.place:
            place = line.place
            message = f"this line never fires: Postfix asks at {', '.join(sorted(reached))} only"
            hint = f"it could at {', '.join(sorted(states))}"
            yield Complaint(place.path, place.line, place.column, message, place.source, 6, hint, "warning")


def describe(hook: Hook) -> str:
    """Where the service is hooked and when it is asked, in a line."""
    context = f", policy_context {hook.options['policy_context']}" if hook.options["policy_context"] else ""
    return f"{hook.service}: {hook.list_name} asks {hook.endpoint} at {', '.join(hook.states)}{context}"


def _asked(endpoint: str, postfix: Postfix) -> str:
    if endpoint.startswith("unix:"):
        return f"unix:{Path(postfix.parameters['queue_directory'], endpoint[len('unix:') :])}"
    return _inet(endpoint)


def _normal(endpoint: str, settings: Settings) -> str:
    if endpoint.startswith("unix:"):
        return f"unix:{unix_path(endpoint, Path(settings.path).parent)}"
    return _inet(endpoint)


def _inet(endpoint: str) -> str:
    return endpoint.replace("localhost", "127.0.0.1").replace("[", "").replace("]", "")


def _seconds(text: str) -> int:
    found = re.fullmatch(r"(\d+)([smhd]?)", text)
    return int(found[1]) * UNITS_S[found[2]] if found else 0


def _about(postfix: Postfix, hook: Hook, message: str, hint: str = "", severity: str = "warning") -> Complaint:
    file = "master.cf" if hook.in_master_cf else "main.cf"
    text = f"{hook.service}: {hook.list_name}: {message}"
    path = f"{postfix.directory}/{file}"
    return Complaint(path, 0, 0, text, hint=hint, severity="error" if severity == "error" else "warning")
