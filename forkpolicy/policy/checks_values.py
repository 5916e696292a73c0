"""Warnings about single values: what is exact here and was searched for in apolicy, dots, brackets, nested
networks.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from forkpolicy.policy.matchers.foreign import PIECES
from forkpolicy.policy.matchers.network import NetworkMatcher
from forkpolicy.policy.matchers.regex import is_regex
from forkpolicy.policy.matchers.types import ADDRESSES, HOSTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkpolicy.errors import Complaint
    from forkpolicy.policy.model import Acl, Model
    from forkpolicy.policy.nodes import Word

# `bar.com` inside an expression: a dot between a name and what looks like a label.
BEFORE_DOT = re.compile(r"[A-Za-z0-9)\]-]")
AFTER_DOT = re.compile(r"[A-Za-z]{2,}(?![A-Za-z]*[*+?{\[])|\((?:\?:)?[A-Za-z]{2,}[A-Za-z|]*\)")
LITERAL = re.compile(r"(?P<local>[^\s\[\]]+@)?\[(?:IPv6:)?[0-9A-Fa-f:.]+\]", re.IGNORECASE)
# Names without a dot that are meant as they are.
WHOLE_NAMES = frozenset({"unknown", "localhost", "<>"})


def value_warnings(model: Model) -> Iterator[Complaint]:
    """Warnings about the values of every ACL."""
    for acl in model.acls.values():
        if acl.type_name in (*ADDRESSES, *HOSTS):
            yield from _words(acl)
        for matcher in acl.matchers:
            if isinstance(matcher, NetworkMatcher):
                yield from _nested(matcher)


def _words(acl: Acl) -> Iterator[Complaint]:
    for word in acl.words:
        text = word.text
        if LITERAL.fullmatch(text):
            message = f"{text} is an expression here: whatever has one of the characters between the brackets"
            yield word.warning(message, f"the address literal itself is {_escaped(text)}")
        elif is_regex(text):
            yield from _dots(word)
        elif not text.startswith(("table:", "{", "/")) and not set(text) & set(".@") and text not in WHOLE_NAMES:
            message = f'"{text}" is the whole name here; apolicy would have searched for it'
            yield word.warning(message, f"to search for it, write /{text}/")


def _escaped(literal: str) -> str:
    return "/^" + re.sub(r"([\[\].+])", r"\\\1", literal) + "$/"


def _dots(word: Word) -> Iterator[Complaint]:
    pieces = PIECES.findall(word.text)
    for at, piece in enumerate(pieces):
        if piece == "." and at and BEFORE_DOT.fullmatch(pieces[at - 1][-1]) and not pieces[at - 1].startswith("\\"):
            pieces[at] = r"\." if AFTER_DOT.match("".join(pieces[at + 1 :])) else "."
    escaped = "".join(pieces)
    if escaped != word.text:
        yield word.warning("a dot in an expression is any character", f"for the dot of a domain, write {escaped}")


def _nested(matcher: NetworkMatcher) -> Iterator[Complaint]:
    widest: tuple[bytes, Word] | None = None
    for (first, last), word in sorted(matcher.ranges, key=lambda each: (each[0][0], _descending(each[0][1]))):
        if widest and last <= widest[0] and first[:1] == widest[0][:1]:
            if word is not widest[1]:
                yield word.warning(_twice(word, widest[1]))
        else:
            widest = (last, word)


def _twice(word: Word, wide: Word) -> str:
    if word.text == wide.text:
        return f"{word.text} stands in this list twice"
    return f"{word.text} is part of {wide.text} in the same list: one of them is enough"


def _descending(key: bytes) -> bytes:
    return bytes(255 - each for each in key)
