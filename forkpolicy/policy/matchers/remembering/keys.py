"""The keys of what is remembered: `{sasl_username}`, `{sender_domain}`, `{match.ACL}`, masked or not.

A key is what Postfix will understand: addresses are rewritten, and have no extension where `recipient_delimiter` is
set. Whatever compares equal is one key: texts are folded, and addresses of machines have one spelling. A part that is
known and empty makes a key of nothing: then nothing is asked and nothing counted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from forkpolicy.errors import nearest
from forkpolicy.policy.parts import local_part, part_named
from forkpolicy.tables.keys import base_local_part, fold_domain, fold_text, ip_key, network_text, split_address
from forkpolicy.tables.kinds import KINDS
from forkpolicy.tables.kinds.kind import Subject

if TYPE_CHECKING:
    from forkpolicy.policy.matchers.context import BuildContext, DeclaredAcl
    from forkpolicy.policy.matchers.matcher import Lookup
    from forkpolicy.policy.nodes import Word
    from forkpolicy.policy.parts import Part

Values = Mapping[str, str | None]
TextOf = Callable[[Values], str]

MATCH: Final = "match."


@dataclass(frozen=True, slots=True)
class Mask:
    """How long the networks are that addresses are counted by."""

    v4_bits: int
    v6_bits: int

    def network(self, address: str) -> str:
        """The network of an address; what is not an address (`unknown`) stays as it is."""
        key = ip_key(address)
        if key is None:
            return fold_text(address)
        return network_text(key, self.v4_bits if key[:1] == b"4" else self.v6_bits)


WHOLE: Final = Mask(32, 128)


def parse_mask(text: str) -> Mask:
    """`/24,/64`: for IPv4 and for IPv6. Raises ValueError."""
    v4, _, v6 = text.partition(",")
    lengths = [each[1:] for each in (v4, v6) if each.startswith("/")]
    if len(lengths) != 2 or not all(each.isascii() and each.isdigit() for each in lengths):
        raise ValueError(f'"{text}" is not a valid mask: expected one for IPv4 and one for IPv6, as in mask=/24,/64')
    v4_bits, v6_bits = map(int, lengths)
    if not 1 <= v4_bits <= 32 or not 1 <= v6_bits <= 128:
        raise ValueError("expected /1 to /32 for IPv4, then /1 to /128 for IPv6")
    return Mask(v4_bits, v6_bits)


@dataclass(frozen=True, slots=True)
class KeyPart:
    """One word in braces. `name` is what stands between them; `text_of` gives "" where there is nothing."""

    name: str
    attributes: tuple[str, ...]
    text_of: TextOf
    subject: Subject
    acl: DeclaredAcl | None = None


@dataclass(frozen=True, slots=True)
class Key:
    """All parts of one key."""

    parts: tuple[KeyPart, ...]

    @property
    def attributes(self) -> tuple[str, ...]:
        """The attributes that must be known."""
        return tuple(dict.fromkeys(name for part in self.parts for name in part.attributes))

    @property
    def acls(self) -> tuple[DeclaredAcl, ...]:
        """The ACLs that are asked for a part of it."""
        return tuple(part.acl for part in self.parts if part.acl)

    def texts(self, values: Values) -> tuple[str, ...] | None:
        """The key of a request; None where a part of it is empty. Raises what a table raises."""
        texts = tuple([part.text_of(values) for part in self.parts])
        return texts if all(texts) else None

    def shown(self, texts: Sequence[str]) -> str:
        """A key for people."""
        return " ".join(f"{part.name}={text}" for part, text in zip(self.parts, texts, strict=True))


def key_of(words: Sequence[Word], mask: Mask, context: BuildContext) -> Key:
    """The key that words in braces mean. Mistakes go to the context."""
    return Key(tuple(part for word in words if (part := _part(word, mask, context))))


def is_key(word: Word) -> bool:
    """Whether a word stands in braces."""
    return word.text.startswith("{") and word.text.endswith("}")


def is_bare_key(word: Word) -> bool:
    """Whether a word is a part of a key whose braces are missing."""
    return part_named(word.text) is not None


def without_extension(address: str, delimiter: str) -> str:
    """A mail address as keys have it."""
    local, domain = split_address(address)
    base = base_local_part(local.casefold(), delimiter)
    return f"{base}@{fold_domain(domain)}" if "@" in address else base


def _part(word: Word, mask: Mask, context: BuildContext) -> KeyPart | None:
    name = word.text[1:-1]
    if name.startswith(MATCH):
        acl = _asking_acl(word, name[len(MATCH) :], context)
        return KeyPart(name, acl.attributes, _Match(acl), Subject.TEXT, acl) if acl else None
    part = context.part(word)
    if part is None:
        return None
    return KeyPart(name, (part.attribute,), _text_of(part, mask, context.delimiter), part.subject)


def _asking_acl(word: Word, name: str, context: BuildContext) -> DeclaredAcl | None:
    acl = context.acls.get(name)
    if acl is None:
        near = nearest(name, context.acls)
        hint = f'did you mean "{{match.{near}}}"?' if near else "declare the acl before"
        context.wrong(word, f'unknown acl "{name}" in "{word.text}"', hint)
    elif acl.terms:
        context.wrong(word, f'acl "{name}" is of type any: expected an acl that asks a table')
    elif acl.asked_once or not any(matcher.lookup for matcher in acl.matchers):
        context.wrong(word, f'acl "{name}" asks no table, so "{word.text}" is always empty')
    else:
        return acl
    return None


class _Match:
    """The value of the entry that an ACL finds."""

    def __init__(self, acl: DeclaredAcl) -> None:
        self._acl = acl

    def __call__(self, values: Values) -> str:
        found = self._acl.find(values)
        return fold_text(found.entry.value or "") if found and found.entry else ""


def _text_of(part: Part, mask: Mask, delimiter: str) -> TextOf:
    name, of = part.attribute, part.text
    if part.subject is Subject.MACHINE:
        return lambda values: mask.network(values[name] or "")
    if part.subject is Subject.MAIL:
        return lambda values: without_extension(values[name] or "", delimiter)
    if part.of is local_part:
        return lambda values: base_local_part(local_part(values[name] or "").casefold(), delimiter)
    fold = part.fold
    return lambda values: fold(of(values[name] or ""))


def asker_of(part: KeyPart, word: Word, lookup: Lookup, context: BuildContext) -> TextOf | None:
    """What a table is asked for about the first part of a key, without a mask. A mistake is at `word`."""
    views = KINDS[lookup.kind].asked_for
    if part.subject not in views:
        fitting = " or ".join(kind for kind, each in KINDS.items() if part.subject in each.asked_for)
        context.wrong(word, f'table "{lookup.name}" is of kind {lookup.kind}: {{{part.name}}} needs {fitting}')
        return None
    view = views[part.subject]
    if part.subject in (Subject.MACHINE, Subject.MAIL):
        # With its extension and as a single address: the table itself knows what to make of them.
        (name,) = part.attributes
        whole: TextOf = lambda values: values[name] or ""  # noqa: E731 - one of two ways to get a text
    else:
        whole = part.text_of
    return (lambda values: view(whole(values))) if view else whole
