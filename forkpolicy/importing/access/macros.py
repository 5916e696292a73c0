"""`$name` and `${name?value:other}` in main.cf, as mac_expand(3) of Postfix has them. Pure; raises ValueError.

$name  $(name)  ${name}   the parameter's value, itself expanded; $$ is a dollar
${name?text} ${name?{text}}              text, where the parameter has a value
${name:text} ${name?{text}:{other}}      the other one, where it has none
${{left} == {right} ? {text} : {other}}  compares, as numbers where both are some
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Final

Look = Callable[[str], "str | None"]

MAX_DEPTH: Final = 50
# Longer than any real value: nested names that double each time would never end.
MAX_CHARS: Final = 1_000_000
_NAME: Final = re.compile(r"[A-Za-z0-9_]+")
_CONDITION: Final = re.compile(r"\s*(==|!=|<=|>=|<|>)\s*")
_COMPARISONS: Final[dict[str, Callable[..., bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_CLOSING: Final = {"{": "}", "(": ")"}


def expand(text: str, look: Look, depth: int = 0) -> str:
    """The text with the value of each parameter; `look` gives it unexpanded, None where nobody knows it."""
    if "$" not in text:
        return text
    if depth > MAX_DEPTH:
        raise ValueError("parameters refer to each other without end")
    done: list[str] = []
    chars = at = 0
    while at < len(text):
        dollar = text.find("$", at)
        if dollar < 0:
            dollar = len(text)
        done.append(text[at:dollar])
        piece, at = _after_dollar(text, dollar + 1, look, depth) if dollar < len(text) else ("", dollar)
        done.append(piece)
        chars += len(done[-1]) + len(done[-2])
        if chars > MAX_CHARS:
            raise ValueError("the value is longer than a million characters")
    return "".join(done)


def names_alone(word: str) -> str:
    """The parameter that a word is and nothing else: `$name`, `${name}`, `$(name)`; else empty."""
    found = re.fullmatch(r"\$(?:(\w+)|\{\s*(\w+)\s*\}|\(\s*(\w+)\s*\))", word, re.ASCII)
    return next((name for name in found.groups() if name), "") if found else ""


def _after_dollar(text: str, at: int, look: Look, depth: int) -> tuple[str, int]:
    char = text[at : at + 1]
    if char == "$":
        return "$", at + 1
    if char in _CLOSING:
        end = _closing(text, at)
        return _in_braces(text[at + 1 : end], look, depth), end + 1
    found = _NAME.match(text, at)
    if not found:
        raise ValueError(f'"{text[at - 1 : at + 9]}": expected the name of a parameter behind the "$"')
    return _value(found[0], look, depth), found.end()


def _value(name: str, look: Look, depth: int) -> str:
    value = look(name)
    if value is None:
        raise ValueError(f"the value of ${name} is not in this file")
    return expand(value, look, depth + 1)


def _in_braces(inner: str, look: Look, depth: int) -> str:
    stripped = inner.strip()
    if stripped.startswith("{"):
        holds, rest = _compared(stripped, look, depth)
    else:
        found = _NAME.match(stripped)
        if not found:
            raise ValueError(f'"${{{inner}}}": expected the name of a parameter')
        name, rest = found[0], stripped[found.end() :].strip()
        if not rest:
            return _value(name, look, depth)
        holds = bool(expand(look(name) or "", look, depth + 1))
    yes, no = _branches(rest)
    return expand(yes if holds else no, look, depth + 1)


def _compared(text: str, look: Look, depth: int) -> tuple[bool, str]:
    left, at = _group(text, 0)
    found = _CONDITION.match(text, at)
    if not found or text[found.end() : found.end() + 1] != "{":
        raise ValueError(f'"{text}": expected {{value}} == {{value}}')
    right, end = _group(text, found.end())
    sides = [expand(each.strip(), look, depth + 1) for each in (left, right)]
    numbers = [int(each) for each in sides if re.fullmatch(r"\d{1,9}", each, re.ASCII)]
    values = numbers if len(numbers) == 2 else sides
    return _COMPARISONS[found[1]](*values), text[end:].strip()


def _branches(rest: str) -> tuple[str, str]:
    """What stands behind `?` and behind `:`."""
    yes = no = ""
    if rest.startswith("?"):
        rest = rest[1:]
        if not rest.lstrip().startswith("{"):
            return rest, ""
        rest = rest.lstrip()
        yes, end = _group(rest, 0)
        rest = rest[end:].strip()
    if rest.startswith(":"):
        rest = rest[1:]
        if not rest.lstrip().startswith("{"):
            return yes, rest
        rest = rest.lstrip()
        no, end = _group(rest, 0)
        rest = rest[end:].strip()
    if rest:
        raise ValueError(f'"{rest}" is not expected behind a parameter in braces')
    return yes.strip(), no.strip()


def _group(text: str, at: int) -> tuple[str, int]:
    """What stands in the braces that begin there, and where they end."""
    end = _closing(text, at)
    return text[at + 1 : end], end + 1


def _closing(text: str, at: int) -> int:
    opening, closing, depth = text[at], _CLOSING[text[at]], 0
    for position in range(at, len(text)):
        depth += (text[position] == opening) - (text[position] == closing)
        if not depth:
            return position
    raise ValueError(f'"{text[at - 1 : at + 20]}": a "{opening}" that is not closed')
