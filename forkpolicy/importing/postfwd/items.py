"""One value of an item as a question of ours: a type, values, and whether it must hold. Reads nothing but expressions.

Raises CannotError where no ACL asks the same.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from forkpolicy.importing.expressions import literal_value
from forkpolicy.importing.postfwd import addresses, parts
from forkpolicy.importing.postfwd.cannot import CannotError, NeverError
from forkpolicy.importing.postfwd.clock import clock_values
from forkpolicy.importing.postfwd.perl import expression, finds, number, variable_of
from forkpolicy.policy.matchers.expression_signs import REGEX_CHARS
from forkpolicy.protocol.attributes import ATTRIBUTES, STATES
from forkpolicy.tables.names import parse_address_pattern, parse_host_pattern

if TYPE_CHECKING:
    from forkpolicy.importing.postfwd.cannot import Notes
    from forkpolicy.importing.postfwd.values import Value

CLOCK: Final = ("date", "time", "days", "months")
NUMBERS: Final = ("size", "recipient_count", "encryption_keysize")
_PORTS: Final = ("client_port", "server_port")
_VERSIONS: Final = ("mail_version", "compatibility_level")
_ADDRESSES: Final = ("sender", "recipient", "sasl_sender")
_HOSTS: Final = ("client_name", "reverse_client_name", "helo_name")
# What our types compare as numbers, and what stands for postfwd's operators; `!` in front: the opposite.
_COMPARISONS: Final = {
    **dict.fromkeys(("=", "=>", "=~", "!~"), ">="),
    "==": "=", "!=": "!=", "=<": "<=", "<": "<", ">": ">", "!<": ">", "!>": "<",
}  # fmt: skip
# What Perl holds for false besides nothing: comparisons with == and != never hold for it.
HAS_VALUE: Final = "/^(0.|[^0])/"
_DNS: Final = ("helo_address", "sender_ns_names", "sender_ns_addrs", "sender_mx_names", "sender_mx_addrs")
_OF_POSTFWD: Final = ("version", "matches", "request_hits", "ratecount", "reverse_address")


class Question(NamedTuple):
    """`!` where `negated`. `has_value`: a type and value that must hold, too, since postfwd compares nothing else; the
    opposite of both together where it is `opposite`.
    """

    type_name: str
    values: tuple[str, ...]
    negated: bool = False
    has_value: tuple[str, str] | None = None
    opposite: bool = False


Answer = Question | bool


def question(key: str, value: Value, notes: Notes) -> Answer:
    """What one value asks; True and False where nothing has to be asked."""
    asked = _asked(key, value, notes)
    if not value.negated:
        return asked
    if isinstance(asked, bool):
        return not asked
    if asked.has_value:
        return asked._replace(opposite=True)
    return asked._replace(negated=not asked.negated)


def _asked(key: str, value: Value, notes: Notes) -> Answer:
    operator, text = value.operator, value.text
    if key == "client_address":
        return _network(value, notes)
    if key in CLOCK:
        type_name, values, note = clock_values(key, text)
        if note:
            notes.add(note, value.origin)
        return Question(type_name, tuple(values), operator == "!=")
    if key == "request_score":
        return _compared("score", operator, text)
    if key in NUMBERS or (key in _PORTS and operator not in ("=", "=~", "!~", "==", "!=")):
        return _compared(key, operator, text)
    if operator not in ("=", "==", "!=", "=~", "!~"):
        raise CannotError(
            f'postfwd reads "{key}{operator}{text}" as a comparison of numbers, and {key} is text',
            "acl NAME sender <> is the null sender" if key == "sender" else "",
        )
    if key in parts.PARTS:
        return _part(key, value)
    _refuse_unknown(key)
    if key in _PORTS or key == "server_address":
        return _without_expressions(key, operator, text)
    if other := variable_of(text):
        return _same(key, operator, other)
    if operator in ("==", "!="):
        return _equal(key, operator, text)
    return _searched(key, operator, text)


def _network(value: Value, notes: Notes) -> Answer:
    if variable_of(value.text):
        raise CannotError("a network out of a variable")
    if value.text == addresses.ALWAYS:
        return value.operator != "!="
    text, note = addresses.network(value.operator, value.text)
    if note:
        notes.add(note, value.origin)
    return Question("client_address", (text,), value.operator == "!=")


def _compared(type_name: str, operator: str, text: str) -> Answer:
    if "$$" in text:
        raise CannotError("a number out of a variable")
    comparison, amount = _COMPARISONS[operator], number(text)
    if amount < 0 and type_name != "score":
        raise CannotError(f"a comparison with {text}")
    if amount != int(amount) and type_name != "score":
        raise CannotError(f"{type_name} compares whole numbers")
    if comparison == "<" and not amount and type_name != "score":
        raise NeverError(f"{type_name} is never below 0")
    shown = f"{amount:g}" if type_name == "score" else str(int(amount))
    if comparison == "!=":
        return Question(type_name, (f"={shown}",), negated=True)
    return Question(type_name, (f"{comparison}{shown}",))


def _part(key: str, value: Value) -> Answer:
    if variable_of(value.text):
        raise CannotError(f"{key} compared with another attribute")
    attribute, is_domain = parts.PARTS[key]
    if value.operator in ("==", "!="):
        word = parts.equal(value.text, is_domain=is_domain)
        has_value = (attribute, parts.has_value(is_domain=is_domain)) if value.operator == "!=" else None
        return Question(attribute, (word,), has_value is not None, has_value)
    word = parts.searched(value.text, is_domain=is_domain)
    return Question(attribute, (word,), value.operator == "!~")


def _refuse_unknown(key: str) -> None:
    if key in _DNS:
        raise CannotError(f"{key} asks the DNS for addresses of names", "rhsbl asks DNS lists about names")
    if key in _OF_POSTFWD:
        raise CannotError(f"{key} is a variable of postfwd's own")
    if key in _VERSIONS:
        raise CannotError(f"{key} is compared as a text", f"acl NAME {key} >=3.8 compares versions")
    if key not in ATTRIBUTES:
        raise CannotError(f"{key} is not an attribute that Postfix sends: does a plugin or another rule set it?")


def _same(key: str, operator: str, other: str) -> Answer:
    if operator not in ("==", "!="):
        raise CannotError(
            f"postfwd searches for the text of {other}, any character in place of its dots",
            f"acl NAME {key} {{{other}}} holds where both are equal",
        )
    if other not in ATTRIBUTES and other not in parts.PARTS:
        raise CannotError(f"{other} is not an attribute that Postfix sends")
    asked = Question(key, (f"{{{other}}}",))
    return asked._replace(negated=True, has_value=(key, HAS_VALUE)) if operator == "!=" else asked


def _without_expressions(key: str, operator: str, text: str) -> Answer:
    """Ports and the server's address, compared as texts; ours are numbers and networks."""
    is_port = key in _PORTS and re.fullmatch(r"[1-9]\d{0,4}", text, re.ASCII)
    is_address = key == "server_address" and re.fullmatch(r"[\d.]+", text, re.ASCII)
    if operator != "==" or not (is_port or is_address):
        raise CannotError(f"{key} takes no expressions here, and no such text")
    return Question(key, (f"={text}" if is_port else addresses.network(operator, text)[0],))


