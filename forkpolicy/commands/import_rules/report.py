"""What was carried over and what was not, for people. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from forkpolicy.importing.draft import Draft


def report(draft: Draft, out: str | None) -> str:
    """Everything left out, the notes, and a summary with what to do next."""
    lines = [str(each) for each in (*draft.left_out, *draft.notes)]
    lines.append(f"{_count(draft.rules, 'rule')}, {_count(draft.entries, 'table entry', 'table entries')} imported")
    if draft.left_out:
        lines[-1] += f"; {len(draft.left_out)} left out, listed above"
    if out:
        lines.append(f'written to {out}: name its policy.conf in forkpolicy.toml ("policy = ..."), then')
        lines.append("  forkpolicy-compile && forkpolicy check")
        lines += [f"{out}/{name} is the {name.removesuffix('.new')} that asks it" for name in draft.files]
    elif draft.table_texts():
        lines.append(
            f"{_count(len(draft.table_texts()), 'table')} not shown: --out DIR writes the policy with its tables"
        )
    return "\n".join(lines)


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one}" if number == 1 else f"{number} {many or f'{one}s'}"
