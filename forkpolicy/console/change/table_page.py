"""The page of a text source of a console table: its lines as text, checked as the compile does, applied, undone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forkpolicy import expiry
from forkpolicy.console.change.page import done, draft_of
from forkpolicy.console.change.tables import expiring_entries
from forkpolicy.console.change.text_files import read_text
from forkpolicy.console.change.views import change_view, check_view, table_link
from forkpolicy.console.errors import NotFound
from forkpolicy.console.links import link
from forkpolicy.console.page import Page, Redirect

if TYPE_CHECKING:
    from forkpolicy.console.change.drafts import Checked
    from forkpolicy.console.change.tables import TableSource
    from forkpolicy.console.change.text_files import Text
    from forkpolicy.console.visit import Visit

_A_PAGE = 20


def show(visit: Visit) -> Page:
    """What is in the file."""
    source = _source(visit)
    now = read_text(source.path)
    return _page(visit, source, now, now.text, now.digest)


def act(visit: Visit) -> Page | Redirect:
    """A button of the form: check, apply."""
    source = _source(visit)
    text, seen = draft_of(visit), visit.text("seen", most=64)

    def again(now: Text, checked: Checked | None, status: int) -> Page:
        return _page(visit, source, now, text, now.digest, checked, status)

    if visit.text("do") == "apply":
        author = (visit.account.name, visit.text("note"), visit.client)
        outcome = visit.parts.change.engine.apply(source, seen, text, *author)
        return done(visit, source, outcome, again, _address(visit))
    return _page(visit, source, read_text(source.path), text, seen, source.check(text))


def _source(visit: Visit) -> TableSource:
    """The source of the address."""
    sources = visit.parts.change.tables().get(visit.path["table"], [])
    at = visit.path_number("at")
    if at is None or at >= len(sources):
        raise NotFound("There is no such source of a table that the console may change.")
    return sources[at]


def _address(visit: Visit) -> str:
    return table_link(visit.path["table"], int(visit.path["at"]))


def _page(
    visit: Visit,
    source: TableSource,
    now: Text,
    text: str,
    seen: str,
    checked: Checked | None = None,
    status: int = 200,
) -> Page:
    versions, name = visit.parts.change.versions, source.declaration.name
    page_of = versions.newest(str(source.path), visit.number("before", 0), _A_PAGE + 1)
    expiring = expiring_entries(now.text, expiry.today())
    data: dict[str, object] = {
        "table": name,
        "kind": source.declaration.kind,
        "path": str(source.path),
        "address": _address(visit),
        "text": text,
        "seen": seen,
        "is_draft": text != now.text,
        "note": visit.text("note"),
        "check": check_view(checked, now.text, text) if checked else None,
        "expiring": [
            {"line": each.line, "text": each.text, "until": str(each.until), "is_over": each.is_over}
            for each in expiring
        ],
        "changes": [change_view(each, versions) for each in page_of[:_A_PAGE]],
        "more": link(_address(visit), before=page_of[_A_PAGE - 1].n) if len(page_of) > _A_PAGE else "",
    }
    sentence = str(data["check"]["sentence"]) if isinstance(data["check"], dict) else _sentence(now, len(expiring))
    command = f"forkpolicy-compile --dry-run {name}"
    return Page("change/table", f"Table {name}", sentence, data=data, command=command, status=status)


def _sentence(now: Text, expiring: int) -> str:
    lines = sum(1 for line in now.text.splitlines() if line.strip() and line.lstrip()[0] not in "#;")
    if not lines:
        return "The file has no entry yet."
    ends = f", of which {expiring} end" if expiring else ""
    return f"The file has {lines:,} {'entry' if lines == 1 else 'entries'}{ends}."
