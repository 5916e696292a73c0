"""What a decision tells those whose mail it is: nothing of the server, and no address of anybody else."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

from forkpolicy.console.now.kinds import DEFERRED, REFUSED, kind_of
from forkpolicy.tables.keys import fold_address

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from forkpolicy.history.scope import Scope

# What the sender's side has said, and the recipient.
_SEEN: Final = ("protocol_state", "client_address", "client_name", "helo_name", "sender", "recipient", "size")


def own_action(action: str) -> str:
    """What was done, with the text of a reply, which the sender has got, too: what stands behind another action is for
    the mail system alone, such as the address that gets a copy.
    """
    verb, _, _ = action.partition(" ")
    return action if kind_of(verb) in (REFUSED, DEFERRED) else verb


def own_request(request: Mapping[str, str], scope: Scope) -> dict[str, str]:
    """The attributes of a request that the account may see."""
    login = request.get("sasl_username", "")
    seen = {name: request[name] for name in _SEEN if request.get(name) or (name == "sender" and name in request)}
    if login and scope.has_address(fold_address(login)):
        seen["sasl_username"] = login
    return seen


def own_terms(terms: object, request: Mapping[str, str]) -> list[dict[str, str]]:
    """What met the terms of the rule that decided: an entry only where the mail itself has it."""
    return [_term(each, request) for each in terms if isinstance(each, dict)] if isinstance(terms, list) else []


def _term(term: Mapping[str, object], request: Mapping[str, str]) -> dict[str, str]:
    name = str(term.get("acl", "?"))
    entry = next((str(each["entry"]) for each in _with_entries(term) if _is_own(str(each["entry"]), request)), "")
    is_negated = name.startswith("!")
    says = "does not hold" if is_negated else "holds"
    return {"text": name.removeprefix("!"), "says": says, "entry": entry}


def _with_entries(term: Mapping[str, object]) -> Iterator[Mapping[str, object]]:
    """The term, and those that it was met by."""
    if "entry" in term:
        yield term
    if isinstance(by := term.get("by"), dict):
        yield from _with_entries(by)


def _is_own(entry: str, request: Mapping[str, str]) -> bool:
    """Whether an entry says no more than what stands in the request."""
    try:
        return ipaddress.ip_address(request.get("client_address", "")) in ipaddress.ip_network(entry)
    except ValueError:
        folded = entry.casefold().lstrip("@.*")
        return bool(folded) and any(folded in request.get(name, "").casefold() for name in _SEEN)


def own_deliveries(mails: Sequence[Mapping[str, object]], scope: Scope) -> list[dict[str, object]]:
    """What became of recipients that the account may see, without the names of hosts inside."""
    return [{**each, "relay": None, "login": None} for each in mails if _is_seen(each, scope)]


def _is_seen(mail: Mapping[str, object], scope: Scope) -> bool:
    """By a recipient, or by a login of a domain."""
    names = [str(mail[name]) for name in ("recipient", "original_recipient") if mail[name]]
    login = str(mail["login"] or "")
    return any(scope.has_address(fold_address(each)) for each in names) or bool(
        login and scope.domains and scope.has_address(fold_address(login))
    )
