"""`greylisting`: holds while a client network, a sender and a recipient that are new together must wait.

apolicy's words are understood: `time=` and `lifetime=` in minutes; where it kept its memory is of no use here.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, cast

from forkpolicy.durations import parse_duration
from forkpolicy.policy.matchers.context import AclType
from forkpolicy.policy.matchers.matcher import Reading
from forkpolicy.policy.matchers.remembering.keys import (
    Key,
    KeyPart,
    Mask,
    parse_mask,
    without_extension,
)
from forkpolicy.policy.matchers.remembering.matcher import RememberingMatcher
from forkpolicy.policy.matchers.remembering.options import Options
from forkpolicy.policy.matchers.remembering.rate import FROM_RCPT
from forkpolicy.policy.nodes import Place, Word
from forkpolicy.state.questions.greylisting import Greylisting, GreylistingAnswer, fold_sender
from forkpolicy.tables.keys import fold_address
from forkpolicy.tables.kinds.kind import Subject

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkpolicy.errors import Diagnostic
    from forkpolicy.policy.matchers.context import BuildContext
    from forkpolicy.policy.matchers.matcher import Matcher
    from forkpolicy.policy.matchers.remembering.keys import Values
    from forkpolicy.state.store import Question

# A second more than five minutes, and mailers that come again at 5:01 wait another seven.
DELAY_S: Final = 290
WINDOW_S: Final = 2 * 86400
KEEP_S: Final = 35 * 86400
AUTO: Final = 5
MASK: Final = Mask(24, 64)
OPTIONS: Final = ("delay", "window", "keep", "auto", "mask", "fail")
OF_APOLICY: Final = ("time", "lifetime", "backend", "root")
TRAINING: Final = "training"
_OPTION_BEHIND_COMMA: Final = re.compile(r",(?=[a-z]+=|training\b)", re.IGNORECASE)


class GreylistingMatcher(RememberingMatcher):
    """One greylisting with its times."""

    known_states = FROM_RCPT

    def __init__(self, acl: str, mask: Mask, options: Options, delimiter: str, *, training: bool) -> None:
        super().__init__(acl, _triplet(mask, delimiter), skips=options.skips)
        self.delay_s = options.value("delay", options.value("time", DELAY_S, _minutes), parse_duration)
        lifetime_s = options.value("lifetime", 0, _minutes)
        self.window_s = options.value("window", lifetime_s or WINDOW_S, parse_duration)
        self.keep_s = options.value("keep", lifetime_s or KEEP_S, parse_duration)
        self.auto = options.value("auto", AUTO, _passes)
        self.training = training
        self.ignored = [word for name in ("backend", "root") if (word := options.word(name))]

    def question(self, values: Values) -> Question[object] | None:
        """Whether the three must wait. None without a client or a recipient."""
        texts = self.key.texts(values)
        if texts is None:
            return None
        network, sender, recipient = texts
        return Greylisting(
            self.acl,
            network,
            sender,
            recipient,
            self.delay_s,
            self.window_s,
            self.keep_s,
            self.auto,
            self.training,
        )

    def read(self, answer: object) -> Reading:
        """`{match.ACL}`: the seconds that are left."""
        greylisting = cast("GreylistingAnswer", answer)
        return Reading(greylisting.waits, str(greylisting.left_s), greylisting.result)

    def in_words(self, question: Question[object], answer: object) -> str:
        """The three, and how they stand."""
        asked, greylisting = cast("Greylisting", question), cast("GreylistingAnswer", answer)
        key = self.key.shown((asked.network, asked.sender, asked.recipient))
        wait = f", {greylisting.left_s} s to wait" if greylisting.left_s else ""
        return f"{key}: {greylisting.result}{wait}"

    def warnings(self) -> Iterator[Diagnostic]:
        """What apolicy needed and has no effect here."""
        for word in self.ignored:
            message = f"{word.text} has no effect: what is remembered is in the store of [state]"
            yield word.warning(message, "leave it out")


def _triplet(mask: Mask, delimiter: str) -> Key:
    def client(values: Values) -> str:
        return mask.network(values["client_address"] or "")

    def sender(values: Values) -> str:
        return folded_sender(values["sender"] or "", delimiter)

    def recipient(values: Values) -> str:
        return without_extension(values["recipient"] or "", delimiter)

    return Key(
        (
            KeyPart("client", ("client_address",), client, Subject.MACHINE),
            KeyPart("sender", ("sender",), sender, Subject.MAIL),
            KeyPart("recipient", ("recipient",), recipient, Subject.MAIL),
        )
    )


def folded_sender(sender: str, delimiter: str) -> str:
    """A sender as greylisting compares it; the null sender is `<>`."""
    return without_extension(fold_sender(fold_address(sender)), delimiter)


def _minutes(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 10**6):
        raise ValueError("expected minutes, as apolicy has them")
    return int(text) * 60


def _passes(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 1000):
        raise ValueError("expected a number of passes, or 0 for never")
    return int(text)


def _build(type_word: Word, words: list[Word], context: BuildContext) -> list[Matcher]:
    pieces = [piece for word in words for piece in _pieces(word)]
    training = any(word.text.lower() == TRAINING for word in pieces)
    options = Options([word for word in pieces if word.text.lower() != TRAINING], (*OPTIONS, *OF_APOLICY), context)
    for word in options.rest:
        context.wrong(word, f'"{word.text}" is not a value of greylisting: expected {_expected()}')
    mask = options.value("mask", MASK, parse_mask)
    matcher = GreylistingMatcher(context.acl, mask, options, context.delimiter, training=training)
    if matcher.delay_s >= matcher.window_s:
        message = (
            f"the delay of {matcher.delay_s} s is not shorter than the window of {matcher.window_s} s: nobody passes"
        )
        context.wrong(options.word("delay") or options.word("window") or type_word, message)
    return [matcher]


def _expected() -> str:
    return ", ".join([*(f"{name}=" for name in OPTIONS), TRAINING])


def _pieces(word: Word) -> Iterator[Word]:
    """All options of apolicy stand in one word, with commas between them."""
    begin = 0
    for text in _OPTION_BEHIND_COMMA.split(word.text):
        place = word.place
        yield Word(text, Place(place.path, place.line, place.column + begin, place.source))
        begin += len(text) + 1


TYPE = AclType(_build, may_be_bare=True, adds_up=False)
