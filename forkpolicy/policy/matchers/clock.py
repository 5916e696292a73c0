"""What `day` and `time` have in common: they ask the clock and no attribute, in local time or in that of one `tz=`.

Local time is the worker's; `tz=Europe/Madrid` among the values of an ACL makes it that zone's, whatever TZ says.
"""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, Generic, TypeVar
from zoneinfo import ZoneInfo

from forkpolicy.policy.matchers.context import AclType
from forkpolicy.policy.matchers.matcher import Finding, Matcher

if TYPE_CHECKING:
    from collections.abc import Callable

    from forkpolicy.policy.matchers.context import BuildContext
    from forkpolicy.policy.nodes import Word

T = TypeVar("T")


class ClockMatcher(Matcher, Generic[T]):
    """Values that hold now or do not: `includes` says which."""

    clock: Callable[[], float]
    # How explanations show what time it is.
    shown = "%A %H:%M %Z"

    def __init__(self, values: list[tuple[T, Word]], zone: tzinfo | None, clock: Callable[[], float]) -> None:
        self.values = values
        self.zone = zone
        self.clock = clock

    def includes(self, value: T, now: datetime) -> bool:
        """Whether a value holds at that time, which is in the zone of the ACL."""
        raise NotImplementedError

    def find(self, *_values: str) -> Finding | None:
        """The first value that holds now."""
        now = self.now()
        word = next((word for value, word in self.values if self.includes(value, now)), None)
        return Finding(f"{word.text} at {now:{self.shown}}", word.place) if word else None

    def why_not(self) -> str:
        """What time it is."""
        return f"it is {self.now():{self.shown}}"

    def now(self) -> datetime:
        """The time that counts, in the zone that counts."""
        return datetime.fromtimestamp(self.clock(), UTC).astimezone(self.zone)

    @property
    def zone_name(self) -> str:
        """The zone, for comparisons with other ACLs."""
        return str(self.zone or "local")


def clock_type(
    matcher: Callable[[list[tuple[T, Word]], tzinfo | None, Callable[[], float]], Matcher],
    parse: Callable[[str], T],
    example: str,
) -> AclType:
    """A type whose values `parse` reads; `example` is one of them."""

    def build(type_word: Word, words: list[Word], context: BuildContext) -> list[Matcher]:
        zones = [word for word in words if word.text.lower().startswith("tz=")]
        values = [word for word in words if word not in zones]
        found = context.parsed(zones, _zone)
        if not values:
            context.wrong(words[0], f"{type_word.text.lower()} needs a value such as {example} next to tz=")
        if len(zones) > 1:
            context.wrong(zones[1], "one ACL has one tz=: declare a second ACL for the other zone")
        return [matcher(context.parsed(values, parse), found[0][0] if found else None, context.clock)]

    return AclType(build)


def _zone(text: str) -> tzinfo:
    name = text.partition("=")[2]
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise ValueError(
            f'"{name}" is not a time zone of this system: expected a name such as Europe/Madrid'
        ) from error
