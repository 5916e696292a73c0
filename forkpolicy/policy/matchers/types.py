"""The ACL types, one explicit table, and the way from the words of an ACL to its matchers.

`build_matchers` collects every mistake of an ACL's values; it does no I/O but reading value files through `Files`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from forkpolicy.errors import ConfigError, nearest
from forkpolicy.policy.matchers.clock import ClockMatcher, parse_days, parse_times, parse_zone
from forkpolicy.policy.matchers.exact import OneKeyMatcher, SeveralKeysMatcher
from forkpolicy.policy.matchers.foreign import flags_hint, refuse_foreign
from forkpolicy.policy.matchers.network import NetworkMatcher
from forkpolicy.policy.matchers.number import NumberMatcher, ScoreMatcher, parse_comparison, parse_score_comparison
from forkpolicy.policy.matchers.present import PresentMatcher
from forkpolicy.policy.matchers.regex import RegexMatcher, check_regex, first_too_many, is_regex
from forkpolicy.policy.matchers.same import SameMatcher
from forkpolicy.policy.matchers.table import PairMatcher, TableMatcher, domain_of_address, domain_of_text
from forkpolicy.policy.matchers.unqualified import UnqualifiedMatcher
from forkpolicy.policy.matchers.version import VERSIONS, VersionMatcher, parse_version_comparison
from forkpolicy.policy.parser import is_comment, read_lines, words_of_line
from forkpolicy.protocol.attributes import ATTRIBUTES, OTHER_NAMES, STATES
from forkpolicy.tables.keys import (
    address_keys,
    domain_keys,
    domain_names,
    fold_address,
    fold_domain,
    fold_text,
    ip_key,
    ip_text,
    parse_network_spec,
)
from forkpolicy.tables.names import parse_address_pattern, parse_host_pattern

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from forkpolicy.errors import Complaint
    from forkpolicy.files import Files
    from forkpolicy.policy.matchers.guards import KeysOf
    from forkpolicy.policy.matchers.matcher import Lookup, Matcher
    from forkpolicy.policy.nodes import Word

T = TypeVar("T")

ADDRESSES = ("sender", "recipient", "sasl_sender")
HOSTS = ("client_name", "reverse_client_name", "helo_name")
NETWORKS = ("client_address", "server_address")
NUMBERS = ("size", "recipient_count", "encryption_keysize", "client_port", "server_port")
PRESENT = {
    "authenticated": PresentMatcher(("sasl_username", "sasl_method")),
    "encrypted": PresentMatcher(("encryption_protocol",)),
    "null_sender": PresentMatcher(("sender",), empty=True),
}
# A letter or two of a known type: `sendr`, `recipients`, `client_adress`. Two attributes of Postfix that differ as
# little would be a pair like ccert_issuer and ccert_issuer2.
MISSPELT = 0.85
# What `unqualified` may be asked about.
ENVELOPE = ("sender", "recipient")
OWN_TYPES = (*PRESENT, "unqualified", "day", "time", "score")


@dataclass
class BuildContext:
    """What building needs beside the words: files for value lists, the declared tables, Postfix's delimiter, the
    clock.
    """

    files: Files
    tables: Mapping[str, Lookup]
    delimiter: str = ""
    clock: Callable[[], float] = time.time
    complaints: list[Complaint] = field(default_factory=list)


def type_complaint(word: Word) -> Complaint | None:
    """What is wrong with a type that is not an attribute of a Postfix known today.

    An error where it is a known one misspelt; any other may be one that a newer Postfix sends: a warning.
    """
    name = word.text.lower()
    if name in ATTRIBUTES or name in OWN_TYPES or name.startswith("table:"):
        return None
    known = [*ATTRIBUTES, *OWN_TYPES]
    meant = nearest(name, known, MISSPELT)
    if meant:
        return word.complaint(f'unknown type of ACL "{word.text}"', f'did you mean "{meant}"?')
    near = OTHER_NAMES.get(name) or nearest(name, known)
    if near:
        return word.warning(f'no Postfix known today sends an attribute "{word.text}"', f'did you mean "{near}"?')
    return word.warning(f'no Postfix known today sends an attribute "{word.text}": the ACL may never be known')


def build_matchers(type_word: Word, words: list[Word], context: BuildContext) -> list[Matcher]:
    """The matchers of an ACL of this type with these values. Mistakes go to `context.complaints`."""
    name = type_word.text.lower()
    if name.startswith("table:"):
        return _pair(type_word, words, context)
    if name in PRESENT:
        context.complaints += [word.complaint(f"{name} takes no value") for word in words[:1]]
        return [PRESENT[name]]
    if not words:
        context.complaints.append(type_word.complaint(f"{name} needs a value"))
        return []
    if name == "unqualified":
        return _unqualified(words, context)
    if name in ("day", "time"):
        return _clock(name, words, context)
    if name == "score":
        return [ScoreMatcher(_parsed(words, parse_score_comparison, context))]
    if name in VERSIONS:
        return [VersionMatcher(name, _parsed(words, parse_version_comparison, context))]
    if name in NUMBERS:
        return [NumberMatcher(name, _parsed(words, parse_comparison, context))]
    return _Values(name, context).matchers(words)


def _unqualified(words: list[Word], context: BuildContext) -> list[Matcher]:
    wrong = [word for word in words if word.text.lower() not in ENVELOPE]
    context.complaints += [
        word.complaint(f'"{word.text}" is not a value of unqualified: expected {" or ".join(ENVELOPE)}')
        for word in wrong
    ]
    return [UnqualifiedMatcher(word) for word in words if word not in wrong]


class _Values:
    """The values of an ACL on one attribute, sorted by kind: tables, other attributes, files, expressions, plain
    ones.
    """

    def __init__(self, name: str, context: BuildContext) -> None:
        self.name = name
        self.context = context
        self.built: list[Matcher] = []
        self.regexes: list[Word] = []
        self.plain: list[Word] = []

    def matchers(self, words: list[Word]) -> list[Matcher]:
        for word in words:
            self._sort(word)
        # Cheapest first: one of them is enough.
        exact = self._exact() if self.plain else []
        return [*exact, *self._expressions(), *self.built]

    def _expressions(self) -> list[Matcher]:
        if not self.regexes:
            return []
        too_many = first_too_many(self.regexes)
        if too_many:
            message = "from here on the expressions of this ACL are too large together: shorten them, or use a table"
            self.context.complaints.append(too_many.complaint(message))
            return []
        try:
            matcher = RegexMatcher(self.name, self.regexes)
        except ValueError as error:
            self.context.complaints.append(self.regexes[0].complaint(str(error)))
            return []
        if len(matcher.sets) > 1:
            sets = f"{len(matcher.sets)} sets of up to 48 MB each"
            message = f"{len(self.regexes)} expressions are so large that each worker keeps {sets}"
            self.context.complaints.append(self.regexes[0].warning(message, "plain values and tables take far less"))
        return [matcher]

    def _sort(self, word: Word, *, in_file: bool = False) -> None:
        text = word.text
        try:
            refuse_foreign(self.name, text)
        except ValueError as error:
            self.context.complaints.append(word.complaint(str(error)))
            return
        if text.startswith("table:") and not in_file:
            self._table(word)
        elif text.startswith("{") and text.endswith("}"):
            self._same(word)
        elif self.name not in NETWORKS and is_regex(text):
            self._regex(word)
        elif text.startswith("/") and not in_file:
            self._file(word)
        else:
            self.plain.append(word)

    def _table(self, word: Word) -> None:
        lookup = _declared(word, word.text[len("table:") :], self.context)
        if lookup is None:
            return
        fits = fitting_kinds(self.name)
        if lookup.kind in fits:
            view = _view(self.name, lookup.kind)
            self.built.append(TableMatcher(self.name, word, lookup, view))
        else:
            message = f'table "{lookup.name}" is of kind {lookup.kind}: {self.name} needs {" or ".join(fits)}'
            self.context.complaints.append(word.complaint(message))

    def _same(self, word: Word) -> None:
        other = word.text[1:-1]
        if _known_attribute(word, other, self.context):
            self.built.append(SameMatcher((self.name, other), word, folding(self.name)))

    def _regex(self, word: Word) -> None:
        try:
            check_regex(word.text)
        except ValueError as error:
            self.context.complaints.append(word.complaint(str(error)))
        else:
            self.regexes.append(word)

    def _file(self, word: Word) -> None:
        try:
            lines = read_lines(word.text, self.context.files)
        except ConfigError as error:
            hint = flags_hint(word.text)
            self.context.complaints += [
                word.complaint(f"{each.path} {each.message}", hint) for each in error.complaints
            ]
            return
        for number, line in enumerate(lines, 1):
            if not is_comment(line):
                self._line(words_of_line(word.text, number, line))

    def _line(self, words: list[Word]) -> None:
        if len(words) > 1 and words[1].text[0] not in "#;":
            self.context.complaints.append(words[1].complaint("expected one value a line"))
        else:
            self._sort(words[0], in_file=True)

    def _exact(self) -> list[Matcher]:
        name, plain, context = self.name, self.plain, self.context
        if name in NETWORKS:
            found = _parsed(plain, parse_network_spec, context)
            return [NetworkMatcher(name, [(span, word) for spans, word in found for span in spans])]
        if name in ADDRESSES:
            return [address_matcher(name, _by_key(plain, parse_address_pattern, context), context.delimiter)]
        if name in HOSTS:
            return [host_matcher(name, _by_key(plain, parse_host_pattern, context))]
        if name == "protocol_state":
            return [OneKeyMatcher(name, _by_key(plain, _state, context), fold_text, text_lister)]
        return [OneKeyMatcher(name, _by_key(plain, fold_text, context), fold_text, text_lister)]


def address_matcher(name: str, words: dict[str, Word], delimiter: str) -> Matcher:
    """Mail address patterns; a list of plain domains, the usual one, costs one look-up."""
    lister = partial(address_lister, delimiter=delimiter)
    if only_domains(words):
        return OneKeyMatcher(name, words, _listed_name(words, domain_of_address), lister)
    return SeveralKeysMatcher(name, words, lister)


def host_matcher(name: str, words: dict[str, Word]) -> Matcher:
    """Host patterns; a list of plain names costs one look-up."""
    if all(key[0] != "." for key in words):
        return OneKeyMatcher(name, words, _listed_name(words, str), host_lister)
    return SeveralKeysMatcher(name, words, host_lister)


def address_lister(keys: Collection[str], delimiter: str) -> KeysOf:
    """What lists the keys of a mail address in access(5) order, no more of them than `keys` can have."""
    if only_domains(keys):
        return lambda address: domain_names(domain_of_address(address))
    if delimiter or any(key[0] == "." or key[-1] in "@>" for key in keys):
        return lambda address: address_keys(address, delimiter)
    return _address_and_domain


def host_lister(keys: Collection[str]) -> KeysOf:
    """What lists the keys of a host's name."""
    return domain_keys if any(key[0] == "." for key in keys) else domain_names


