"""`score(N)`: rules that add to the score, each followed by the limits that end the request.

postfwd compares the score with its limits when a rule has changed it, the largest first in the order of texts: "5.0" is
larger than "10.0". Raises CannotError.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from forkpolicy.importing.postfwd.actions import Call, parse_action
from forkpolicy.importing.postfwd.cannot import CannotError, Notes
from forkpolicy.importing.postfwd.perl import number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forkpolicy.importing.draft import Draft
    from forkpolicy.importing.left_out import Origin
    from forkpolicy.importing.postfwd.program import Numbered, Program

_AMOUNT = re.compile(r"([+\-*/=]?)(\d+)(?:[.,](\d{1,2}))?", re.ASCII)
COMMAND_LINE = "limits of the score that --scores sets on the command line of postfwd are not known here"


class Scores:
    """The limits of one import, and what was left out of it."""

    def __init__(self, program: Program, draft: Draft, notes: Notes) -> None:
        self._program, self._draft, self._notes = program, draft, notes
        self._lost: Origin | None = next(iter(program.odd_thresholds), None)

    def lose(self, origin: Origin) -> None:
        """A rule that changes the score is left out."""
        self._lost = self._lost or origin

    def ask(self, origin: Origin) -> None:
        """A rule compares the score."""
        if self._lost:
            raise CannotError(f"the score, or its limits, are changed at {self._lost}, which is left out")
        self._notes.add(COMMAND_LINE, origin)

    def refuse_asked(self, rule: Numbered) -> None:
        """A term that compares the score means something else at another place."""
        if "request_score" in rule.items:
            raise CannotError("it asks for the score of this place, where other rules would ask for it later")

    def add(self, rule: Numbered, argument: str, terms: Sequence[str]) -> None:
        """A rule that adds, and the limits behind it."""
        self.ask(rule.origin)
        found = _AMOUNT.fullmatch(argument)
        if not found or found[1] in ("*", "/", "="):
            raise CannotError(f"score({argument}): the score here is a sum of numbers with two digits at most")
        amount = float(f"{found[1].replace('+', '')}{found[2]}.{found[3] or 0}")
        limits = self._limits() if amount > 0 else []
        add = self._draft.action(f"score_{rule.identifier}", f"score {amount:+g}")
        self._draft.access(terms, add, rule.origin)
        for acl, action in limits:
            self._draft.access([acl], action, rule.origin)

    def _limits(self) -> list[tuple[str, str]]:
        found = []
        for limit, reply in sorted(self._program.thresholds.items(), reverse=True):
            amount = number(limit)
            if amount <= 0:
                raise CannotError(f"a limit of the score of {limit}")
            if isinstance(parse_action(reply), Call) or "$$" in reply:
                raise CannotError(
                    f"the limit {limit} of the score replies {reply}: the reply of a limit is a plain text here"
                )
            # Sums of numbers such as 0.1 come out a little less than postfwd's, which has two digits.
            is_exact = all(each * 8 == int(each * 8) for each in (amount, *self._program.amounts))
            shown = f"{amount:g}" if is_exact else f"{amount - 0.005:g}"
            try:
                action = self._draft.action(f"score_{limit}_reply", reply)
            except ValueError as error:
                raise CannotError(f"the limit {limit} of the score: {error}") from error
            found.append((self._draft.acl(f"score_{limit}", "score", [f">={shown}"]), action))
        return found
