"""How results of `forkpolicy-compile` look: a line a table, or JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from forkpolicy.tables.examples import words_for

if TYPE_CHECKING:
    from forkpolicy.compile.output.statistics import Statistics
    from forkpolicy.compile.result import Result

_MIB: Final = 1 << 20
# The counts that a line has.
_SHOWN: Final = ("merged", "nested", "skipped", "expired")


def summary(result: Result) -> str:
    """One table in words: what happened, how much of what, how long it took."""
    lines = [_headline(result)]
    difference = result.difference
    if difference:
        lines += [f"  + {text}" for text in difference.added_examples]
        lines += [f"  - {text}" for text in difference.removed_examples]
        shown = len(difference.added_examples) + len(difference.removed_examples)
        if difference.added + difference.removed > shown:
            lines.append(f"  and {difference.added + difference.removed - shown} more")
    if result.examples and result.state == "compiled":
        first = result.examples[0]
        lines.append(f"  {words_for(result.examples)} ({first.source}{f':{first.line}' if first.line else ''})")
    lines += _statistics_lines(result.statistics) if result.statistics else []
    return "\n".join(lines)


def _headline(result: Result) -> str:
    counts = ", ".join(
        f"{count} {what}"
        for what, count in result.counts.items()
        if count and what in ("merged", "nested", "skipped", "expired")
    )
    size = f"{result.size_bytes / _MIB:.1f} MiB" if result.size_bytes >= _MIB else f"{result.size_bytes} bytes"
    parts = [f"{result.entries} entries{f' ({counts})' if counts else ''}", size, f"version {result.version}"]
    if result.difference:
        parts.insert(0, f"{result.difference} against the table in use, nothing written")
    else:
        parts.insert(0, result.state)
    return f"{result.name}: {', '.join(parts)}, {result.seconds:.2f} s"


def _statistics_lines(statistics: Statistics) -> list[str]:
    lines = []
    for title in ("shapes", "values", "sources"):
        lines.append(f"  {title}")
        lines += [f"    {count:>10}  {what}" for what, count in statistics[title].items()]
    return lines


def refusal(result: Result) -> str:
    """The last line about a refused table."""
    shown = len(result.errors)
    count = shown + result.unshown
    first = f" (above, the first {shown})" if result.unshown else ""
    return f"table {result.name}: {count} error{'s' if count != 1 else ''}{first}; the table in use is unchanged"


def as_json(results: list[Result]) -> str:
    """All results as one document."""
    return json.dumps([_json_of(result) for result in results], indent=2)


def _json_of(result: Result) -> dict[str, object]:
    document: dict[str, object] = {
        "name": result.name,
        "kind": result.kind,
        "path": result.path,
        "state": result.state,
        "entries": result.entries,
        "counts": result.counts,
        "bytes": result.size_bytes,
        "seconds": round(result.seconds, 3),
        "version": result.version,
        "digest": result.digest,
        "expires": result.expires or None,
        "examples": len(result.examples),
        "errors": len(result.errors) + result.unshown,
        "diagnostics": [diagnostic.as_json() for diagnostic in result.diagnostics],
    }
    if result.reason:
        document["reason"] = result.reason
    if result.difference:
        document["added"], document["removed"] = result.difference.added, result.difference.removed
        document["added_examples"] = result.difference.added_examples
        document["removed_examples"] = result.difference.removed_examples
    if result.statistics:
        document["statistics"] = result.statistics
    return document


def finding(found: dict[str, object]) -> str:
    """What --verify says of one table."""
    if found["ok"]:
        return f"{found['name']}: intact, {found['entries']} entries"
    return f"{found['name']}: {found['reason']}"
