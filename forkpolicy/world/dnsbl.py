"""DNS lists (RFC 5782): is this address or domain in so many of these zones? The question, and what zones' answers mean
together.

Each zone is asked for the addresses of NAME.ZONE. It lists the name, does not list it, or nobody knows: it gives no
answer, one that is never a listing, or is switched off. Pure: who asks passes the answers in.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple

from forkpolicy.secrets import MASK
from forkpolicy.world.codes import is_code, is_counted, is_error

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from forkpolicy.world.codes import Code

HEX: Final = "0123456789abcdef"
V4_BYTES: Final = 4
# A name has 253 bytes at most, RFC 1035 2.3.4, and an IPv6 address takes 64 of them.
MAX_NAME_BYTES: Final = 253
MAX_ZONE_BYTES: Final = 253 - 64
_NAME: Final = re.compile(r"(?:[a-z0-9_-]{1,63}\.)+(?![0-9]+\Z)[a-z0-9_-]{1,63}")


@dataclass(frozen=True, slots=True)
class Zone:
    """One list. `name` is what people may see of it, `secret` the label in front that they may not; `codes`: none takes
    every code for a listing; `of_names`: of domains, not of addresses.
    """

    name: str
    codes: tuple[Code, ...] = ()
    secret: str = field(default="", repr=False)
    of_names: bool = False

    @property
    def domain(self) -> str:
        """What is asked, behind the name."""
        return f"{self.secret}.{self.name}" if self.secret else self.name


class Lists:
    """The zones of one ACL, and how many of them must list a name. Equal ones have the same zones and number.

    `given`: what the addresses of all zones, in their order, were found to mean.
    """

    __slots__ = ("_hash", "domains", "given", "needed", "nowhere", "zones")

    def __init__(self, zones: Iterable[Zone], needed: int = 1) -> None:
        self.zones = tuple(zones)
        self.needed = needed
        self.domains = tuple(f".{zone.domain}" for zone in self.zones)
        # The usual answer, which is the same each time.
        self.nowhere = DnsblAnswer(holds=False, found=tuple((zone.name, NOT_LISTED) for zone in self.zones))
        self.given: dict[tuple[Sequence[str], ...], DnsblAnswer] = {((),) * len(self.zones): self.nowhere}
        # Hashed for every request that asks.
        self._hash = hash((self.zones, needed))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Lists) and (self.zones, self.needed) == (other.zones, other.needed)

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return f"Lists({', '.join(zone.name for zone in self.zones)}, needed={self.needed})"


@dataclass(frozen=True, slots=True)
class Dnsbl:
    """Whether enough zones list a name. `name` is what stands in front of them, `about` what it means to people;
    `wants_text`: the words of a zone that lists it are asked for as well.
    """

    kind: ClassVar[str] = "dnsbl"

    name: str
    about: str
    lists: Lists
    wants_text: bool = field(default=False, compare=False)


class Listing(enum.Enum):
    """What one zone says."""

    LISTED = "listed"
    NOT = "not listed"
    UNKNOWN = "unknown"


class ZoneAnswer(NamedTuple):
    """`shown`: the codes of a listing, or why there is no answer; `is_error`: the zone says itself that it has none."""

    listing: Listing
    shown: str = ""
    is_error: bool = False


class DnsblAnswer(NamedTuple):
    """`holds`: None where nobody knows. `found`: each zone by its name, with its answer, as far as they were needed;
    `text`: the words of the first one that lists it.
    """

    holds: bool | None
    found: tuple[tuple[str, ZoneAnswer], ...]
    text: str = ""

    @property
    def reason(self) -> str:
        """Why nobody knows."""
        return "; ".join(f"{name}: {zone.shown}" for name, zone in self.found if zone.listing is Listing.UNKNOWN)


NOT_LISTED: Final = ZoneAnswer(Listing.NOT)


def zone_answer(zone: Zone, addresses: Sequence[str]) -> ZoneAnswer:
    """What the addresses of NAME.ZONE mean; none: there is no such name."""
    if not addresses:
        return NOT_LISTED
    error = next((each for each in addresses if is_error(each)), None)
    if error:
        return ZoneAnswer(Listing.UNKNOWN, f"answers with the error code {error}", is_error=True)
    counted = [each for each in addresses if is_counted(each, zone.codes)]
    if counted:
        return ZoneAnswer(Listing.LISTED, " ".join(sorted(counted)))
    if any(is_code(each) for each in addresses):
        return NOT_LISTED
    return ZoneAnswer(Listing.UNKNOWN, f"answers with {addresses[0]}, which is never a listing")


def no_answer(why: str) -> ZoneAnswer:
    """A zone that has given none."""
    return ZoneAnswer(Listing.UNKNOWN, why)


def together(lists: Lists, found: Sequence[ZoneAnswer | None]) -> DnsblAnswer | None:
    """What the answers of the zones mean together, in their order; None for those that are still to come. None where
    those may still decide it.
    """
    listed = sum(each is not None and each.listing is Listing.LISTED for each in found)
    missing = sum(each is None for each in found)
    unknown = sum(each is not None and each.listing is Listing.UNKNOWN for each in found)
    holds: bool | None
    if listed >= lists.needed:
        holds = True
    elif listed + unknown + missing < lists.needed:
        holds = False
    elif missing:
        return None
    else:
        holds = None
    named = zip(lists.zones, found, strict=True)
    return DnsblAnswer(holds, tuple((zone.name, each) for zone, each in named if each is not None))


def name_of_address(packed: bytes) -> str:
    """What stands in front of the zone for an address of 4 or 16 bytes."""
    if len(packed) == V4_BYTES:
        return ".".join(str(each) for each in reversed(packed))
    return ".".join(f"{HEX[each & 15]}.{HEX[each >> 4]}" for each in reversed(packed))


def shown_text(zone: Zone, strings: Sequence[bytes]) -> str:
    """The words of a listing, for a reply: one line, without the secret of the zone."""
    text = b"".join(strings).decode("utf-8", "replace").replace("\ufffd", "?")
    if zone.secret:
        text = re.sub(re.escape(zone.secret), MASK, text, flags=re.IGNORECASE)
    return " ".join(text.split())


def is_name(text: str) -> bool:
    """Whether a folded text is a name that lists may have: one with a dot, and not an address."""
    return _NAME.fullmatch(text) is not None


def fits(name: str, lists: Lists) -> bool:
    """Whether there is room for a name in front of each zone."""
    return len(name) + max(map(len, lists.domains)) <= MAX_NAME_BYTES
