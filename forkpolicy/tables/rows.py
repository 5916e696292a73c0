"""What sources that are listed by a program have in common: rows of key and value, and a name."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator


class Row(NamedTuple):
    """One entry as a program listed it. Between several columns of a key is COLUMN_SEPARATOR. `line` counts from 1; 0
    where the source has no lines, and then `place` may say where it stands, for a message about it.
    """

    key: str
    value: str | None = None
    line: int = 0
    place: str = ""


class RowSource(Protocol):
    """A source that lists rows. `warnings` is complete when the rows are."""

    @property
    def name(self) -> str:
        """As entries name it."""
        ...

    @property
    def warnings(self) -> list[str]:
        """What the operator should know although nothing is wrong."""
        ...

    def rows(self) -> Iterator[Row]:
        """The rows. Raises ValueError, ConfigError or OSError where they cannot be listed."""
        ...
