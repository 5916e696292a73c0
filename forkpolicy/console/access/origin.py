"""Whether a request is meant for us, and whether a form comes from a page of ours.

A page of another site can make a browser send a form with our cookie, and a name that another site resolves to
127.0.0.1 can make it read our pages. Browsers say which host they ask, and since 2020 all of them say in `Origin` from
where a form comes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from forkpolicy.console.errors import NotAllowed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forkpolicy.console_settings import ConsoleSettings


class Origins:
    """The origins under which browsers reach the console: `url`, or `listen`, and localhost where that is loopback."""

    def __init__(self, settings: ConsoleSettings) -> None:
        self._origins = {settings.origin}
        if not settings.url and settings.listen.startswith(("127.", "[::1]")):
            self._origins.add(f"http://localhost:{settings.listen.rpartition(':')[2]}")
        self._hosts = {urlsplit(each).netloc for each in self._origins}

    def check_host(self, asked: str) -> None:
        """Raise NotAllowed where the host that a browser asked for is none of them."""
        host = asked.lower()
        if host not in self._hosts and host.removesuffix(":443").removesuffix(":80") not in self._hosts:
            known = " or ".join(sorted(self._hosts))
            raise NotAllowed(f"This console is reached as {known} ([console] url), not as {host[:100] or 'no host'}.")

    def check_form(self, headers: Mapping[str, str]) -> None:
        """Raise NotAllowed for a form from elsewhere, or from a client that does not say from where."""
        if headers.get("origin", "").lower() not in self._origins:
            raise NotAllowed("This form does not come from a page of this console: go back, load the page, try again.")