def text_lister(_keys: Collection[str]) -> KeysOf:
    """What lists the one key of any other text."""
    return lambda value: (fold_text(value),)


def only_domains(keys: Iterable[str]) -> bool:
    """Whether address patterns are plain domains only."""
    return all("@" not in key and key[0] not in ".<" for key in keys)


def _listed_name(words: Collection[str], domain_of: Callable[[str], str]) -> Callable[[str], str]:
    """What gives the one key of a value where only whole names are listed: of two names the one that is."""

    def key_of(value: str) -> str:
        domain = domain_of(value)
        if domain.isascii():
            return fold_domain(domain)
        names = domain_names(domain)
        return next((name for name in names if name in words), names[0])

    return key_of


def _address_and_domain(address: str) -> tuple[str, ...]:
    local, at, domain = address.rpartition("@")
    if not at:
        return ()
    local = local.casefold()
    return tuple(key for name in domain_names(domain) for key in (f"{local}@{name}", name))


def folding(name: str) -> Callable[[str], str]:
    """How values of an attribute are folded before they are compared whole."""
    if name in NETWORKS:
        return _folded_ip
    if name in ADDRESSES:
        return fold_address
    return fold_domain if name in HOSTS else fold_text


def _folded_ip(text: str) -> str:
    key = ip_key(text)
    return ip_text(key) if key else text.casefold()


