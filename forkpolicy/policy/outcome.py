"""What a decision comes to: a rule, and what the worker keeps with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from forkpolicy.policy.model import Rule


class Outcome:
    """One rule that decides or notes something. `hits`: how often it has; `plain`: its reply where that can go out with
    nothing put in and nothing logged. `denies` and `logged`: whether it counts as a denial, and stands in the log. The
    worker sets all of them.
    """

    __slots__ = ("denies", "hits", "logged", "plain", "rule")

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.hits = 0
        self.plain = b""
        self.denies = self.logged = False


WAITS: Final = Outcome(cast("Rule", None))
"""Not decided: the answer that it takes comes later."""
