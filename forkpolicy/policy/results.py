"""What may be put into a reply, and which replies are checked again for each request.

A name in braces brings text of the client. In a text it is read by people; as the argument of BCC, REDIRECT or FILTER
it would let the client choose where mail goes, and as a header's name which header Postfix believes. `check_names`
refuses that when the policy is loaded. What is left may still make a reply malformed, if a table has no value or an
odd one: `may_be_malformed` says where, and `Policy` checks those results. Raises ValueError with the reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkpolicy.policy.template import CODE, is_match
from forkpolicy.protocol.reply import ONE_WORD, VERBS, parse_reply

if TYPE_CHECKING:
    from collections.abc import Collection

    from forkpolicy.policy.template import Render, Template
    from forkpolicy.protocol.reply import Reply

# What no client can choose: the operator's own settings, Postfix's own names, and the login of one who has proved it.
NOT_OF_THE_CLIENT = ("sasl_username", "policy_context", "server_address", "server_port", "queue_id")
# The verb of an action that is whatever a service replies.
WHOLE_REPLY = "service"
SEPARATOR = {"address": "@", "transport": ":", "header": ":"}


def check_names(template: Template, foreign: Collection[str] = ()) -> None:
    """Raises ValueError where what a client sends would be an address, a transport or a header's name, or what others
    say who are not trusted: `foreign` are the ACLs with such texts.
    """
    verb = template.pieces[0][0].partition(" ")[0].upper()
    needs = VERBS.get(verb)
    chosen = template.names if needs in ONE_WORD else _names_of_header(template) if needs == "header" else ()
    what = "which header this is" if needs == "header" else "where mail goes"
    for name in chosen:
        if name.partition(".")[2] in foreign:
            raise ValueError(f"{verb} with {{{name}}} lets the server that is asked choose {what}: it is for texts")
        if name not in NOT_OF_THE_CLIENT and not is_match(name) and name != CODE:
            allowed = ", ".join(f"{{{each}}}" for each in NOT_OF_THE_CLIENT)
            raise ValueError(f"{verb} with {{{name}}} lets the client choose {what}: use {{match.ACL}}, {allowed}")


def whole_reply(template: Template) -> Render:
    """The reply of a service as it is. What it renders raises ValueError where Postfix would not take that."""
    name = template.whole_of
    return lambda values, match, _code: parse_reply(match(name, values)).text


def example(template: Template) -> str:
    """The reply with something that fits in place of each name, to be checked as it stands."""
    literals = "".join(literal for literal, _ in template.pieces)
    verb, _, rest = literals.partition(" ")
    separator = SEPARATOR.get(VERBS.get(verb.upper(), ""), "")
    put_in = "x" if separator in rest else f"x{separator}x"
    return "".join(literal or put_in for literal, _ in template.pieces)


def may_be_malformed(reply: Reply, template: Template) -> bool:
    """Whether a reply may turn out malformed, depending on what is put in."""
    needs = VERBS.get(reply.verb)
    if needs in ONE_WORD or (needs == "header" and _names_of_header(template)):
        return True
    try:
        parse_reply("".join(literal for literal, _ in template.pieces))
    except ValueError:
        return True
    return False


def _names_of_header(template: Template) -> tuple[str, ...]:
    """The names in front of the colon."""
    names: list[str] = []
    for literal, name in template.pieces:
        if ":" in literal:
            break
        names += [name] if name else []
    return tuple(names)
