"""`forkpolicy history show ID`: one past decision: what was replied, by which rule, what met each of its terms, the
request; the explanation with the policy and tables of then, where they are kept; and what would be different now.

Exit status 1: there is no such decision. Raises UsageError, HistoryError, ConfigError.
"""

from __future__ import annotations

import json
import sys
import time
from functools import partial
from typing import TYPE_CHECKING

from forkpolicy.commands.history.clean import clean
from forkpolicy.commands.shared.explanation import why_lines
from forkpolicy.commands.shared.past_decisions import id_in
from forkpolicy.documents import plain
from forkpolicy.errors import EXIT_DONE, EXIT_NO
from forkpolicy.explaining.as_object import as_object
from forkpolicy.history.deciding import PastDecision, decided_now, decided_then, loaded_from
from forkpolicy.history.opening import open_history, open_versions
from forkpolicy.history.past import version_of_then
from forkpolicy.history.query import query_of
from forkpolicy.history.recorded import answer_in_words, term_in_words
from forkpolicy.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from forkpolicy.history.deciding import Again, Now


def show(settings_path: str, wanted: str, *, as_json: bool) -> int:
    """Print it."""
    wanted = id_in(wanted)
    settings = load_settings(settings_path).history
    history = open_history(settings)
    found = next(history.find(query_of([f"id:{wanted}"], time.time()), 1), None)
    if found is None:
        print(f"there is no decision {wanted} in the history", file=sys.stderr)
        return EXIT_NO
    decision = PastDecision(history.raw(found), wanted)
    then, why_not = decided_then(decision, partial(version_of_then, open_versions(settings)))
    now = decided_now(decision, partial(loaded_from, settings_path), then)
    if as_json:
        print(json.dumps(_object(decision, then, why_not, now)))
    else:
        print("\n".join([*_lines(decision.line), *_then_lines(decision, then, why_not), *_now_lines(decision, now)]))
    return EXIT_DONE


def _object(decision: PastDecision, then: Again | None, why_not: str, now: Now) -> dict[str, object]:
    """The line of the log, and what the text has next to it."""
    return {
        **decision.line,
        "then": _explained(decision, then),
        "then_missing": why_not,
        "now": now.action,
        "now_but": now.but,
        "now_rule": now.rule,
        "now_explained": _explained(decision, now.again),
        "differences": [plain(each) for each in now.differences],
    }


def _explained(decision: PastDecision, again: Again | None) -> dict[str, object] | None:
    return as_object(again.trace, again.action, decision.request, again.model) if again else None


def _lines(line: Mapping[str, object]) -> Iterator[str]:
    yield clean(f"action={line['action']}")
    cut = f"; {line['cut']}" if "cut" in line else ""
    yield f"at {line['time']} on {line['host']}, with {line['in_force']} in force{cut}"
    yield clean(f"{line['line']}: {line.get('acls', '(its ACLs were cut)')}")
    for term in _objects(line.get("terms")):
        yield clean(f"  {term_in_words(term)}")
    answers = line.get("answers")
    for name, answer in answers.items() if isinstance(answers, dict) else ():
        yield clean(f"  {name} was answered: {answer_in_words(answer)}")
    request = line.get("request")
    for name, value in request.items() if isinstance(request, dict) else ():
        if value:
            yield clean(f"    {name}={value}")


def _then_lines(decision: PastDecision, then: Again | None, why_not: str) -> Iterator[str]:
    if then:
        yield "with the policy and tables of then:"
        for line in why_lines(then.trace, decision.request, then.model, is_past=True):
            yield f"  {line}"
    else:
        yield clean(f"the policy and tables of then are not at hand, and the above is what the log recorded: {why_not}")


def _now_lines(decision: PastDecision, now: Now) -> Iterator[str]:
    is_same = now.action == decision.line["action"]
    rule = f" by {now.rule}" if now.rule and not is_same else ""
    limits = f" ({'; '.join(now.but)})" if now.but else ""
    yield clean(f"the policy that is in the files now replies: {'the same' if is_same else now.action}{rule}{limits}")
    for difference in now.differences:
        yield clean(f"  {difference.text}")


def _objects(terms: object) -> list[dict[str, object]]:
    return [term for term in terms if isinstance(term, dict)] if isinstance(terms, list) else []
