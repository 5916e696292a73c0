"""A shadow policy on trial: evaluated beside the real one in the worker, never obeyed.

Where it would have answered otherwise is counted by the pair of lines responsible, and logged once a minute for
each pair. While there is no shadow none of this runs: `serving.decide` is then the real policy's own function.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from forkpolicy.loading import Shadow
    from forkpolicy.policy.model import Line
    from forkpolicy.policy.policy import Policy
    from forkpolicy.protocol.layout import Values

# Policies that differ in more places than this differ everywhere; the memory stays bounded.
MAX_PAIRS = 200


class Trial:
    """One generation's trial. `tell(pair, real, shadow)` is called for each difference; it decides what is logged."""

    def __init__(self, policy: Policy, shadow: Shadow, tell: Callable[[str, str, str], None]) -> None:
        self._policy = policy
        self._shadow = shadow.policy
        self._at = tuple(policy.wanted.index(name) for name in self._shadow.wanted)
        self._tell = tell
        self.compared = 0
        self.differs = 0
        self.pairs: Counter[str] = Counter()

    def decide(self, values: Values) -> Line:
        """What the real policy says; what the shadow says is compared."""
        line = self._policy.decide(values)
        seen = tuple([values[at] for at in self._at])
        other = self._shadow.decide(seen)
        self._shadow.noted.clear()
        self.compared += 1
        if line.action.reply != other.action.reply or line.action.template != other.action.template:
            self._compare(line, values, other, seen)
        return line

    def _compare(self, line: Line, values: Values, other: Line, seen: Values) -> None:
        real, shadow = self._policy.text(line, values), self._shadow.text(other, seen)
        if real == shadow:
            return
        self.differs += 1
        pair = f"{line.where} -> {other.where}"
        if pair in self.pairs or len(self.pairs) < MAX_PAIRS:
            self.pairs[pair] += 1
        self._tell(pair, real, shadow)

    def describe(self) -> dict[str, object]:
        """Counts for `status`."""
        return {"compared": self.compared, "differs": self.differs, "pairs": dict(self.pairs.most_common(20))}
