"""The ACL types, one explicit table, and the way from the words of an ACL to its parts.

`build_parts` collects every mistake of an ACL's values; it does no I/O but reading value files through `Files`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from forkpolicy.errors import ConfigError, nearest
from forkpolicy.policy.matchers.clock import ClockPart, parse_days, parse_times, parse_zone
from forkpolicy.policy.matchers.foreign import flags_hint, refuse_foreign
from forkpolicy.policy.matchers.network import NetworkPart
from forkpolicy.policy.matchers.number import NumberPart, ScorePart, parse_comparison, parse_score_comparison
from forkpolicy.policy.matchers.parts import ExactPart, OneKeyPart, PresentPart, SamePart, UnqualifiedPart
from forkpolicy.policy.matchers.regex import RegexPart, check_regex, first_too_many, is_regex
from forkpolicy.policy.matchers.table import PairPart, TablePart, domain_of_address, domain_of_text
from forkpolicy.policy.matchers.version import VERSIONS, VersionPart, parse_version_comparison
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
    from forkpolicy.policy.matchers.parts import Lookup, Part
    from forkpolicy.policy.nodes import Word

T = TypeVar("T")

ADDRESSES = ("sender", "recipient", "sasl_sender")
HOSTS = ("client_name", "reverse_client_name", "helo_name")
NETWORKS = ("client_address", "server_address")
NUMBERS = ("size", "recipient_count", "encryption_keysize", "client_port", "server_port")
PRESENT = {
    "authenticated": PresentPart(("sasl_username", "sasl_method")),
    "encrypted": PresentPart(("encryption_protocol",)),
    "null_sender": PresentPart(("sender",), empty=True),
}
# A letter or two of a known type: `sendr`, `recipients`, `client_adress`. Two attributes of Postfix that differ as
# little would be a pair like ccert_issuer and ccert_issuer2.
MISSPELT = 0.85
# What `unqualified` may be asked about.
ENVELOPE = ("sender", "recipient")
OWN_TYPES = (*PRESENT, "unqualified", "day", "time", "score")


@dataclass
class Surroundings:
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


def build_parts(type_word: Word, words: list[Word], around: Surroundings) -> list[Part]:
    """The parts of an ACL of this type with these values. Mistakes go to `around.complaints`."""
    name = type_word.text.lower()
    if name.startswith("table:"):
        return _pair(type_word, words, around)
    if name in PRESENT:
        around.complaints += [word.complaint(f"{name} takes no value") for word in words[:1]]
        return [PRESENT[name]]
    if not words:
        around.complaints.append(type_word.complaint(f"{name} needs a value"))
        return []
    if name == "unqualified":
        return _unqualified(words, around)
    if name in ("day", "time"):
        return _clock(name, words, around)
    if name == "score":
        return [ScorePart(_parsed(words, parse_score_comparison, around))]
    if name in VERSIONS:
        return [VersionPart(name, _parsed(words, parse_version_comparison, around))]
    if name in NUMBERS:
        return [NumberPart(name, _parsed(words, parse_comparison, around))]
    return _Values(name, around).parts(words)


def _unqualified(words: list[Word], around: Surroundings) -> list[Part]:
    wrong = [word for word in words if word.text.lower() not in ENVELOPE]
    around.complaints += [
        word.complaint(f'"{word.text}" is not a value of unqualified: expected {" or ".join(ENVELOPE)}')
        for word in wrong
    ]
    return [UnqualifiedPart(word) for word in words if word not in wrong]


class _Values:
    """The values of an ACL on one attribute, sorted by kind: tables, other attributes, files, expressions, plain
    ones.
    """

    def __init__(self, name: str, around: Surroundings) -> None:
        self.name = name
        self.around = around
        self.built: list[Part] = []
        self.regexes: list[Word] = []
        self.plain: list[Word] = []

    def parts(self, words: list[Word]) -> list[Part]:
        for word in words:
            self._sort(word)
        # Cheapest first: one of them is enough.
        exact = self._exact() if self.plain else []
        return [*exact, *self._expressions(), *self.built]

    def _expressions(self) -> list[Part]:
        if not self.regexes:
            return []
        too_many = first_too_many(self.regexes)
        if too_many:
            message = "from here on the expressions of this ACL are too large together: shorten them, or use a table"
            self.around.complaints.append(too_many.complaint(message))
            return []
        try:
            part = RegexPart(self.name, self.regexes)
        except ValueError as error:
            self.around.complaints.append(self.regexes[0].complaint(str(error)))
            return []
        if len(part.sets) > 1:
            sets = f"{len(part.sets)} sets of up to 48 MB each"
            message = f"{len(self.regexes)} expressions are so large that each worker keeps {sets}"
            self.around.complaints.append(self.regexes[0].warning(message, "plain values and tables take far less"))
        return [part]

    def _sort(self, word: Word, *, in_file: bool = False) -> None:
        text = word.text
        try:
            refuse_foreign(self.name, text)
        except ValueError as error:
            self.around.complaints.append(word.complaint(str(error)))
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
        lookup = _declared(word, word.text[len("table:") :], self.around)
        if lookup is None:
            return
        fits = fitting_kinds(self.name)
        if lookup.kind in fits:
            view = _view(self.name, lookup.kind)
            self.built.append(TablePart(self.name, word, lookup, view))
        else:
            message = f'table "{lookup.name}" is of kind {lookup.kind}: {self.name} needs {" or ".join(fits)}'
            self.around.complaints.append(word.complaint(message))

    def _same(self, word: Word) -> None:
        other = word.text[1:-1]
        if _known_attribute(word, other, self.around):
            self.built.append(SamePart((self.name, other), word, folding(self.name)))

    def _regex(self, word: Word) -> None:
        try:
            check_regex(word.text)
        except ValueError as error:
            self.around.complaints.append(word.complaint(str(error)))
        else:
            self.regexes.append(word)

    def _file(self, word: Word) -> None:
        try:
            lines = read_lines(word.text, self.around.files)
        except ConfigError as error:
            hint = flags_hint(word.text)
            self.around.complaints += [word.complaint(f"{each.path} {each.message}", hint) for each in error.complaints]
            return
        for number, line in enumerate(lines, 1):
            if not is_comment(line):
                self._line(words_of_line(word.text, number, line))

    def _line(self, words: list[Word]) -> None:
        if len(words) > 1 and words[1].text[0] not in "#;":
            self.around.complaints.append(words[1].complaint("expected one value a line"))
        else:
            self._sort(words[0], in_file=True)

    def _exact(self) -> list[Part]:
        name, plain, around = self.name, self.plain, self.around
        if name in NETWORKS:
            found = _parsed(plain, parse_network_spec, around)
            return [NetworkPart(name, [(span, word) for spans, word in found for span in spans])]
        if name in ADDRESSES:
            return [address_part(name, _by_key(plain, parse_address_pattern, around), around.delimiter)]
        if name in HOSTS:
            return [host_part(name, _by_key(plain, parse_host_pattern, around))]
        if name == "protocol_state":
            return [OneKeyPart(name, _by_key(plain, _state, around), fold_text)]
        return [OneKeyPart(name, _by_key(plain, fold_text, around), fold_text)]


def address_part(name: str, words: dict[str, Word], delimiter: str) -> Part:
    """Mail address patterns; a list of plain domains, the usual one, costs one look-up."""
    if only_domains(words):
        return OneKeyPart(name, words, _listed_name(words, domain_of_address))
    return ExactPart(name, words, exact_keys_of(name, words, delimiter))


def host_part(name: str, words: dict[str, Word]) -> Part:
    """Host patterns; a list of plain names costs one look-up."""
    if all(key[0] != "." for key in words):
        return OneKeyPart(name, words, _listed_name(words, str))
    return ExactPart(name, words, domain_keys)


def exact_keys_of(name: str, keys: Collection[str], delimiter: str) -> Callable[[str], tuple[str, ...]]:
    """What lists the keys under which a value of an attribute may stand, no more of them than `keys` can have."""
    if name in HOSTS:
        return domain_keys if any(key[0] == "." for key in keys) else domain_names
    if name not in ADDRESSES:
        return lambda value: (value.casefold(),)
    if only_domains(keys):
        return lambda address: domain_names(domain_of_address(address))
    if delimiter or any(key[0] == "." or key[-1] in "@>" for key in keys):
        return lambda address: address_keys(address, delimiter)
    return _address_and_domain


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


def _pair(type_word: Word, words: list[Word], around: Surroundings) -> list[Part]:
    lookup = _declared(type_word, type_word.text[len("table:") :], around)
    wrong = [word for word in words if not (word.text.startswith("{") and word.text.endswith("}"))]
    for word in wrong or ([] if words else [type_word]):
        form = "acl pair table:NAME {sender} {client_address}"
        around.complaints.append(word.complaint(f"expected attributes in braces: {form}"))
    names = [word.text[1:-1] for word in words if _known_attribute(word, word.text[1:-1], around)]
    if lookup is None or wrong or not names:
        return []
    if lookup.kind != "key":
        message = f'table "{lookup.name}" is of kind {lookup.kind}: attributes together need one of kind key'
        around.complaints.append(type_word.complaint(message))
        return []
    return [PairPart(tuple(names), type_word, lookup)]


def _clock(name: str, words: list[Word], around: Surroundings) -> list[Part]:
    zones = [word for word in words if word.text.lower().startswith("tz=")]
    values = [word for word in words if word not in zones]
    found = _parsed(zones, parse_zone, around)
    if not values:
        example = "08:00-17:00" if name == "time" else "Monday-Friday"
        around.complaints.append(words[0].complaint(f"{name} needs a value such as {example} beside tz="))
    if len(zones) > 1:
        around.complaints.append(zones[1].complaint("one ACL has one tz=: declare a second ACL for the other zone"))
    zone = found[0][0] if found else None
    if name == "day":
        return [ClockPart(_parsed(values, parse_days, around), [], zone, around.clock)]
    return [ClockPart([], _parsed(values, parse_times, around), zone, around.clock)]


def _parsed(words: list[Word], parse: Callable[[str], T], around: Surroundings) -> list[tuple[T, Word]]:
    parsed = []
    for word in words:
        try:
            parsed.append((parse(word.text), word))
        except ValueError as error:
            around.complaints.append(word.complaint(str(error)))
    return parsed


def _by_key(words: list[Word], parse: Callable[[str], str], around: Surroundings) -> dict[str, Word]:
    # The first of equal values keeps its place in explanations.
    return dict(reversed(_parsed(words, parse, around)))


def _state(text: str) -> str:
    if text.upper() not in STATES:
        near = nearest(text, [state.lower() for state in STATES])
        hint = f'; did you mean "{near.upper()}"?' if near else ""
        raise ValueError(f'"{text}" is not a protocol state: expected {", ".join(STATES)}{hint}')
    return text.casefold()


def _declared(word: Word, name: str, around: Surroundings) -> Lookup | None:
    lookup = around.tables.get(name)
    if lookup is None:
        near = nearest(name, list(around.tables))
        hint = f'did you mean "table:{near}"?' if near else "declare it before: table NAME KIND SOURCE"
        around.complaints.append(word.complaint(f'unknown table "{name}"', hint))
    return lookup


def _known_attribute(word: Word, name: str, around: Surroundings) -> bool:
    if name in ATTRIBUTES:
        return True
    near = nearest(name, ATTRIBUTES)
    hint = f'did you mean "{{{near}}}"?' if near else ""
    around.complaints.append(word.complaint(f'unknown attribute "{name}"', hint))
    return False


def attributes_of(parts: Iterable[Part]) -> tuple[str, ...]:
    """All attributes that parts ask for, each once, in order."""
    return tuple(dict.fromkeys(name for part in parts for name in part.attributes))
