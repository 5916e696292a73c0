"""Which requests the rules of a policy do not apply to: about two requests a second, evaluated the slow and exact way.

How often a rule fires is counted. That does not show that its first ACL exempts most requests, which is how "every
client looks local" hides. Counting exemptions would cost each request; a sample costs only the sampled ones. A rule
exempts a request if its first ACL keeps the rule from firing, or if the rule lets mail pass and fires.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkpolicy.policy.evaluate import Answer

if TYPE_CHECKING:
    from forkpolicy.policy.evaluate import Tried
    from forkpolicy.policy.policy import Policy
    from forkpolicy.protocol.layout import Values

PASSING = frozenset(("DUNNO", "OK", "RELAY"))


class Sampling:
    """The sample of one generation in one worker. `exempted[n]`: how many requests rule n exempted."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self.sampled = 0
        self.exempted = [0] * len(policy.model.rules)

    def look_at(self, values: Values) -> None:
        """Count one request. Raises nothing but bugs: what fails is an answer, too."""
        self.sampled += 1
        for tried in self._policy.trace(values).tried:
            if _leaves_alone(tried):
                self.exempted[tried.rule.number] += 1


def _leaves_alone(tried: Tried) -> bool:
    if tried.rule.action.verb in PASSING:
        return tried.fired
    looked, negated = tried.looked[0]
    return looked.answer is (Answer.HOLDS if negated else Answer.NOT)
