"""postgrey: greylisting, but not of the networks of the site. It needs a database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadtest.servers.peers.peer import OWNER, Peer
from loadtest.traffic.traffic import PASSED

if TYPE_CHECKING:
    from pathlib import Path

    from loadtest.servers.peers.peer import Right
    from loadtest.traffic.traffic import Day


def _words(here: Path, day: Day, _connections: int) -> list[str]:
    """Greylisting in a Berkeley database, but not of the site's own networks."""
    (here / "clients").write_text("".join(f"{network}\n" for network in day.networks))
    (here / "recipients").touch()
    words = f"postgrey --unix={here}/peer.sock --dbdir={here} --pidfile={here}/pid --user={OWNER[0]} --group={OWNER[1]}"
    words += f" --whitelist-clients={here}/clients --whitelist-recipients={here}/recipients"
    # A client that asks again gets the same reply, for as long as this runs.
    return [*words.split(), "--delay=86400"]


def _right(day: Day) -> Right:
    """Every client that is not inside must come again later, whatever its mail is."""
    later = b"action=DEFER_IF_PERMIT 4.2.0 Greylisted"
    return lambda mail, _: PASSED if day.oracle.is_inside(mail.client) else later


POSTGREY = Peer("postgrey", "postgrey", "postgrey", "greylisting, but of our networks", _words, _right)
