"""Why a rule cannot be carried over, and what is to be known about those that are. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from forkpolicy.importing.draft import Draft
    from forkpolicy.importing.left_out import Origin


class CannotError(ValueError):
    """`nearest`: what comes nearest to it here."""

    def __init__(self, reason: str, nearest: str = "") -> None:
        super().__init__(reason)
        self.reason, self.nearest = reason, nearest


class NeverError(CannotError):
    """postfwd never lets the rule fire."""

    def __init__(self, because: str, nearest: str = "") -> None:
        super().__init__(f"postfwd never lets it fire: {because}", nearest)


class Notes:
    """Differences that many rules share: each is reported once, with the first place and how many there are."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._places: dict[str, list[Origin]] = {}
        self._of_rule: list[tuple[str, Origin]] = []

    def add(self, text: str, origin: Origin) -> None:
        """A difference that the rule at hand has."""
        self._of_rule.append((text, origin))

    def end_rule(self, *, is_kept: bool) -> None:
        """What was added since the last rule counts only where the rule is carried over."""
        for text, origin in self._of_rule if is_kept else ():
            self._places.setdefault(text, []).append(origin)
        self._of_rule = []

    def write(self) -> None:
        """Give them to the draft."""
        for text, places in self._places.items():
            others = len(set(places)) - 1
            more = f" (and {others} other place{'s' if others > 1 else ''})" if others else ""
            self._draft.note(places[0], f"{text}{more}")
