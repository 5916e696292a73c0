"""Regular expressions of the operator against text of strangers: RE2, linear whatever the input.

All expressions of one ACL go into one set: 0.5 us a look for one and for a thousand, where a search of each costs
1.5 us. What is too large for one set becomes several. They are searched for, not anchored, and fold case. Values short
enough are remembered, since `sasl_method` has three. The only module that imports re2.

Expressions see characters. A byte of a request that is not part of valid UTF-8 is the Latin-1 character of its number:
to RE2 itself it would be none, and no `.` and no `[^@]` would match it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

import re2

from forkpolicy.policy.matchers.extent import Extent
from forkpolicy.policy.matchers.foreign import refuse_dialect
from forkpolicy.policy.matchers.guards import Expressions
from forkpolicy.policy.matchers.matcher import Finding, Matcher

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from forkpolicy.policy.matchers.context import BuildContext
    from forkpolicy.policy.matchers.guards import Guard
    from forkpolicy.policy.nodes import Word

Match = Callable[[bytes], "list[int] | None"]

# RE2 compiles a set into instructions and, while it matches, keeps a state for each combination of them that texts lead
# to; `max_mem` bounds both. Where it has less than 1 KiB an instruction, it throws states away all the time: a thousand
# expressions took 7 us a look instead of 0.9. Filled with states by texts made for it, a set of 64 MiB grew by 47 MB.
BYTES_AN_INSTRUCTION = 1 << 10
# As many as RE2 wants to compile one.
BYTES_OF_ONE = 32
MIN_SET_BYTES, MAX_SET_BYTES = 8 << 20, 64 << 20
# With more of them in 64 MiB, sets of real expressions fail to compile.
MAX_SET_INSTRUCTIONS = 1 << 18
MAX_INSTRUCTIONS = 16 * MAX_SET_INSTRUCTIONS
REMEMBERED_VALUES = 2048
REMEMBERED_CHARS = 256
# An expression whose size is known without compiling it, which takes as long as everything else that is done with it:
# short, and without counted repetitions and classes that RE2 makes long programs of. `k` and `s` have a third case in
# Unicode (the Kelvin sign, the long s), a dot is any character of UTF-8.
ORDINARY = re.compile(r"(?:[^\\{\x00-\x1f\x7f-\U0010ffff]|\\[.@+\-_/bds]){1,120}").fullmatch
# Sizes of other expressions that stay in policies from reload to reload.
REMEMBERED_SIZES = 16384

# The decoder of requests leaves a byte that is not UTF-8 as U+DC80 to U+DCFF.
LATIN_1 = {0xDC00 + byte: byte for byte in range(0x80, 0x100)}

REASONS = {
    "invalid perl operator: (?": "look-around is not known here, since it cannot run in linear time",
    "invalid escape sequence: \\": "back-references and Python's own escapes are not known here (RE2 syntax)",
    "no argument for repetition operator: *": "a * repeats what stands before it, and nothing does",
    "bad repetition operator: ++": "nothing backtracks here, so that one + does the same",
    "bad repetition operator: *+": "nothing backtracks here, so that * alone does the same",
    "invalid character class range: [:<": r"the edge of a word is \b",
    "invalid character class range: [:>": r"the edge of a word is \b",
    "pattern too large": "write it shorter, with smaller repetitions",
}


def expression_of(text: str) -> str:
    """The expression without its slashes."""
    return text[1:-1] if text[0] == text[-1] == "/" else text


def mended(value: str) -> bytes:
    """What expressions see of a value that is not valid UTF-8: each odd byte as its character of Latin-1."""
    return value.translate(LATIN_1).encode("utf-8", "replace")


class RegexMatcher(Matcher):
    """Every expression of one ACL. Raises ValueError where RE2 has no room for one of them."""

    asking_us = 1.0

    def __init__(self, attribute: str, words: list[Word]) -> None:
        self.attributes = (attribute,)
        self.words = words
        # Each set's own question, and the index of its first expression.
        self.sets = list(_sets([expression_of(word.text) for word in words]))
        self._alone = self.sets[0][0] if len(self.sets) == 1 else None
        self._remembered = lru_cache(maxsize=REMEMBERED_VALUES)(self.matching)

    def matching(self, value: str) -> list[int]:
        """Which expressions are found in the value, by their index."""
        # A call and a loop less than it could be written with: 240 ns of 970, and nearly every text is plain UTF-8.
        try:
            text = value.encode()
        except UnicodeEncodeError:
            text = mended(value)
        if self._alone:
            return self._alone(text) or []
        return [first + at for match, first in self.sets for at in match(text) or ()]

    def remembered(self, value: str) -> list[int]:
        """The same, remembered for values short enough."""
        return self._remembered(value) if len(value) <= REMEMBERED_CHARS else self.matching(value)

    def holds(self, *values: str) -> bool:
        """Whether any expression is found."""
        return bool(self.remembered(values[0]))

    def find(self, *values: str) -> Finding | None:
        """The first expression, in the order of the policy, that is found."""
        found = self.matching(values[0])
        word = self.words[min(found)] if found else None
        return Finding(word.text, word.place) if word else None

    def guard(self) -> Guard:
        """Its expressions."""
        return Expressions(self.attributes[0], self.words)

    def covers(self) -> Extent:
        """Each expression only itself: nobody can tell what another one finds."""
        (name,) = self.attributes
        return Extent(frozenset(("expression", (name, word.text)) for word in self.words))


def regex_matchers(name: str, words: list[Word], context: BuildContext) -> list[Matcher]:
    """The matcher of an ACL's expressions, which `check_regex` has accepted one by one."""
    if not words:
        return []
    try:
        return _matchers(name, words, context)
    except re2.error:
        # One that `check_regex` took for an ordinary one is none. Which, and why, RE2 says of each alone.
        wrong = context.parsed(words, lambda text: refuse_expression(expression_of(text)))
        assert len(wrong) < len(words), "RE2 takes each of them, and not all"
        return []


