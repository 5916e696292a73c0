"""Results of an indexed map as words of a table. Pure.

A map may have a text of its own for each entry. From so many on, one word stands for all replies of a verb, and a
second table has their texts, so that there is one rule and not thousands.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

from forkpolicy.importing.access.results import Does
from forkpolicy.protocol.reply import MAX_CHARS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forkpolicy.importing.access.results import Result
    from forkpolicy.importing.access.steps import Outcome

MANY: Final = 30
# A verb or a code, and a text that a table can have as a value and an action can put in as it is.
_TEXT: Final = re.compile(r"(REJECT|DEFER|WARN|INFO|[45][0-9][0-9]) ([^\s#;\"].*)")
_NO_VALUE: Final = re.compile(r"(?:^|\s)(?:[#;]|until=)")


class Words(NamedTuple):
    """`of`: the word of each result as the map has it; `outcomes`: of each word; `texts`: of results with a table."""

    of: Mapping[str, str]
    outcomes: Mapping[str, Outcome]
    texts: Mapping[str, str]


def words_for(outcomes: Mapping[str, Outcome], many: int = MANY) -> Words:
    """`outcomes`: by the result as the map has it. `many`: from how many texts on they have a table."""
    split = {result: found for result, outcome in outcomes.items() if (found := _split(outcome))}
    how_many = Counter(verb for verb, _ in split.values())
    of: dict[str, str] = {}
    by_word: dict[str, Outcome] = {}
    texts: dict[str, str] = {}
    words: dict[Result, str] = {}
    taken: Counter[str] = Counter()
    for result, outcome in outcomes.items():
        verb, text = split.get(result, ("", ""))
        if how_many[verb] > many:
            of[result] = f"{verb.lower()}-text"
            texts[result] = text
            by_word.setdefault(of[result], outcome)
            continue
        if outcome.result not in words:
            base = "class" if outcome.result.does is Does.CLASSES else outcome.result.reply.partition(" ")[0].lower()
            taken[base] += 1
            words[outcome.result] = f"{base}-{taken[base]}" if taken[base] > 1 else base
            by_word[words[outcome.result]] = outcome
        of[result] = words[outcome.result]
    return Words(of, by_word, texts)


def _split(outcome: Outcome) -> tuple[str, str] | None:
    """Verb and text of a reply whose text can stand in a table."""
    if outcome.result.does not in (Does.ENDS, Does.GOES_ON):
        return None
    found = _TEXT.fullmatch(outcome.result.reply)
    if not found or len(found[2]) > MAX_CHARS or _NO_VALUE.search(found[2]) or found[2][-1] == '"':
        return None
    return found[1], found[2]
