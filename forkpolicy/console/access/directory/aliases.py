"""The table `aliases` of the policy: the other addresses of a person, by the one that the person signs in with.

# policy.conf
table aliases address /etc/forkpolicy/tables/aliases
# the file: the address, and a list with commas
anna@example.com  info@example.com,sales@example.com
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from forkpolicy.console.access.directory.person import address_of
from forkpolicy.errors import ForkpolicyError

if TYPE_CHECKING:
    from forkpolicy.console.tables.tables import Lookups

NAME: Final = "aliases"
_log: Final = logging.getLogger("forkpolicy.console")


class Aliases:
    """Answers nothing where there is no such table, or it cannot be read: own mail can be looked at all the same."""

    def __init__(self, lookups: Lookups) -> None:
        self._lookups = lookups

    def of(self, address: str) -> frozenset[str]:
        """All but the address itself."""
        try:
            found = self._lookups.look_up(NAME, [address])
        except KeyError:
            return frozenset()
        except ForkpolicyError as error:
            _log.warning("the table %s cannot be asked: %s", NAME, error)
            return frozenset()
        words = (found.value or "").replace(",", " ").split() if found else []
        return frozenset(filter(None, map(address_of, words))) - {address}
