"""The page Change: the rule file as text, checked and tried before it is applied; its history, and undo.

One form with a button for each step, so that it works without scripts. Until it is applied, a draft is in the browser
alone.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from forkpolicy.console.change.drafts import NoRuleFileError
from forkpolicy.console.change.engine import Applied, Differs, Refused, Same, Wrong
from forkpolicy.console.change.hits import hits_since
from forkpolicy.console.change.merging import tidy
from forkpolicy.console.change.rules import RuleFile, not_loaded_yet
from forkpolicy.console.change.text_files import UnreadableError, read_text
from forkpolicy.console.change.views import (
    change_view,
    check_view,
    conflict_view,
    difference_view,
    explained_view,
    hits_view,
    table_link,
    tables_view,
)
from forkpolicy.console.errors import NotFound, UserMistake
from forkpolicy.console.links import link
from forkpolicy.console.page import Notice, Page, Redirect
from forkpolicy.errors import ConfigError, ForkpolicyError, UsageError
from forkpolicy.explaining.what_if_object import what_if_object
from forkpolicy.history.rollup_sums import open_rollups

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from forkpolicy.console.change.drafts import Checked
    from forkpolicy.console.change.engine import Outcome, Target
    from forkpolicy.console.change.text_files import Text
    from forkpolicy.console.change.versions import Change
    from forkpolicy.console.visit import Visit

    Again = Callable[[Text, Checked | None, int], Page]

_A_PAGE: Final = 20
_MOST_ADDED_CHARS: Final = 8_000
_DAYS: Final = 7
_MOST_DAYS: Final = 400


def show(visit: Visit) -> Page:
    """What is in the file. `add`: lines to be put behind it, as What if has them."""
    added = visit.text("add", most=_MOST_ADDED_CHARS)
    try:
        rules = visit.parts.change.rules
        now = read_text(rules.path)
    except (NoRuleFileError, ConfigError, UnreadableError) as error:
        return _read_only(visit, error)
    text = now.text + tidy(added)
    checked = visit.parts.change.drafts.check(rules.path, text) if added else None
    return _page(visit, rules, now, text=text, seen=now.digest, checked=checked)


def act(visit: Visit) -> Page | Redirect:
    """A button of the form: check, explain, what if, apply."""
    rules = visit.parts.change.rules
    text, seen = draft_of(visit), visit.text("seen", most=64)

    def again(now: Text, checked: Checked | None, status: int) -> Page:
        return _page(visit, rules, now, text=text, seen=now.digest, checked=checked, status=status)

    if visit.text("do") == "apply":
        author = (visit.account.name, visit.text("note"), visit.client)
        outcome = visit.parts.change.engine.apply(rules, seen, text, *author)
        return done(visit, rules, outcome, again, "/change")
    checked, now = rules.check(text), read_text(rules.path)
    return _page(visit, rules, now, text=text, seen=seen, checked=checked, tried=visit.text("do"))


def check(visit: Visit) -> Page:
    """The result of a check alone, as it is typed."""
    rules = visit.parts.change.rules
    text = draft_of(visit)
    data = {"check": check_view(rules.check(text), read_text(rules.path).text, text)}
    return Page("change/checked", "Check", data=data, fragment=True)


def names(visit: Visit) -> Page:
    """What may stand at the cursor: names in place of the characters from `begin` to `end`."""
    found = visit.parts.change.suggest(draft_of(visit), visit.number("at", 0))
    data = {"begin": found.begin, "end": found.end, "names": found.names}
    return Page("change/names", "Names", data=data, fragment=True)


def show_change(visit: Visit) -> Page:
    """One change: what it did, what came of it, and its undo."""
    changes, change = visit.parts.change, _change(visit)
    before, after = changes.versions.text(change.digest_before), changes.versions.text(change.digest)
    data: dict[str, object] = {
        "change": change_view(change, changes.versions),
        "path": change.path,
        "difference": difference_view(before.text, after.text) if before and after else None,
        "text": after.text if after else None,
        "hits": None,
        "is_new": visit.text("applied") == "1",
    }
    if change.state == "applied" and isinstance(changes.target_of(change.path), RuleFile):
        data["hits"] = _hits(visit, change)
    return Page("change/one", f"Change {change.n}", _change_sentence(change, data), data=data)


def undo(visit: Visit) -> Page | Redirect:
    """Take one change back."""
    changes, change = visit.parts.change, _change(visit)
    target = changes.target_of(change.path)
    if target is None:
        raise UserMistake(f"change {change.n} is of {change.path}, which is not the console's any more")
    outcome = changes.engine.undo(target, change, visit.account.name, visit.text("note"), visit.client)
    match outcome:
        case Applied():
            return Redirect(link(f"/change/{outcome.n}", applied=1))
        case Same():
            return Redirect(f"/change/{change.n}")
        case Refused(said=said):
            why = f"It was not undone: the server has refused that, and the file is as before: {' '.join(said)}"
            return _with_notice(visit, Notice(why, "alarm"), 409)
        case Wrong(checked=checked):
            found = [*checked.mistakes, *checked.elsewhere]
            why = f"It cannot be undone: what is left would be wrong: {found[0].place}: {found[0].message}"
            return _with_notice(visit, Notice(why, "alarm"), 422)
        case Differs():
            return conflict_page(visit, outcome, address_of(visit, target), change)


def _with_notice(visit: Visit, notice: Notice, status: int) -> Page:
    return replace(show_change(visit), notices=[notice], status=status)


def address_of(visit: Visit, target: Target) -> str:
    """The page of a file that can be changed."""
    for name, sources in visit.parts.change.tables().items():
        for at, source in enumerate(sources):
            if source.path == target.path:
                return table_link(name, at)
    return "/change"


def draft_of(visit: Visit) -> str:
    """The text of the editor, which is not stripped."""
    return tidy(visit.form.get("text", ""))


def _change(visit: Visit) -> Change:
    number = visit.path_number("n")
    found = None if number is None else visit.parts.change.versions.get(number)
    if found is None:
        raise NotFound(f"There is no change {visit.path['n']}: it never was, or is too long ago.")
    return found


def _page(
    visit: Visit,
    rules: RuleFile,
    now: Text,
    *,
    text: str,
    seen: str,
    checked: Checked | None = None,
    tried: str = "",
    status: int = 200,
) -> Page:
    changes = visit.parts.change
    page_of = changes.versions.newest(str(rules.path), visit.number("before", 0), _A_PAGE + 1)
    data: dict[str, object] = {
        "path": str(rules.path),
        "read_only": "",
        "text": text,
        "seen": seen,
        "is_draft": text != now.text,
        "note": visit.text("note"),
        "sample": visit.text("sample", most=1 << 16),
        "days": visit.number("days", _DAYS, least=1, most=_MOST_DAYS),
        "check": check_view(checked, now.text, text) if checked else None,
        "explained": None,
        "what_if": None,
        "hits": _hits(visit, next((each for each in page_of if each.state == "applied"), None)),
        "changes": [change_view(each, changes.versions) for each in page_of[:_A_PAGE]],
        "tables": tables_view(changes.tables()),
        "more": link("/change", before=page_of[_A_PAGE - 1].n) if len(page_of) > _A_PAGE else "",
    }
    if seen != now.digest:
        visit.notices.append(Notice("The file was changed since you opened it: apply shows both changes.", "alarm"))
    if checked and checked.loaded:
        _try(visit, rules, checked, data, tried)
    waiting = not_loaded_yet(changes.rules.server, changes.drafts)
    if waiting:
        visit.notices.append(Notice(waiting))
    last = changes.versions.last(str(rules.path))
    command = "forkpolicy check"
    return Page("change/edit", "Change", _sentence(data, now, last), data=data, command=command, status=status)


def _try(visit: Visit, rules: RuleFile, checked: Checked, data: dict[str, object], tried: str) -> None:
    """What was asked of a draft that can be applied."""
    assert checked.loaded
    try:
        if tried == "explain":
            data["explained"] = explained_view(visit.parts.change.explain(str(data["sample"]), checked.loaded))
        elif tried == "what-if":
            found = visit.parts.change.what_if(rules.path, str(data["text"]), int(str(data["days"])))
            data["what_if"] = what_if_object(*found)
    except UsageError as error:
        raise UserMistake(f"Request: {error}", "sample") from error
    except ForkpolicyError as error:
        visit.notices.append(Notice(f"Not known now: {error}"))


def _read_only(visit: Visit, error: ForkpolicyError) -> Page:
    """Where there is no file, or it or the policy cannot be read."""
    data = {"read_only": str(error), "changes": [], "tables": tables_view(visit.parts.change.tables())}
    return Page("change/edit", "Change", "No rule can be changed here now.", data=data)


def done(visit: Visit, target: Target, outcome: Outcome, again: Again, address: str) -> Page | Redirect:
    """What became of an apply. `again`: makes the page of the file with a draft; `address`: where that page is."""
    match outcome:
        case Applied():
            return Redirect(link(f"/change/{outcome.n}", applied=1))
        case Same():
            return Redirect(address)
        case Differs():
            return conflict_page(visit, outcome, address, None)
        case Refused(said=said):
            why = f"The server has refused it, and the file is as before: {' '.join(said)}"
            visit.notices.append(Notice(why, "alarm"))
            return again(read_text(target.path), None, 409)
        case Wrong(checked=checked):
            return again(read_text(target.path), checked, 422)


def conflict_page(visit: Visit, differs: Differs, address: str, undone: Change | None) -> Page:
    """Two changes of one file, to be made one. `undone`: the change whose undo is in conflict with a later one."""
    versions = visit.parts.change.versions
    data = conflict_view(differs, change_view(differs.later, versions) if differs.later else None)
    data |= {"note": visit.text("note"), "undo": undone.n if undone else None, "address": address}
    if undone:
        by = f"change {differs.later.n}" if differs.later else "a later change"
        sentence = f"Change {undone.n} cannot be undone as it is: {by} has touched the same lines."
    elif data["is_merged"]:
        sentence = "Somebody has changed the file meanwhile, in other lines: below are both changes in one text."
    elif differs.merged and not any(each.base for each in differs.merged.conflicts):
        sentence = "Somebody has put lines in the same place meanwhile: below are both, theirs first."
    elif differs.merged:
        sentence = "Somebody has changed the same lines meanwhile: choose what shall stand there."
    else:
        sentence = "The file has another text than the one that you saw: below is yours, which would replace it."
    return Page("change/conflict", "Two changes", sentence, data=data, status=409)


def _hits(visit: Visit, change: Change | None) -> dict[str, object] | None:
    """How often its rules have fired since; None where there is nothing to count, or it cannot be known."""
    changes, loaded = visit.parts.change, visit.parts.change.now()
    if change is None or loaded is None or not visit.parts.settings.history.log:
        return None
    found: list[dict[str, object]] = []
    with visit.noting("How often the rules fired is not known"):
        rollups = open_rollups(visit.parts.settings.history)
        counted = hits_since(rollups, loaded, str(changes.rules.path), change.at_ms / 1000, visit.now_s)
        found.append(hits_view(*counted))
    return found[0] if found else None


def _sentence(data: Mapping[str, object], now: Text, last: Change | None) -> str:
    check = data["check"]
    if isinstance(check, dict):
        return str(check["sentence"])
    if last is None and not now.text:
        return "The console has no rule yet. What you write here is asked where the policy includes the file."
    if last is None:
        return f"{data['path']} was written by another program than the console."
    is_left = last.digest == now.digest
    return (
        f"{data['path']} is as change {last.n} has left it."
        if is_left
        else (f"{data['path']} was changed by another program than the console since change {last.n}.")
    )


def _change_sentence(change: Change, data: dict[str, object]) -> str:
    view = data["change"]
    assert isinstance(view, dict)
    if view["undone_by"]:
        return f"It was undone by change {view['undone_by']}."
    return {
        "applied": "It is in the file, and in force." if not change.said else "It is in the file.",
        "refused": "It was not applied.",
        "found": "The file was changed by another program than the console.",
        "pending": "It is being applied now.",
    }[change.state]
