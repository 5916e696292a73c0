"""How a Postfix is configured to ask: its smtpd services, the restriction lists and the policy services in them.

Read with Postfix's own postconf(1), so that defaults, `$name` and per-service `-o` overrides are what smtpd sees.
Facts only; `hooks` judges them. Raises PostfixError when postconf is not there or cannot read the directory.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass, field

from forkpolicy.errors import UsageError

POSTCONF = shutil.which("postconf", path="/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin") or "postconf"
TIMEOUT_S = 20
# Each restriction list, and the protocol states at which it is evaluated by itself.
LISTS = {
    "smtpd_client_restrictions": ("CONNECT",),
    "smtpd_helo_restrictions": ("EHLO", "HELO"),
    "smtpd_sender_restrictions": ("MAIL",),
    "smtpd_relay_restrictions": ("RCPT",),
    "smtpd_recipient_restrictions": ("RCPT",),
    "smtpd_data_restrictions": ("DATA",),
    "smtpd_end_of_data_restrictions": ("END-OF-MESSAGE",),
    "smtpd_etrn_restrictions": ("ETRN",),
}
DELAYED = ("smtpd_client_restrictions", "smtpd_helo_restrictions", "smtpd_sender_restrictions")
OPTIONS = ("default_action", "timeout", "try_limit", "request_limit", "policy_context")
PARAMETERS = (
    *LISTS,
    *(f"smtpd_policy_service_{name}" for name in OPTIONS),
    "smtpd_delay_reject",
    "queue_directory",
    "recipient_delimiter",
    "mail_owner",
    "config_directory",
)


class PostfixError(UsageError):
    """postconf is missing, or does not like the directory; the message has its words."""


@dataclass(frozen=True, slots=True)
class Hook:
    """One `check_policy_service` in one list of one smtpd service. `before`: the restrictions in front of it."""

    service: str
    list_name: str
    endpoint: str
    options: dict[str, str]
    before: tuple[str, ...]
    states: tuple[str, ...]
    chrooted: bool
    in_master_cf: bool
    relay_is_open: bool = False


@dataclass(slots=True)
class Postfix:
    """What matters of one configuration directory."""

    directory: str
    parameters: dict[str, str]
    hooks: list[Hook] = field(default_factory=list)


def read_postfix(directory: str | None) -> Postfix:
    """Read a configuration directory; None: the system's."""
    chosen = ["-c", directory] if directory else []
    values = _postconf([*chosen, "-xh", *PARAMETERS]).split("\n")
    parameters = dict(zip(PARAMETERS, values, strict=False))
    postfix = Postfix(directory or parameters["config_directory"], parameters)
    overrides = _overrides(_postconf([*chosen, "-P"]))
    for line in _postconf([*chosen, "-M"]).splitlines():
        words = line.split()
        if len(words) > 7 and words[7] == "smtpd":
            service = f"{words[0]}/{words[1]}"
            own = overrides.get(service, {})
            _add_hooks(postfix, service, own, chrooted=words[4] == "y")
    return postfix


def _add_hooks(postfix: Postfix, service: str, own: dict[str, str], *, chrooted: bool) -> None:
    seen = {**postfix.parameters, **own}
    relay = split_list(seen["smtpd_relay_restrictions"])
    closes = {"reject_unauth_destination", "defer_unauth_destination", "reject", "defer"}
    for name, states in LISTS.items():
        words = split_list(seen[name])
        delayed = name in DELAYED and seen["smtpd_delay_reject"] == "yes"
        for at, word in enumerate(words[:-1]):
            if word == "check_policy_service":
                endpoint, options = _service(words[at + 1], seen)
                before = tuple(words[:at])
                closed = closes & {*before, *(relay if name != "smtpd_relay_restrictions" else ())}
                at_states = ("RCPT",) if delayed else states
                hook = Hook(
                    service, name, endpoint, options, before, at_states, chrooted, name in own, relay_is_open=not closed
                )
                postfix.hooks.append(hook)


def _service(word: str, seen: dict[str, str]) -> tuple[str, dict[str, str]]:
    options = {name: seen[f"smtpd_policy_service_{name}"] for name in OPTIONS}
    if not word.startswith("{"):
        return word, options
    endpoint, *rest = split_list(word[1:-1])
    for each in rest:
        name, _, value = each.strip("{} ").partition("=")
        options[name.strip()] = value.strip()
    return endpoint, options


def split_list(text: str) -> list[str]:
    """The words of a restriction list: commas and blanks separate, braces keep together."""
    words, word, depth = [], "", 0
    for char in f"{text} ":
        depth += (char == "{") - (char == "}")
        if (char == "," or char.isspace()) and depth <= 0:
            if word:
                words.append(word)
            word = ""
        else:
            word += char
    return words


def _overrides(text: str) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for line in text.splitlines():
        parts = re.fullmatch(r"(\S+?/\w+)/(\w+) = ?(.*)", line)
        if parts:
            found.setdefault(parts[1], {})[parts[2]] = parts[3]
    return found


def _postconf(arguments: list[str]) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - Postfix's own command, and no shell
            [POSTCONF, *arguments], capture_output=True, text=True, timeout=TIMEOUT_S, check=False, errors="replace"
        )
    except FileNotFoundError as error:
        raise PostfixError("postconf is not installed here: --postfix none leaves Postfix out") from error
    except subprocess.TimeoutExpired as error:
        raise PostfixError(f"postconf did not answer within {TIMEOUT_S} s") from error
    if done.returncode:
        raise PostfixError(done.stderr.strip() or f"postconf ended with {done.returncode}")
    return done.stdout
