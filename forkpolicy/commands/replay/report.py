"""What a replay found, as text and as JSON. Called at the end of `replay`; decides nothing itself."""

from __future__ import annotations

import json
import shlex
import sys
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from forkpolicy.terminal.colour import Painter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from forkpolicy.commands.replay.replaying import Change, Judge, Replay
    from forkpolicy.commands.shared.request_log import RequestLog
    from forkpolicy.policy.model import Rule

# Ten thousand rules are too many for a terminal: `--json` lists them all.
SHOWN_RULES = 20


@dataclass(frozen=True, slots=True)
class Report:
    """One finished replay."""

    replay: Replay
    request_log: RequestLog
    took_s: float

    def as_json(self) -> str:
        """One object; every rule and every change."""
        replay = self.replay
        report: dict[str, object] = {
            "requests": replay.requests,
            "seconds": round(self.took_s, 3),
            "left_out": dict(self.request_log.left_out),
            **_judge_object(replay.judge),
        }
        if replay.other:
            report["against"] = _judge_object(replay.other)
            report["changed"] = replay.changed
            report["changes"] = [_change_object(replay, each) for each in self._changes()]
        return json.dumps(report)

    def as_text(self) -> str:
        """A summary for a terminal."""
        paint = Painter(sys.stdout)
        rows = [*self._head(paint), "", *_action_rows(self.replay), "", *_rule_rows(self.replay.judge, paint)]
        if self.replay.other:
            rows += ["", *self._change_rows(paint)]
        return "\n".join(rows)

    def _head(self, paint: Painter) -> Iterator[str]:
        replay = self.replay
        yield paint.bold(f"{replay.requests:,} requests of {self.request_log.name}") + f" in {self.took_s:.1f} s"
        for why, count in self.request_log.left_out.items():
            yield paint.colour("yellow", f"{count:,} left out: {why}")
        for judge in filter(None, (replay.judge, replay.other)):
            for why, count in judge.failures.most_common(SHOWN_RULES):
                yield paint.red(f"{judge.settings_path}: {count:,} requests got on_error: {why}")
        if replay.clock.asked_for and not self.request_log.is_log:
            yield paint.colour("yellow", "days and times are the current ones: raw requests have no time")

    def _changes(self) -> list[Change]:
        return sorted(self.replay.changes.values(), key=lambda each: -each.requests)

    def _change_rows(self, paint: Painter) -> Iterator[str]:
        replay = self.replay
        assert replay.other
        if not replay.changed:
            yield paint.bold(f"{replay.other.settings_path} changes no verdict")
            return
        share = replay.changed / replay.requests
        yield paint.bold(f"{replay.other.settings_path} changes the verdict of {replay.changed:,} ({share:.2%})")
        for change in self._changes():
            yield ""
            yield f"{change.requests:>10,}  {change.action} {paint.bold('->')} {change.other_action}"
            yield f"{'':>10}  {_shown(change.before)}"
            yield f"{'':>10}  {paint.bold('->')} {_shown(change.after)}"
            yield f"{'':>10}  {paint.dim(explain_command(replay.other.settings_path, change.example))}"


def explain_command(settings_path: str, attributes: Mapping[str, str]) -> str:
    """A command line that asks the policy about one request, to paste into a shell."""
    words = [_quoted(f"{name}={value}") for name, value in attributes.items()]
    return " ".join(["forkpolicy explain -c", _quoted(settings_path), *words])


def _quoted(word: str) -> str:
    # Control characters, and bytes that are not UTF-8, as escapes that shells understand.
    if word.isprintable():
        return shlex.quote(word)
    escaped = (
        character if character.isprintable() and character not in "\\'" else _shell_escapes(character)
        for character in word
    )
    return f"$'{''.join(escaped)}'"


def _shell_escapes(character: str) -> str:
    # Three octal digits always end the escape; `\x` takes a digit more than meant in some shells.
    return "".join(f"\\{byte:03o}" for byte in character.encode("utf-8", "surrogateescape"))


def _actions(judge: Judge) -> Counter[str]:
    counts: Counter[str] = Counter()
    for rule, hits in zip(judge.rules, judge.hits, strict=True):
        if hits:
            counts[rule.action.verb] += hits
    return counts


def _action_rows(replay: Replay) -> Iterator[str]:
    mine, theirs = _actions(replay.judge), _actions(replay.other) if replay.other else Counter[str]()
    for verb in sorted(mine.keys() | theirs.keys(), key=lambda verb: (-mine[verb], verb)):
        other = f" -> {theirs[verb]:<10,}" if replay.other else ""
        yield f"{mine[verb]:>10,}{other}  {verb}"


def _rule_rows(judge: Judge, paint: Painter) -> Iterator[str]:
    hits = judge.hits
    fired = sorted((rule for rule in judge.rules if hits[rule.number]), key=lambda rule: -hits[rule.number])
    for rule in fired[:SHOWN_RULES]:
        yield f"{hits[rule.number]:>10,}  {_shown(rule)}"
    if len(fired) > SHOWN_RULES:
        yield paint.dim(f"{'':>10}  ({len(fired) - SHOWN_RULES:,} more rules that fired: --json lists them)")
    silent = [rule for rule in judge.policy.model.rules if not hits[rule.number]]
    if len(silent) > SHOWN_RULES:
        yield paint.dim(f"{0:>10}  ({len(silent):,} rules that never fired: --json lists them)")
    else:
        yield from (paint.dim(f"{0:>10}  {_shown(rule)}") for rule in silent)


def _shown(rule: Rule) -> str:
    if rule.place:
        return f"{rule.where}: {rule.text}"
    return f"({rule.where}: {'an evaluation failed' if rule.where == 'on_error' else 'no rule fired'})"


def _judge_object(judge: Judge) -> dict[str, object]:
    return {
        "settings": judge.settings_path,
        "actions": dict(_actions(judge)),
        "lines": [_rule_object(rule) | {"hits": judge.hits[rule.number]} for rule in judge.rules],
        "failures": dict(judge.failures),
    }


def _rule_object(rule: Rule) -> dict[str, object]:
    place = rule.place
    return {"path": place.path if place else None, "line": place.line if place else None, "text": rule.text}


def _change_object(replay: Replay, change: Change) -> dict[str, object]:
    assert replay.other
    return {
        "requests": change.requests,
        "before": _rule_object(change.before) | {"action": change.action},
        "after": _rule_object(change.after) | {"action": change.other_action},
        "example": change.example,
        "explain": explain_command(replay.other.settings_path, change.example),
    }
