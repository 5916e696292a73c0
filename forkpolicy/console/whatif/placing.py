"""Where an exception of the console stands: behind what the console's rule file has, wherever the policy includes it.

So it is tried there, and not in front of the first rule: a rule of the administrator that comes before the include
is asked first, and what that refuses no exception lets in. A policy without such a file has an exception tried in
front of its first rule, with the limits of such a file: the console must not read others for the one who types.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from forkpolicy.console.change.merging import tidy
from forkpolicy.history.whatif.policies import load_draft, load_tried
from forkpolicy.history.whatif.risks import is_kept_out

if TYPE_CHECKING:
    from pathlib import Path

    from forkpolicy.history.whatif.judging import Reply
    from forkpolicy.history.whatif.policies import Tried
    from forkpolicy.loading import Loaded
    from forkpolicy.policy.model import Rule


@dataclass(frozen=True, slots=True)
class Placed:
    """A policy with an exception. `path`: the rule file, empty where the exception stands in front of everything;
    `begins`: the line of it at which the exception begins.
    """

    tried: Tried
    path: str
    begins: int


def place(now: Loaded, path: Path | None, statements: str) -> Placed:
    """Put statements behind the text of the rule file as it was read with the policy. Raises ConfigError: mistakes in
    lines from `begins` on are those of the statements.
    """
    if path is None:
        return Placed(load_tried(now, statements, restricted=True), "", 1)
    text = now.snapshot[str(path)].decode("utf-8", "surrogateescape")
    return Placed(load_draft(now, str(path), text + tidy(statements)), str(path), first_line(text))


def first_line(text: str) -> int:
    """The number of the line behind a text."""
    return text.count("\n") + 1


def why_kept_out(placed: Placed, after: Reply) -> str:
    """Why a request stays out in spite of an exception, in a sentence; empty where it comes in."""
    if not is_kept_out(after.verb):
        return ""
    rules = placed.tried.loaded.policy.model.rules
    own = [at for at, rule in enumerate(rules) if _is_of(rule, placed)]
    by = next((at for at, rule in enumerate(rules) if rule.where == after.rule), None)
    if by is None:
        return "This exception cannot let it in: no rule lets it in, and the policy's default refuses it."
    rule = rules[by]
    if by in own:
        return f"This does not let it in: its own rule replies {after.text}."
    if own and by > own[0]:
        return f"This exception is not met by the request: {after.rule} refuses it, behind the exception."
    if rule.place and rule.place.path == placed.path:
        return (
            f"This exception cannot let it in: {after.rule}, a rule of the console, refuses it first: change that rule."
        )
    return (
        f"This exception cannot let it in: {after.rule} refuses it before the console's rules are asked "
        f"({rule.text}). Ask the administrator to change that rule, or to move the include of {placed.path} above it."
    )


def _is_of(rule: Rule, placed: Placed) -> bool:
    """Whether a rule is the exception's."""
    if rule.place is None:
        return False
    return rule.place.path in placed.tried.paths and rule.place.line >= placed.begins