def _equal(key: str, operator: str, text: str) -> Answer:
    if text == "0":
        raise CannotError('"0" is nothing to Perl: such a comparison never holds')
    if key == "protocol_state" and text.upper() not in STATES:
        raise CannotError(f"{text} is not a protocol state: {', '.join(STATES)}")
    asked = Question(key, (_exact(key, text),), operator == "!=")
    if operator == "!=" and key != "sender":
        return asked._replace(has_value=(key, HAS_VALUE))
    return asked


def _exact(key: str, text: str) -> str:
    """The value that holds for this text alone."""
    try:
        if key in _ADDRESSES:
            plain = parse_address_pattern(text)
            is_whole = text == "<>" if key == "sender" else False
            if is_whole or (plain == text.casefold() and "@" in text[1:-1] and text[-1] != "."):
                return text
        elif key in _HOSTS:
            if parse_host_pattern(text) == text.lower() and text[0] != ".":
                return text
        elif REGEX_CHARS.isdisjoint(text) and not set(text) & set(" ,/{}!$'\"") and text[0] not in "#;<>=~@":
            return text
        return literal_value(text)
    except ValueError:
        return literal_value(text)


def _searched(key: str, operator: str, text: str) -> Answer:
    word = expression(text)
    negated = operator == "!~"
    if key != "sender":
        return Question(key, (word,), negated)
    # The null sender is <> to postfwd and empty to us.
    if finds(word, "<>"):
        return Question(key, (word, "<>"), negated)
    if finds(word, ""):
        raise CannotError(f"the expression {text} is not found in <>, as postfwd calls the null sender")
    return Question(key, (word,), negated)
