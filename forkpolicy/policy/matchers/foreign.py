"""Values that another language would read as an operator, a pattern or a map, and that would mean something else here.

Without these mistakes `policy_context =submission` would wait for a context of that name, and `sender *.example.com`
would be an expression. `refuse_foreign` raises ValueError with what to write instead. Text between slashes is the
operator's own expression and is left to `regex`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# Expressions that few values need are texts: `re` compiles, and keeps, one when the first comes.
# What an expression is made of: escapes and classes are whole, so that nothing is found inside of them.
PIECES = r"(?s)\\.|\[\^?\]?(?:\\.|\[:\^?\w+:\]|[^\]\\])*\]|."

OPERATOR = re.compile(r"([=!]=|[=!]?~|[<>]=?|=)(.*)", re.DOTALL)
# `$` in front of a name can never match as the end of a text.
PARAMETER = re.compile(r"^\$|\$[A-Za-z_{(]")
WILDCARD = re.compile(r"(?<![.)\]])[*?]")
# `*.example.com` and `*@*.example.com`, `*@example.com`, `user@*`: there is a pattern for each.
PATTERN_OF_WILDCARD = r"(?:\*@)?\*(\.[\w.-]+)|\*(@[\w.-]+)|([\w.+-]+@)\*"
# Types of maps that postconf -m lists.
MAP = re.compile(
    r"(btree|cdb|cidr|dbm|environ|fail|hash|inline|internal|ldap|lmdb|memcache|mongodb|mysql|nis|nisplus|pcre|pgsql|pipemap"
    r"|proxy|randmap|regexp|sdbm|socketmap|sqlite|static|tcp|texthash|unionmap|unix):[^:]"
)
# What regexp: and pcre: tables know and RE2 takes for plain characters, and what to write instead.
ESCAPES = {
    "\\<": r"the edge of a word is \b",
    "\\>": r"the edge of a word is \b",
    "\\`": "the beginning of the text is ^",
    "\\'": "the end of the text is $",
}
COLLATION = r"\[([=.])[^\]]+\1"
REPETITIONS = (
    (r"\{,\d*\}", "a repetition begins with a number, as in {0,3}"),
    (r"\^\*", "a * repeats what stands before it; whatever may stand there is .*"),
)
# `/^news/i`: what looks like the path of a file is an expression of Postfix's maps, with flags.
FLAGS = r"(?s)/(.+)/([imsxAEUX]+)"
SAFE_IN_EXPRESSION = r"(?a)[\w@%+=~-]"


def refuse_foreign(name: str, text: str) -> None:
    """Raises ValueError for a value of an ACL on attribute `name` that was written in another language."""
    if len(text) > 2 and text[0] == text[-1] == "/":
        return
    for refuse in CHECKS:
        refuse(name, text)


def refuse_dialect(expression: str) -> None:
    """Raises ValueError for an expression that RE2 takes, but for another than Postfix's maps do: it would not fire."""
    for piece in re.findall(PIECES, expression):
        if piece in ESCAPES:
            raise _dialect(piece, ESCAPES[piece])
        if piece[0] == "[" and (found := re.search(COLLATION, piece)):
            raise _dialect(found[0], "a character stands for itself in a class, without = or . around it")
    bare = in_pieces(expression)
    for pattern, advice in REPETITIONS:
        if found := re.search(pattern, bare):
            raise _dialect(found[0], advice)


def _dialect(found: str, advice: str) -> ValueError:
    return ValueError(f'"{found}" means something else in these expressions (RE2) than in Postfix\'s maps: {advice}')


def flags_hint(path: str) -> str:
    """What to write for an expression with flags, where a path of a file was expected and there is no such file."""
    found = re.fullmatch(FLAGS, path)
    if not found:
        return ""
    case = f" (/(?-i){found[1]}/ to tell upper from lower case)" if "i" in found[2] else ""
    return f"if it is an expression: flags do not stand behind its slash, write /{found[1]}/{case}"


def in_pieces(expression: str) -> str:
    """An expression with `]` in place of every escape and every class: what is left stands for itself."""
    if "\\" not in expression and "[" not in expression:
        # Nearly every value of a long policy, at a twentieth of the time.
        return expression
    return re.sub(PIECES, lambda found: found[0] if len(found[0]) == 1 else "]", expression)


def _negation(name: str, text: str) -> None:
    if text[0] == "!" and not text.startswith(("!=", "!~")):
        raise ValueError(f'a "!" stands before an ACL in a rule: declare acl NAME {name} {text[1:]}, write !NAME')


def _operator(name: str, text: str) -> None:
    found = OPERATOR.fullmatch(text)
    if found and not text.endswith(">"):
        operator, rest = found.groups()
        how = f"/{rest.strip('/')}/" if "~" in operator else rest
        negated = "; to invert it, write !NAME in the rule" if operator[0] == "!" else ""
        raise ValueError(
            f'"{operator}" is not an operator for {name}, whose values are whole: write {how or "the value"}{negated}'
        )


def _quotes(_name: str, text: str) -> None:
    if text[0] in "\"'":
        bare = text.strip("\"'")
        blank = " (for a blank within it, an expression: /^user.one@/)" if text[0] != text[-1] or len(text) == 1 else ""
        raise ValueError(f"values stand without quotes: write {bare}{blank}")


def _parameter(_name: str, text: str) -> None:
    if PARAMETER.search(in_pieces(text)):
        raise ValueError(f"a parameter of Postfix has no value here: write what postconf shows for it, not {text}")


def _connective(_name: str, text: str) -> None:
    if text in ("&&", "||"):
        raise ValueError(f'no "{text}" between values: one that holds is enough; all ACLs of one rule must hold')


def _map(_name: str, text: str) -> None:
    if MAP.match(text):
        raise ValueError(f"a map of Postfix is the source of a table: table NAME KIND {text}, and here table:NAME")


def _wildcard(name: str, text: str) -> None:
    if name.endswith("_address"):
        if "*" in text:
            raise ValueError("a network is written with the length of its prefix, 192.0.2.0/24, not with a *")
    elif WILDCARD.search(in_pieces(text)):
        raise ValueError(f"a shell wildcard: did you mean {_without_wildcard(text)}?")
    elif text.startswith("%@"):
        raise ValueError(f'"%" is a wildcard of SQL: did you mean {text[1:]}?')


def _without_wildcard(text: str) -> str:
    expression = f"/^{''.join(_as_expression(char) for char in text)}$/"
    found = re.fullmatch(PATTERN_OF_WILDCARD, text)
    if found:
        return f'"{found[1] or found[2] or found[3]}", or as an expression {expression}'
    return f"{expression} (every name below a domain is .example.com)"


def _as_expression(char: str) -> str:
    if char in "*?":
        return ".*" if char == "*" else "."
    return char if re.fullmatch(SAFE_IN_EXPRESSION, char) else f"\\{char}"


CHECKS: tuple[Callable[[str, str], None], ...] = (
    _negation,
    _operator,
    _quotes,
    _parameter,
    _connective,
    _map,
    _wildcard,
)
