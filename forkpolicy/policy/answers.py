"""Answers that may not be asked for twice: those of ACLs that count or wait, for the request at hand.

A request can be evaluated more than once: by the plan, again by `evaluate` where something has failed on the way, and
for a `{match.ACL}` in the reply. All of them ask such an ACL here, so that it is asked once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forkpolicy.policy.matchers.matcher import Finding
    from forkpolicy.policy.model import Acl


class Answers:
    """Of one request, until the next one begins."""

    def __init__(self) -> None:
        self._given: dict[int, Finding | Exception | None] = {}
        self.begin = self._given.clear

    def find(self, acl: Acl, values: Mapping[str, str | None], score: float = 0.0) -> Finding | None:
        """What makes an ACL hold, as `Acl.find`; what it raised it raises again."""
        if not acl.asked_once:
            return acl.find(values, score)
        if acl.number not in self._given:
            try:
                self._given[acl.number] = acl.find(values, score)
            except Exception as error:  # noqa: BLE001 - a failure is an answer, too
                self._given[acl.number] = error
        given = self._given[acl.number]
        if isinstance(given, Exception):
            raise given
        return given
