"""Why a mail is held, in words for the one whose mail it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkpolicy.tables.keys import fold_domain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from forkpolicy.gateway.domains import Domain
    from forkpolicy.gateway.store_messages import HeldRow
    from forkpolicy.translations import Say

_HOLDS = ("HOLD", "DUNNO")


def why(say: Say, row: HeldRow, domains: Mapping[str, Domain]) -> str:
    """One sentence, and what the policy said where it said more."""
    cause = cause_words(say, row.cause, row.spam_score, row.recipient, domains)
    return f"{cause} {_said(say, row)}".strip()


def cause_words(say: Say, cause: str, spam_score: float | None, recipient: str, domains: Mapping[str, Domain]) -> str:
    """The sentence about what held it."""
    if cause == "virus":
        return say("The scanner found a virus in it.")
    if cause == "policy":
        return say("A rule of the mail server holds it.")
    if spam_score is None:
        return say("The scanner takes it for spam.")
    domain = domains.get(fold_domain(recipient.rpartition("@")[2]))
    if domain is None:
        return say("The scanner takes it for spam: it has {score} points.", score=spam_score)
    return say(
        "The scanner takes it for spam: it has {score} points, and mail for {domain} is held from {hold}.",
        score=spam_score,
        domain=domain.name,
        hold=domain.hold,
    )


def _said(say: Say, row: HeldRow) -> str:
    """The text of the policy's action, as for a recipient who blocks the sender; or why it could not be asked."""
    verb, _, text = row.why.partition(" ")
    if row.cause == "virus" or (verb in _HOLDS and not text) or row.why.startswith("the scanner's score"):
        return ""
    return say("The server said: {text}", text=text if verb == "HOLD" else row.why)
