"""`rate()`, `size()`, `rcpt()`, `ask()`: commands of postfwd that remember or ask others, as ACLs of ours. Pure."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from forkpolicy.endpoints import endpoint_mistake
from forkpolicy.importing.postfwd.actions import Call, Text, parse_action, template_of
from forkpolicy.importing.postfwd.cannot import CannotError
from forkpolicy.importing.postfwd.parts import PARTS
from forkpolicy.protocol.attributes import ATTRIBUTES
from forkpolicy.protocol.reply import VERBS

_COUNTS: Final = {"rate": "requests", "size": "bytes", "rcpt": "recipients"}
WINDOWS: Final = (
    "postfwd counts in fixed windows that begin with the first request, so that nearly twice the limit may pass around"
    " the end of one; here no window of that length has more than the limit"
)
EMPTY_KEYS: Final = "postfwd counts the null sender as <>; here nothing is counted where the key is empty"
SIZES: Final = (
    "postfwd adds the size that a client declares each time it is asked; here a message counts once, at END-OF-MESSAGE"
)
RECIPIENTS: Final = "postfwd adds recipient_count at DATA and again at END-OF-MESSAGE; here a message counts once"
STRICT_CASE: Final = "postfwd tells upper from lower case in the local part of the key; here it is folded"
STALE: Final = "postfwd replies with the values of the request that began the window; here with those of the request"
ANSWERS: Final = (
    "postfwd passes on whatever the service replies; here a reply that is not of access(5) is passed over, and the next"
    " rule is tried"
)


class Limit(NamedTuple):
    """A `rate` ACL, and what is replied where it holds. `states`: where postfwd counts at all; empty: everywhere."""

    values: tuple[str, ...]
    reply: str
    text: Text
    states: tuple[str, ...]
    notes: tuple[str, ...]


def limit_of(call: Call) -> Limit:
    """The limit of `rate(KEY/MAX/SECONDS/ACTION)`. Raises CannotError."""
    fields = call.argument.removeprefix("$$").split("/", 3)
    if len(fields) < 4 or not all(each.strip() for each in fields):
        raise CannotError(f"{call.name}() needs ITEM/MAX/SECONDS/ACTION: postfwd ignores it")
    key, amount, seconds, reply = fields
    if key not in ATTRIBUTES and key not in PARTS:
        raise CannotError(f"{key} is not an attribute that Postfix sends: does a plugin or another rule set it?")
    if not re.fullmatch(r"[1-9]\d*", amount, re.ASCII) or not re.fullmatch(r"[1-9]\d*", seconds, re.ASCII):
        raise CannotError(f"{amount} in {seconds} seconds: a limit here has whole numbers")
    if isinstance(parse_action(reply), Call):
        raise CannotError(f"a command where a limit is reached: {reply}")
    kind = call.name.removesuffix("5321")
    text = template_of(reply)
    notes = [WINDOWS, *([EMPTY_KEYS] if key == "sender" else []), *([STRICT_CASE] if kind != call.name else [])]
    notes += [SIZES] if kind == "size" else [RECIPIENTS] if kind == "rcpt" else []
    notes += [STALE] if "$$" in reply else []
    states = ("DATA", "END-OF-MESSAGE") if kind == "rcpt" else ()
    return Limit((f"{{{key}}}", f"{amount}/{seconds}s", f"count={_COUNTS[kind]}"), reply, text, states, tuple(notes))


def service_values(call: Call) -> tuple[str, ...]:
    """The values of a `service` ACL for `ask(HOST:PORT[:IGNORED])`. Raises CannotError."""
    fields = call.argument.split(":")
    if len(fields) < 2 or not fields[0] or not fields[1]:
        raise CannotError("ask() needs HOST:PORT")
    endpoint = f"inet:{fields[0]}:{fields[1]}"
    if mistake := endpoint_mistake(endpoint):
        raise CannotError(mistake)
    actions = [*VERBS, "4*", "5*"]
    if len(fields) > 2 and fields[2]:
        found = re.fullmatch(r"\^(?:\((\w+(?:\|\w+)*)\)|(\w+))\$?", fields[2], re.ASCII)
        if not found:
            raise CannotError(f"the answers to ignore: {fields[2]}", "acl NAME service names the words that count")
        ignored = {each.upper() for each in (found[1] or found[2]).split("|")}
        actions = [each for each in actions if not any(each.startswith(word) for word in ignored)]
    return (endpoint, *actions)
