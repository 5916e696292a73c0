"""The text of an action: `{attribute}`, parts of addresses and `{match.ACL}` put in, cleaned. `{{` and `}}` are
braces.

A template is split once, when the policy is loaded; unknown names are ValueErrors then. Whatever a request brings
comes out as printable text of bounded length, so that a reply stays one valid line (`reply.clean`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from forkpolicy.policy.parts import nearest_name, part_named
from forkpolicy.protocol.layout import Values
from forkpolicy.protocol.reply import MAX_CHARS, MAX_TEXT_BYTES, clean
from forkpolicy.tables.kinds.domain import domain_of_address

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forkpolicy.postfix.addresses import Views

MATCH_PREFIX = "match."
# The id of the decision in the log; it stands for itself where nothing is logged.
CODE = "code"
SHOWN_CODE = "{code}"
# Of a service's reply what stands behind its first word.
TEXT_PREFIX = "match-text."
# What the world says of a request (the text of a header, another server's reply) is longer than an attribute.
MAX_MATCH_CHARS = 400

Match = Callable[[str, Values], str]
Render = Callable[[Values, Match, str], str]

PIECES = re.compile(r"\{\{|\}\}|\{[^{}]*\}|[{}]|[^{}]+")


class Template(NamedTuple):
    """Literal texts and names in turn: `((literal, ""), ("", name), ...)`."""

    pieces: tuple[tuple[str, str], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Everything that is put in."""
        return tuple(name for _, name in self.pieces if name)

    @property
    def matches(self) -> tuple[str, ...]:
        """The ACLs whose table entry or answer is put in."""
        return tuple(name.partition(".")[2] for name in self.names if is_match(name))

    @property
    def whole_of(self) -> str:
        """The ACL whose answer is all of it; empty where there is more, or something else."""
        name = self.pieces[0][1] if len(self.pieces) == 1 else ""
        return name[len(MATCH_PREFIX) :] if name.startswith(MATCH_PREFIX) else ""

    @property
    def texts(self) -> tuple[str, ...]:
        """The ACLs of which the text of a reply is put in."""
        return tuple(name[len(TEXT_PREFIX) :] for name in self.names if name.startswith(TEXT_PREFIX))

    @property
    def attributes(self) -> tuple[str, ...]:
        """The attributes that are put in, whole or in part."""
        own = (part_named(name) for name in self.names if not is_match(name) and name != CODE)
        return tuple(dict.fromkeys(part.attribute for part in own if part))

    def bound(self, positions: Mapping[str, int], views: Views, *, whole: bool = False) -> Render:
        """A function that renders the text from a request's values; `positions` says where each attribute's is.

        Whole addresses are put in as they came, parts of them as `views` see them.
        Its second argument gives the table value that an ACL found for these values, its third is the decision's id.
        `whole`: it raises ValueError where it would have to clean or to cut a value, since half an address is another.
        """
        return _render(self.pieces, positions, views, *((_unchanged, _whole) if whole else (clean, fitting)))


def parse_template(text: str) -> Template:
    """Split a text at its braces. Raises ValueError with the name that is not known."""
    pieces: list[tuple[str, str]] = []
    for piece in PIECES.findall(text):
        if piece in ("{{", "}}"):
            pieces.append((piece[0], ""))
        elif piece in ("{", "}"):
            raise ValueError(f'a "{piece}" alone: a brace in the text is written twice, "{piece * 2}"')
        elif piece[0] == "{":
            pieces.append(("", _checked(piece[1:-1])))
        else:
            pieces.append((piece, ""))
    return Template(tuple(pieces))


def is_match(name: str) -> bool:
    """Whether a name stands for what an ACL has found."""
    return name.startswith((MATCH_PREFIX, TEXT_PREFIX))


def fitting(text: str) -> str:
    """Cut to what fits into one SMTP reply line, at a whole character."""
    # Four bytes are the longest that a character becomes: short texts need no counting.
    if len(text) * 4 <= MAX_TEXT_BYTES:
        return text
    raw = text.encode("utf-8", "replace")
    return text if len(raw) <= MAX_TEXT_BYTES else raw[:MAX_TEXT_BYTES].decode("utf-8", "ignore")


def _checked(name: str) -> str:
    if part_named(name) or is_match(name) or name == CODE:
        return name
    near = nearest_name(name, CODE)
    expected = "expected an attribute, {sender_domain} and the like, {match.ACL}, or {code}"
    hint = f'did you mean "{{{near}}}"?' if near else expected
    raise ValueError(f'unknown name "{{{name}}}": {hint}')


def _unchanged(value: str, limit_chars: int) -> str:
    if (cleaned := clean(value, limit_chars)) != value:
        raise ValueError(f'"{cleaned}" cannot be put in unchanged')
    return value


def _whole(text: str) -> str:
    if fitting(text) != text:
        raise ValueError("does not fit into one reply")
    return text


def _render(
    pieces: tuple[tuple[str, str], ...],
    positions: Mapping[str, int],
    views: Views,
    put_in: Callable[[str, int], str],
    fit: Callable[[str], str],
) -> Render:
    """The text as one expression. Values of the policy come through the namespace, never into the source."""
    namespace: dict[str, object] = {"put_in": put_in, "fit": fit}
    parts = []
    for number, (literal, name) in enumerate(pieces):
        namespace[f"literal{number}"] = literal
        if literal:
            parts.append(f"{{literal{number}}}")
        else:
            limit_chars = MAX_MATCH_CHARS if is_match(name) else MAX_CHARS
            parts.append(f"{{put_in({_value(name, number, positions, views, namespace)}, {limit_chars})}}")
    # Half the time of a function for each name: nearly every refusal names a domain.
    text = "".join(parts)
    source = f'lambda values, match, code: fit(f"{text}")'
    render: Render = eval(source, namespace)  # noqa: S307 - our own text, see above
    return render


def _value(name: str, number: int, positions: Mapping[str, int], views: Views, namespace: dict[str, object]) -> str:
    """The expression of what stands for a name. `number` keeps its names apart from those of others."""
    if is_match(name):
        namespace[f"acl{number}"] = name.partition(".")[2]
        found = f"match(acl{number}, values)"
        namespace["text_of"] = _text_of
        return f"text_of({found})" if name.startswith(TEXT_PREFIX) else found
    if name == CODE:
        return CODE
    part = part_named(name)
    assert part is not None, "parse_template has checked it"
    came = f"(values[{positions[part.attribute]}] or '')"
    if part.of is None:
        return came
    view = views.get(part.attribute)
    if part.of is domain_of_address and view:
        namespace |= {f"known{number}": view.known_domain, f"domain{number}": view.domain}
        return f"known{number}({came}.partition('@')[2]) or domain{number}({came})"
    namespace[f"part{number}"] = (lambda address: part.text(view(address))) if view else part.of
    return f"part{number}({came})"


def _text_of(reply: str) -> str:
    """What stands behind the first word."""
    return "".join(reply.split(None, 1)[1:])
