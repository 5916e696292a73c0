"""Words of the form `name=value` among the values of an ACL that remembers: each once, each known to its type."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeVar

from forkpolicy.errors import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from forkpolicy.policy.matchers.context import BuildContext
    from forkpolicy.policy.nodes import Word

T = TypeVar("T")

_OPTION: Final = re.compile(r"([a-z]+)=(.*)", re.IGNORECASE | re.DOTALL)


class Options:
    """What was given, by name."""

    def __init__(self, words: Sequence[Word], names: Collection[str], context: BuildContext) -> None:
        """Take the options out of `words`; `rest` are the others. A mistake goes to the context."""
        self._context = context
        self._given: dict[str, tuple[str, Word]] = {}
        self.rest: list[Word] = []
        for word in words:
            option = _OPTION.fullmatch(word.text)
            if option:
                self._take(option[1].lower(), option[2], word, names)
            else:
                self.rest.append(word)

    def _take(self, name: str, value: str, word: Word, names: Collection[str]) -> None:
        if name not in names:
            near = nearest(name, names)
            hint = f'did you mean "{near}="?' if near else f"expected {', '.join(f'{each}=' for each in names)}"
            self._context.wrong(word, f'unknown option "{name}="', hint)
        elif name in self._given:
            self._context.wrong(word, f"{name}= stands here twice")
        else:
            self._given[name] = value, word

    def word(self, name: str) -> Word | None:
        """Where an option stands, if it was given."""
        return self._given[name][1] if name in self._given else None

    def value(self, name: str, default: T, parse: Callable[[str], T]) -> T:
        """What `parse` makes of an option; what it raises ValueError for is a mistake."""
        if name not in self._given:
            return default
        value, word = self._given[name]
        try:
            return parse(value)
        except ValueError as error:
            self._context.wrong(word, f"{name}={value}: {error}")
            return default

    def choice(self, name: str, default: T, choices: Mapping[str, T]) -> T:
        """An option that is one of few words."""

        def chosen(value: str) -> T:
            if value.lower() not in choices:
                raise ValueError(f"expected {' or '.join(choices)}")
            return choices[value.lower()]

        return self.value(name, default, chosen)

    @property
    def skips(self) -> bool:
        """Whether a store that fails leaves the answer unknown (`fail=skip`)."""
        return self.choice("fail", self._context.skips_failures, {"error": False, "skip": True})