def _matchers(name: str, words: list[Word], context: BuildContext) -> list[Matcher]:
    too_many = _first_too_many(words)
    if too_many:
        message = "from here on the expressions of this ACL are too large together: shorten them, or use a table"
        context.wrong(too_many, message)
        return []
    try:
        matcher = RegexMatcher(name, words)
    except ValueError as error:
        context.wrong(words[0], str(error))
        return []
    if len(matcher.sets) > 1:
        sets = f"{len(matcher.sets)} sets of up to 48 MB each"
        message = f"{len(words)} expressions are so large that each worker keeps {sets}"
        context.diagnostics.append(words[0].warning(message, "plain values and tables take far less"))
    return [matcher]


def check_regex(text: str) -> None:
    """Raises ValueError with the reason when RE2 does not take an expression, or takes it for another."""
    expression = expression_of(text)
    refuse_dialect(expression)
    if not ORDINARY(expression):
        refuse_expression(expression)


def refuse_expression(expression: str) -> None:
    """Raises ValueError with the reason when RE2 does not take an expression."""
    try:
        _exact_size(expression)
    except re2.error as error:
        reason = error.args[0].decode("utf-8", "replace") if isinstance(error.args[0], bytes) else str(error)
        words = next((f" ({words})" for start, words in REASONS.items() if reason.startswith(start)), "")
        raise ValueError(f"not a regular expression: {reason}{words}") from error


def _first_too_many(words: Iterable[Word]) -> Word | None:
    """The first of an ACL's expressions that makes them too large together, if one does."""
    instructions = 0
    for word in words:
        instructions += program_size(expression_of(word.text))
        if instructions > MAX_INSTRUCTIONS:
            return word
    return None


def bounded_size(text: str, most: int) -> int:
    """The number of RE2's instructions for a value that is an expression, found quickly whatever it is; more than
    `most` where there are about that many, 0 where RE2 does not take it for another reason.
    """
    try:
        size: int = re2.compile(expression_of(text), _options(most * BYTES_OF_ONE)).programsize
    except re2.error as error:
        return most + 1 if b"pattern too large" in error.args[0] else 0
    return size


def program_size(expression: str) -> int:
    """The number of RE2's instructions for an expression; of an ordinary one about that many. Raises re2.error."""
    if not ORDINARY(expression):
        return _exact_size(expression)
    lower = expression.lower()
    size = 5 + len(lower) + 3 * lower.count("k") + 2 * lower.count("s")
    return size + 7 * lower.count(".") + 7 * lower.count("[^")


@lru_cache(maxsize=REMEMBERED_SIZES)
def _exact_size(expression: str) -> int:
    size: int = re2.compile(expression, _options(MAX_SET_BYTES)).programsize
    return size


def _sets(expressions: Sequence[str]) -> Iterator[tuple[Match, int]]:
    start = size = 0
    for at, expression in enumerate(expressions):
        own = program_size(expression)
        if size and size + own > MAX_SET_INSTRUCTIONS:
            yield from _compiled(expressions[start:at], start, size)
            start, size = at, 0
        size += own
    yield from _compiled(expressions[start:], start, size)


def _compiled(expressions: Sequence[str], first: int, instructions: int) -> Iterator[tuple[Match, int]]:
    """One set, or several where RE2 does not find the room that the number of instructions made one expect."""
    max_bytes = min(max(instructions * BYTES_AN_INSTRUCTION, MIN_SET_BYTES), MAX_SET_BYTES)
    together = re2.Set.SearchSet(_options(max_bytes))
    for expression in expressions:
        together.Add(expression)
    try:
        together.Compile()
    except re2.error as error:
        if max_bytes < MAX_SET_BYTES:
            yield from _compiled(expressions, first, MAX_SET_INSTRUCTIONS)
            return
        if len(expressions) == 1:
            raise ValueError(f"/{expressions[0]}/ is too large: write it shorter, with smaller repetitions") from error
        half = len(expressions) // 2
        yield from _compiled(expressions[:half], first, instructions)
        yield from _compiled(expressions[half:], first + half, instructions)
        return
    yield together.Match, first


def _options(max_bytes: int) -> re2.Options:
    options = re2.Options()
    options.case_sensitive = False
    options.log_errors = False
    options.max_mem = max_bytes
    return options