def fitting_kinds(name: str) -> tuple[str, ...]:
    """The kinds of table that an ACL on this attribute may ask."""
    if name in NETWORKS:
        return ("cidr",)
    if name in HOSTS:
        return ("domain", "key")
    return ("domain", "address", "key")


def _view(name: str, kind: str) -> Callable[[str], str] | None:
    if kind != "domain" or name in HOSTS:
        return None
    return domain_of_address if name in ADDRESSES else domain_of_text


def _pair(type_word: Word, words: list[Word], context: BuildContext) -> list[Matcher]:
    lookup = _declared(type_word, type_word.text[len("table:") :], context)
    wrong = [word for word in words if not (word.text.startswith("{") and word.text.endswith("}"))]
    for word in wrong or ([] if words else [type_word]):
        form = "acl pair table:NAME {sender} {client_address}"
        context.complaints.append(word.complaint(f"expected attributes in braces: {form}"))
    names = [word.text[1:-1] for word in words if _known_attribute(word, word.text[1:-1], context)]
    if lookup is None or wrong or not names:
        return []
    if lookup.kind != "key":
        message = f'table "{lookup.name}" is of kind {lookup.kind}: attributes together need one of kind key'
        context.complaints.append(type_word.complaint(message))
        return []
    return [PairMatcher(tuple(names), type_word, lookup)]


