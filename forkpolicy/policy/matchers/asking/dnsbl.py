"""What `rbl` and `rhsbl` share: `[>=N] [key=FILE] ZONE[=CODES]...`, the question for the zones, and reading its answer.

`key=FILE` puts the secret label of a paid zone in front of all zones that stand behind it. No message has it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from forkpolicy.errors import ConfigError
from forkpolicy.policy.matchers.extent import Extent
from forkpolicy.policy.matchers.matcher import Asking, Matcher, Reading
from forkpolicy.secrets import split_key
from forkpolicy.tables.keys import fold_domain
from forkpolicy.world.codes import parse_codes
from forkpolicy.world.dnsbl import MAX_ZONE_BYTES, Dnsbl, DnsblAnswer, Listing, Lists, Zone, is_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forkpolicy.policy.matchers.context import BuildContext
    from forkpolicy.policy.matchers.matcher import Finding
    from forkpolicy.policy.nodes import Word
    from forkpolicy.state.store import Question

KEY: Final = "key="
_NEEDED: Final = re.compile(r">=(.*)")
# A comma separates values, so what follows one among CODES is a word of its own.
_CODE: Final = re.compile(r"[0-9*][0-9*.-]*|127\..*")
_SECRET: Final = re.compile(r"[A-Za-z0-9_-]{1,63}")
_ZONE_FORM: Final = "expected the domain of a list, as in zen.spamhaus.org or zen.spamhaus.org=127.0.0.2-11"
MISSING: Final = "needs pycares, which is not installed"
INSTALL: Final = "pip install 'forkpolicy[dns]'"

# The usual one.
NOT_LISTED: Final = Reading(holds=False, value="", result="not-listed")


class DnsblMatcher(Matcher):
    """One ACL that asks zones."""

    asking = Asking.WAITS
    skips = True
    foreign_text = True
    asking_us = 3.0

    def __init__(self, attribute: str, lists: Lists) -> None:
        self.attributes = (attribute,)
        # What is asked about, where that is not the whole attribute.
        self.about = attribute
        self.lists = lists
        self.zones = lists.zones
        self.wants_text = False

    def question(self, values: Mapping[str, str | None]) -> Question[object] | None:
        """Whether enough zones list it; None for what no list can have."""
        (attribute,) = self.attributes
        # Equal ones follow each other: the commands of a session are about one client.
        return cast("Question[object] | None", self.asked_about(values[attribute] or ""))

    def asked_about(self, text: str) -> Dnsbl | None:
        """The question about the value of the attribute."""
        raise NotImplementedError

    def read(self, answer: object) -> Reading:
        """`{match.ACL}`: the words of the first zone that lists it."""
        if answer is self.lists.nowhere:
            return NOT_LISTED
        zones = cast("DnsblAnswer", answer)
        result = "unknown" if zones.holds is None else "listed" if zones.holds else "not-listed"
        return Reading(zones.holds, zones.text, result, "" if zones.holds is not None else zones.reason)

    def in_words(self, question: Question[object], answer: object) -> str:
        """What was asked about, and what each zone says."""
        found = "; ".join(_in_words(name, zone.listing, zone.shown) for name, zone in cast("DnsblAnswer", answer).found)
        return f"{cast('Dnsbl', question).about}: {found}"

    def put_in(self) -> None:
        """From now on the words are asked for, too."""
        self.wants_text = True

    def find(self, *_values: str) -> Finding | None:
        """Never: `question` and `read` say it."""
        raise AssertionError("name servers are asked")

    def covers(self) -> Extent:
        """Each zone, where one is enough; else all of them together."""
        about = f"listed {self.about}"
        if self.lists.needed == 1:
            return Extent(frozenset((about, zone) for zone in self.lists.zones))
        return Extent(frozenset({(about, self.lists)}))


def _in_words(name: str, listing: Listing, shown: str) -> str:
    if listing is Listing.LISTED:
        return f"{name} lists it ({shown})"
    return f"{name} does not list it" if listing is Listing.NOT else f"{name} {shown}"


@dataclass
class Values:
    """The words of such an ACL, parsed. `of_names`: what its zones list; `attribute`: the word in braces."""

    context: BuildContext
    of_names: bool = False
    zones: dict[str, Zone] = field(default_factory=dict)
    needed: int = 1
    needed_word: Word | None = None
    attribute: Word | None = None
    secret: str = ""
    # The last zone, if it had codes.
    with_codes: Zone | None = None

    def lists(self, type_word: Word, words: list[Word]) -> Lists | None:
        """Parse all words. None after a mistake, which goes to the context."""
        before = len(self.context.diagnostics)
        for word in words:
            try:
                self._take(word)
            except ValueError as error:
                self.context.wrong(word, str(error))
        if find_spec("pycares") is None:
            self.context.wrong(type_word, f"{type_word.text.lower()} {MISSING}", INSTALL)
        if len(self.context.diagnostics) == before:
            if not self.zones:
                self.context.wrong(type_word, f"{type_word.text.lower()} needs a zone", _ZONE_FORM)
            elif self.needed > len(self.zones):
                message = f">={self.needed} of {len(self.zones)} zone{'s' * (len(self.zones) > 1)} never holds"
                self.context.wrong(self.needed_word or type_word, message)
        is_wrong = len(self.context.diagnostics) > before
        return None if is_wrong else Lists(self.zones.values(), self.needed)

    def _take(self, word: Word) -> None:
        text = word.text
        if self.with_codes and _CODE.fullmatch(text):
            self._add(replace(self.with_codes, codes=(*self.with_codes.codes, *parse_codes(text))))
            return
        self.with_codes = None
        needed = _NEEDED.fullmatch(text)
        if needed:
            if self.needed_word:
                raise ValueError(f"{self.needed_word.text} stands here already")
            self.needed, self.needed_word = _number(needed[1]), word
        elif text.startswith("{") and text.endswith("}"):
            if self.attribute:
                raise ValueError(f"{self.attribute.text} stands here already: one ACL asks about one attribute")
            self.attribute = word
        elif text.lower().startswith(KEY):
            self.secret = self._read_secret(word)
        else:
            self._zone(word)

    def _zone(self, word: Word) -> None:
        name, equals, codes = word.text.partition("=")
        key, name = split_key(fold_domain(name))
        secret = key or self.secret
        if not is_name(name) or len(name) + len(secret) > MAX_ZONE_BYTES:
            raise ValueError(f'"{word.text}" is not a valid zone: {_ZONE_FORM}')
        zone = Zone(name, parse_codes(codes) if equals else (), secret, self.of_names)
        if zone.domain in self.zones:
            raise ValueError(f"{name} stands here twice: write its codes with commas between them")
        self._add(zone)

    def _add(self, zone: Zone) -> None:
        self.zones[zone.domain] = zone
        self.with_codes = zone if zone.codes else None

    def _read_secret(self, word: Word) -> str:
        path = Path(word.place.path).parent / word.text[len(KEY) :]
        try:
            lines = self.context.files.read_secret(path).decode("ascii", "replace").split()
        except ConfigError as error:
            (unreadable,) = error.diagnostics
            raise ValueError(f"the key of a zone: {unreadable.path} {unreadable.message}") from error
        if len(lines) != 1 or not _SECRET.fullmatch(lines[0]):
            raise ValueError(f"{path} has no key of a zone: expected one word of up to 63 letters, digits, - and _")
        return lines[0].lower()


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 1000):
        raise ValueError(f'">={text}": expected how many zones must list it, as in >=2')
    return int(text)
