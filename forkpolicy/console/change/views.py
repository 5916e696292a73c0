"""What pages of changes show, as data: the same for HTML and for JSON. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from forkpolicy.console.change.merging import Line, difference
from forkpolicy.console.links import part

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from forkpolicy.console.change.drafts import Checked
    from forkpolicy.console.change.engine import Differs
    from forkpolicy.console.change.hits import Hit
    from forkpolicy.console.change.merging import Conflict
    from forkpolicy.console.change.samples import Explained
    from forkpolicy.console.change.tables import TableSource
    from forkpolicy.console.change.versions import Change, Versions

View = dict[str, object]
# A whole list of twenty thousand mistakes is of no use to anybody.
_MOST: Final = 100
_MOST_LINES: Final = 400


def check_view(checked: Checked, before: str, after: str) -> View:
    """What is wrong with a draft, and what it changes."""
    return {
        "ok": checked.is_right,
        "sentence": _check_sentence(checked, before == after),
        "mistakes": [each.as_json() for each in checked.mistakes[:_MOST]],
        "elsewhere": [each.as_json() for each in checked.elsewhere[:_MOST]],
        "warnings": [each.as_json() for each in checked.warnings[:_MOST]],
        "difference": difference_view(before, after),
    }


def _check_sentence(checked: Checked, is_same: bool) -> str:
    if checked.mistakes:
        return f"It cannot be applied: {_counted(len(checked.mistakes), 'mistake')} in the draft."
    if checked.elsewhere:
        return f"It cannot be applied: {_counted(len(checked.elsewhere), 'mistake')} in other files of the policy."
    warnings = f", with {_counted(len(checked.warnings), 'warning')}" if checked.warnings else ""
    return f"It is what is in the file{warnings}." if is_same else f"It can be applied{warnings}."


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'s' * (number != 1)}"


def difference_view(before: str, after: str) -> list[list[View]]:
    """Groups of lines of a difference; of a very long one the beginning, and how many lines are not shown."""
    groups: list[list[View]] = []
    left = _MOST_LINES
    every = difference(before, after)
    for group in every:
        if left > 0:
            groups.append([line._asdict() for line in group[:left]])
        left -= len(group)
    if left < 0:
        groups.append([Line(" ", 0, 0, f"... {-left:,} more lines")._asdict()])
    return groups


def explained_view(explained: Sequence[Explained]) -> View | None:
    """What both policies say of a sample, the draft's last; None where there is no draft to say anything."""
    if not explained:
        return None
    sides = [{"action": each.action, "rule": each.rule, "why": each.why} for each in explained]
    before = sides[0] if len(sides) > 1 else None
    is_other = before is not None and (before["action"], before["rule"]) != (sides[-1]["action"], sides[-1]["rule"])
    return {"now": before, "draft": sides[-1], "differs": is_other}


def change_view(change: Change, versions: Versions) -> View:
    """A change in a list."""
    undone = versions.undone_by(change.n)
    return {
        "n": change.n,
        "state": change.state,
        "at_s": change.at_ms / 1000,
        "who": change.who,
        "note": change.note,
        "undoes": change.undoes,
        "undone_by": undone.n if undone else None,
        "said": change.said,
        "can_undo": undone is None and is_undoable(change),
    }


def is_undoable(change: Change) -> bool:
    """Whether there is anything that could be taken back."""
    return change.state == "applied" or (change.state == "found" and change.digest_before is not None)


def hits_view(hits: Sequence[Hit], since_s: float) -> View:
    """Rules with their hits."""
    return {
        "since_s": since_s,
        "decisions": sum(each.decisions for each in hits),
        "rules": [each._asdict() for each in hits],
    }


def conflict_view(differs: Differs, later: Mapping[str, object] | None) -> View:
    """Three texts: what the author saw, what he wants, what is there now."""
    merged, base = differs.merged, differs.base
    return {
        "seen": differs.current.digest,
        "now": differs.current.text,
        "mine": differs.mine,
        "text": merged.text if merged else differs.mine,
        "is_merged": bool(merged and not merged.conflicts),
        "conflicts": [_conflict(each) for each in merged.conflicts] if merged else [],
        "theirs_changed": difference_view(base, differs.current.text) if base is not None else None,
        "mine_changed": difference_view(base, differs.mine) if base is not None else None,
        "would_change": difference_view(differs.current.text, merged.text if merged else differs.mine),
        "later": later,
    }


def tables_view(tables: Mapping[str, Sequence[TableSource]]) -> list[View]:
    """The console's tables, each source with the address of its page."""
    return [
        {"table": name, "kind": source.declaration.kind, "path": str(source.path), "link": table_link(name, at)}
        for name, sources in tables.items()
        for at, source in enumerate(sources)
    ]


def table_link(name: str, at: int) -> str:
    """The page of one source of a table."""
    return f"/change/table/{part(name)}/{at}"


def _conflict(conflict: Conflict) -> View:
    return {
        "line": conflict.line,
        "base": list(conflict.base),
        "mine": list(conflict.mine),
        "theirs": list(conflict.theirs),
    }
