"""A decision in sentences. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from forkpolicy.console.now.kinds import DEFERRED, PASSED, REFUSED, kind_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forkpolicy.translations import Say

_DONE: Final = {REFUSED: "Refused", DEFERRED: "Put off", PASSED: "Let through"}


def decision_in_words(action: str, rule: str, acls: str) -> str:
    """What was done, by which rule, and why, in a sentence."""
    verb = action.split(" ", 1)[0]
    done = _DONE.get(kind_of(verb), f"Answered with {verb}")
    if ":" not in rule:
        return f"{done}: no rule fired, so the default decided."
    terms = [f"not {each[1:]}" if each.startswith("!") else each for each in acls.split()]
    return f"{done} by {rule}: {_list(terms)}." if terms else f"{done} by {rule}."


def plain_decision(say: Say, action: str) -> str:
    """The same for those whose mail it is."""
    verb, _, text = action.partition(" ")
    kind = kind_of(verb)
    if kind == PASSED:
        return say("This mail was not refused here: the policy let it through.")
    if kind == REFUSED:
        return say("This mail was refused with: {text}", text=text or verb)
    if kind == DEFERRED:
        return say("This mail was put off with: {text}. Its sender usually tries again.", text=text or verb)
    return say("This mail was answered with {action}", action=action)


def request_facts(say: Say, request: Mapping[str, str]) -> list[tuple[str, str]]:
    """What the sender's side said, each with its name, in a request that has what the account may see alone."""
    names = {
        "client_address": say("Client"),
        "client_name": say("Name of the client"),
        "helo_name": say("It called itself"),
        "sasl_username": say("Signed in with"),
        "sender": say("Sender of the envelope"),
        "recipient": say("Recipient"),
        "size": say("Size in bytes"),
    }
    return [(words, request[name]) for name, words in names.items() if name in request]


def request_in_words(request: Mapping[str, str]) -> str:
    """Who asked for what, as far as it was known."""
    name, address = request.get("client_name", ""), request.get("client_address", "")
    client = f"{name} [{address}]" if name and name != "unknown" else address or "an unknown client"
    parts = [f"The client {client}"]
    if login := request.get("sasl_username"):
        parts.append(f", signed in as {login},")
    state = request.get("protocol_state", "")
    if state == "CONNECT":
        parts.append(" connected")
    else:
        if helo := request.get("helo_name"):
            parts.append(f" called itself {helo} and")
        parts.append(" wanted to send mail")
        if "sender" in request:
            parts.append(f" from {request['sender'] or 'the null sender <>'}")
        if recipient := request.get("recipient"):
            parts.append(f" to {recipient}")
    return "".join(parts) + (f" (asked at {state})." if state else ".")


def _list(terms: list[str]) -> str:
    return terms[0] if len(terms) == 1 else f"{', '.join(terms[:-1])} and {terms[-1]}"
