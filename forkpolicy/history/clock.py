"""The time for a policy that is asked about the past: when the request was logged, else the current time.

`explain`, `replay` and what-if use it for the policies that they ask.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from forkpolicy.policy.policy import Policy


class Clock:
    """One clock for all policies that are compared. `asked_for`: whether one has days or times, or remembers."""

    def __init__(self) -> None:
        self.now_s = self._began_s = time.time()
        self.asked_for = False

    def __call__(self) -> float:
        """The time, for the ACLs that ask for it."""
        return self.now_s

    def put_into(self, policy: Policy) -> None:
        """Use this clock for the policy's days and times."""
        for acl in policy.model.acls.values():
            for matcher in acl.matchers:
                if matcher.needs_clock:
                    matcher.clock = self
                    self.asked_for = True

    def turn_to(self, at_s: float) -> None:
        """Turn to that time, in seconds since 1970; 0: to when this command began."""
        self.now_s = at_s or self._began_s
