"""The address of every page and filter, from values. Templates have each function by its name."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, urlencode

from forkpolicy.history.asking.words import line_of, with_word

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


def link(path: str, **query: object) -> str:
    """An address with a query of what is not None and not empty; a path has its values quoted already."""
    wanted = {name: value for name, value in query.items() if value is not None and value != ""}
    return f"{path}?{urlencode(wanted)}" if wanted else path


def part(value: str) -> str:
    """A value as one part of a path."""
    return quote(value, safe="")


def with_query(address: str, **query: object) -> str:
    """An address of ours with these values in its query instead of those that it had; None takes one away."""
    path, _, old = address.partition("?")
    return link(path, **{**dict(parse_qsl(old)), **query})


def is_ours(address: str) -> bool:
    """Whether it is a path of this console, and no other host by a trick of browsers."""
    return address.startswith("/") and not address.startswith(("//", "/\\")) and address.isprintable()


def decisions(q: str | Iterable[str] = "", **query: object) -> str:
    """Decisions that a line finds, as it is typed into the search; or all of these words."""
    return link("/decisions", q=q if isinstance(q, str) else line_of(q), **query)


def narrowed(words: Sequence[str], word: str, **query: object) -> str:
    """The decisions that meet one word more, in place of one of its kind."""
    return decisions(with_word(words, word), **query)


def held(**query: object) -> str:
    """Held mail that a search finds."""
    return link("/held", **query)


def why(code: str) -> str:
    """Why one decision was made."""
    return f"/why/{part(code)}"


def now(span: str = "") -> str:
    """Now, with rates of a span."""
    return link("/now", span=span)


def where(words: Iterable[str] = (), **query: object) -> str:
    """Where a mail is, that all of these words find."""
    return link("/mail", q=line_of(words), **query)


def queue(wanted: Mapping[str, str] | None = None) -> str:
    """What waits in Postfix's queue, or what of it a domain, a reason or a queue has."""
    # Also one without a name: recipients without a domain.
    return f"/queue?{urlencode(wanted)}" if wanted else "/queue"


def funnel(span: str = "") -> str:
    """What each stage stopped in a span."""
    return link("/funnel", span=span)


def table(name: str, **query: object) -> str:
    """One table of the policy."""
    return link(f"/tables/{part(name)}", **query)


def what_if(code: str = "", **query: object) -> str:
    """Exceptions for one decision, or a draft of them."""
    return link("/whatif", id=code, **query)


def rule(where: str) -> str:
    """One rule of the policy, by its file and line."""
    return f"/rules/{part(where)}"


def state(name: str = "") -> str:
    """What is remembered, or what of it an ACL or a list has."""
    return link("/state", name=name)


def state_key(name: str, key: Sequence[str], **query: object) -> str:
    """What is remembered of one key."""
    return link("/state", name=name, key=shlex.join(key), **query)