def _clock(name: str, words: list[Word], context: BuildContext) -> list[Matcher]:
    zones = [word for word in words if word.text.lower().startswith("tz=")]
    values = [word for word in words if word not in zones]
    found = _parsed(zones, parse_zone, context)
    if not values:
        example = "08:00-17:00" if name == "time" else "Monday-Friday"
        context.complaints.append(words[0].complaint(f"{name} needs a value such as {example} beside tz="))
    if len(zones) > 1:
        context.complaints.append(zones[1].complaint("one ACL has one tz=: declare a second ACL for the other zone"))
    zone = found[0][0] if found else None
    if name == "day":
        return [ClockMatcher(_parsed(values, parse_days, context), [], zone, context.clock)]
    return [ClockMatcher([], _parsed(values, parse_times, context), zone, context.clock)]


def _parsed(words: list[Word], parse: Callable[[str], T], context: BuildContext) -> list[tuple[T, Word]]:
    parsed = []
    for word in words:
        try:
            parsed.append((parse(word.text), word))
        except ValueError as error:
            context.complaints.append(word.complaint(str(error)))
    return parsed


def _by_key(words: list[Word], parse: Callable[[str], str], context: BuildContext) -> dict[str, Word]:
    # The first of equal values keeps its place in explanations.
    return dict(reversed(_parsed(words, parse, context)))


def _state(text: str) -> str:
    if text.upper() not in STATES:
        near = nearest(text, [state.lower() for state in STATES])
        hint = f'; did you mean "{near.upper()}"?' if near else ""
        raise ValueError(f'"{text}" is not a protocol state: expected {", ".join(STATES)}{hint}')
    return text.casefold()


def _declared(word: Word, name: str, context: BuildContext) -> Lookup | None:
    lookup = context.tables.get(name)
    if lookup is None:
        near = nearest(name, list(context.tables))
        hint = f'did you mean "table:{near}"?' if near else "declare it before: table NAME KIND SOURCE"
        context.complaints.append(word.complaint(f'unknown table "{name}"', hint))
    return lookup


def _known_attribute(word: Word, name: str, context: BuildContext) -> bool:
    if name in ATTRIBUTES:
        return True
    near = nearest(name, ATTRIBUTES)
    hint = f'did you mean "{{{near}}}"?' if near else ""
    context.complaints.append(word.complaint(f'unknown attribute "{name}"', hint))
    return False


def attributes_of(matchers: Iterable[Matcher]) -> tuple[str, ...]:
    """All attributes that matchers ask for, each once, in order."""
    return tuple(dict.fromkeys(name for matcher in matchers for name in matcher.attributes))
