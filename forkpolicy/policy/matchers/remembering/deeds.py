"""`remember LIST {KEY}... DURATION` and `forget LIST {KEY}...`: what an action does to a list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from forkpolicy.durations import parse_duration
from forkpolicy.policy.matchers.remembering.forms import FORMS
from forkpolicy.policy.matchers.remembering.keys import WHOLE, Key, is_key, key_of, parse_mask
from forkpolicy.policy.matchers.remembering.options import Options
from forkpolicy.policy.parser import NAME
from forkpolicy.state.questions.listed import Forget, Remember

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from forkpolicy.policy.matchers.context import BuildContext
    from forkpolicy.policy.matchers.remembering.keys import Values
    from forkpolicy.policy.nodes import Word
    from forkpolicy.state.store import Question


@dataclass(frozen=True, slots=True)
class Deed:
    """One of the two, ready to be done for a request."""

    verb: str
    list_name: str
    key: Key
    question_for: Callable[[tuple[str, ...]], Question[None]]

    @property
    def attributes(self) -> tuple[str, ...]:
        """What it reads of a request; where one of them is not known or empty there is nothing to do."""
        return self.key.attributes

    def question(self, values: Values) -> Question[None] | None:
        """What the store is asked to do."""
        texts = self.key.texts(values)
        return self.question_for(texts) if texts else None


def parse_deed(verb: str, words: Sequence[Word], context: BuildContext) -> Deed:
    """A deed from the words behind its verb. Raises ValueError; what is wrong with a key goes to the context."""
    options = Options(words, ("mask",), context)
    keys = [word for word in options.rest if is_key(word)]
    others = [word.text for word in options.rest if not is_key(word)]
    if not keys or len(others) != (2 if verb == "remember" else 1) or not NAME.fullmatch(others[0]):
        raise ValueError(f"expected {FORMS[verb]}")
    list_name = others[0]
    key = key_of(keys, options.value("mask", WHOLE, parse_mask), context)
    if verb == "forget":
        return Deed(verb, list_name, key, lambda texts: Forget(list_name, texts))
    duration_s = parse_duration(others[1])
    return Deed(verb, list_name, key, lambda texts: Remember(list_name, texts, duration_s))
