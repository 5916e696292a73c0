"""What a trial on past decisions found, for tools: `whatif --json`, and the pages of the console."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from forkpolicy.errors import printable
from forkpolicy.history.whatif.risks import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from forkpolicy.history.whatif.judging import Reply, WhatIf
    from forkpolicy.history.whatif.risks import Change, Sample

_NAMES: Final = {Kind.LETS_IN: "lets in", Kind.KEEPS_OUT: "keeps out", Kind.OTHER: "other"}


def what_if_object(found: WhatIf, changes: Sequence[Change]) -> dict[str, object]:
    """All of it; `changes`: those of `found`, the riskiest first."""
    return {
        "exact": found.is_exact,
        "doubts": [each._asdict() for each in found.doubts],
        "looked_at": found.looked_at,
        "changed": len(found.changed),
        "changes": [_change_object(each) for each in changes],
    }


def reply_object(reply: Reply) -> dict[str, object]:
    """What a policy replies, and by which rule."""
    return {"action": printable(reply.text), "rule": reply.rule, "acls": reply.acls}


def _change_object(change: Change) -> dict[str, object]:
    return {
        "decisions": change.decisions,
        "kind": _NAMES[change.kind],
        "before": reply_object(change.before),
        "after": reply_object(change.after),
        "samples": [_sample_object(each) for each in change.samples],
    }


def _sample_object(sample: Sample) -> dict[str, object]:
    found = sample.changed.found
    names = ("id", "time", "client", "sender", "recipient", "login", "host")
    return {name: getattr(found, name) for name in names} | {"risks": list(sample.risks)}
