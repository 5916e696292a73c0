"""Values of apolicy that were expressions searched for anywhere, as values of ours. Pure but for RE2.

A whole mail address, `@example.com` and `unknown` are exact here: their author meant nothing else, and as
expressions they hit what nobody meant (`x@example.com.evil.example`). Everything else stays the expression that it was:
`example.com` may have been meant for the hosts below it, too. An expression that is anchored and has no other
characters of expressions is exact in any case: it hit nothing else. Raises ValueError for what RE2 cannot search for.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from forkpolicy.importing.apolicy.grammar import SILENT
from forkpolicy.importing.apolicy.python_expressions import as_re2
from forkpolicy.importing.expressions import regex_value
from forkpolicy.tables.names import parse_address_pattern, parse_host_pattern

EXACT: Final = "exact"
SEARCHED: Final = "searched"
SEARCHED_CASE: Final = "searched-case"
HOW: Final = (EXACT, SEARCHED, SEARCHED_CASE)

MAIL: Final = frozenset({"sender", "recipient", "sasl_sender"})
HOSTS: Final = frozenset({"client_name", "reverse_client_name", "helo_name"})
TEXTS: Final = frozenset({"sasl_username", "sasl_method"})

_DOMAIN: Final = r"(?:[A-Za-z0-9-]+\.)+[A-Za-z]{2,}"
# No `+`: in an expression it repeats, so that user+news@example.com never hit that address.
_ADDRESS: Final = re.compile(rf"[A-Za-z0-9_=-][A-Za-z0-9._=-]*@{_DOMAIN}")
_AT_DOMAIN: Final = re.compile(rf"@{_DOMAIN}")
_ESCAPED_DOMAIN: Final = r"(?:[A-Za-z0-9_-]+\\\.)+[A-Za-z]{2,}"
_ANCHORED_ADDRESS: Final = re.compile(rf"\^(?:[A-Za-z0-9_=-]|\\\.)+@{_ESCAPED_DOMAIN}\$|@{_ESCAPED_DOMAIN}\$")
_ANCHORED_HOST: Final = re.compile(rf"\^{_ESCAPED_DOMAIN}\$|\\\.{_ESCAPED_DOMAIN}\$|\^unknown\$")
_ANCHORED_TEXT: Final = re.compile(r"\^(?:[A-Za-z0-9_-]|\\\.)+(?:@" + _ESCAPED_DOMAIN + r")?\$")
_PLAIN: Final = re.compile(r"[\w@.-]+", re.ASCII)


class Pattern(NamedTuple):
    """A value of ours. `hit_too`: an example of what the expression found and the exact value does not; `note`: what
    else to know of it.
    """

    value: str
    is_exact: bool = False
    hit_too: str = ""
    note: str = ""


def pattern_of(type_name: str, text: str, how: str) -> Pattern:
    """The value for an expression of an ACL of that type. Raises ValueError."""
    found = _exact(type_name, text) if how == EXACT else None
    if found:
        return found
    value = regex_value(as_re2(text), folds=how != SEARCHED_CASE or text.startswith("(?i)"))
    plain = how == EXACT and _PLAIN.fullmatch(text) and type_name != "sasl_method"
    return Pattern(value, note=_advice(type_name, text) if plain else "")


def _exact(type_name: str, text: str) -> Pattern | None:
    """The exact value, where it is one."""
    if type_name in MAIL:
        if _ADDRESS.fullmatch(text) and _parses(type_name, text):
            return Pattern(text, True, f"x{text}")
        if _AT_DOMAIN.fullmatch(text) and _parses(type_name, text):
            return Pattern(text, True, f"x{text}.evil.example")
        return _anchored(_ANCHORED_ADDRESS, type_name, text)
    if type_name in HOSTS:
        if text == "unknown" and type_name != "helo_name":
            return Pattern(text, True, "unknown.example.com")
        return _anchored(_ANCHORED_HOST, type_name, text)
    if type_name == "sasl_username" and _ADDRESS.fullmatch(text):
        return Pattern(text, True, f"x{text}")
    return _anchored(_ANCHORED_TEXT, type_name, text)


def _anchored(form: re.Pattern[str], type_name: str, text: str) -> Pattern | None:
    if not form.fullmatch(text):
        return None
    value = text.removeprefix("^").removesuffix("$").replace("\\", "")
    return Pattern(value, True) if value.lower() != SILENT and _parses(type_name, value) else None


def _parses(type_name: str, value: str) -> bool:
    """Whether our patterns take it; what they refuse stays an expression."""
    try:
        if type_name in MAIL:
            parse_address_pattern(value)
        elif type_name in HOSTS:
            parse_host_pattern(value)
    except ValueError:
        return False
    return True


def _advice(type_name: str, text: str) -> str:
    """What a plain value that stays an expression might be instead."""
    stays = f'"{text}" stays an expression that is found anywhere in {type_name}'
    domain = text.strip(".")
    if not re.fullmatch(_DOMAIN, domain):
        return stays
    if type_name in MAIL:
        return f"{stays}; if a domain is meant, write @{domain}, and .{domain} for all below it"
    if type_name in HOSTS:
        return f"{stays}; if a host is meant, write {domain}, and .{domain} for all below it"
    return stays
