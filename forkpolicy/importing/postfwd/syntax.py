"""The syntax tree of postfwd's rule files: frozen, each node with its place. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from forkpolicy.importing.left_out import LeftOut, Origin


class Item(NamedTuple):
    """`sender==anna@example.com`: what is compared, how, and with what. `macro`: the one that it stands in, if any."""

    key: str
    operator: str
    value: str
    origin: Origin
    macro: str = ""

    def __str__(self) -> str:
        """As it might be written."""
        return f"{self.key}{self.operator}{self.value}"


class Rule(NamedTuple):
    """One rule: its items in order, `id` and `action` among them. `never`: why it never fires, if it does not."""

    items: tuple[Item, ...]
    origin: Origin
    never: str = ""

    def __str__(self) -> str:
        """The rule on one line."""
        return "; ".join(map(str, self.items))


class Comment(NamedTuple):
    """A comment that stands on a line of its own."""

    text: str


class Mistake(NamedTuple):
    """A line that postfwd does not read as its author meant it."""

    left_out: LeftOut


Node = Rule | Comment | Mistake
