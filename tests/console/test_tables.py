"""Tables: declared, served, looked up in place, and what is wrong with them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from forkpolicy import expiry
from forkpolicy.console.app import application
from forkpolicy.console.parts import Parts
from forkpolicy.errors import NotRunningError
from forkpolicy.settings import load_settings
from forkpolicy.status import TableStatus
from tests.compiling import Compiler
from tests.console.asking import Browser, SignedIn
from tests.statuses import status, worker


class Site:
    """A policy with tables, compiled, and workers that serve what a test says."""

    def __init__(self, folder, capsys):
        self.compiler = Compiler(folder, capsys)
        soon = expiry.today() + timedelta(days=2)
        self.compiler.source(
            "blocked.txt",
            f"# until=2020-01-01\nspam.example\nsoon.example until={soon}\nlate.example until=2999-01-01\n",
        )
        self.compiler.source("limits.txt", "busy.example 5\n")
        self.compiler.policy(
            "table blocked domain may-shrink blocked.txt",
            "table limits key limits.txt",
            "acl bad sender table:blocked",
            "acl known table:limits {sender_domain}",
            "action no REJECT 5.7.1 no",
            "access bad known no",
        )
        self.served = [
            TableStatus("blocked", "domain", "0123456789ab", 3, 1000.0, 7, "", expires=str(soon)),
            TableStatus("limits", "key", "", 0, 0.0, 0, "limits.lmdb does not exist"),
        ]
        assert self.compiler.run("blocked").status == 0
        self.parts = Parts(load_settings(self.compiler.settings))
        self.parts.now.looks._look = self.look
        self.browser = Browser(application(self.parts, SignedIn()))

    def look(self):
        if self.served is None:
            raise NotRunningError("no master is running there")
        return status(replace(worker(), tables=tuple(self.served)))


@pytest.fixture
def site(tmp_path, capsys):
    made = Site(tmp_path, capsys)
    yield made
    made.parts.lookups.close()


def test_all_tables_are_listed_with_what_is_wrong(site):
    """In HTML, JSON and CSV alike."""
    page = site.browser.get("/tables")
    assert "2 tables are declared; 2 need a look: blocked, limits." in page.text
    blocked, limits = site.browser.json("/tables")["tables"]
    assert (blocked["entries"], blocked["versions"], blocked["state"]) == (3, ["0123456789ab"], "entries expire soon")
    assert blocked["may_shrink"] is True
    assert (limits["entries"], limits["created_s"], limits["state"]) == (None, None, "not loaded")
    lines = site.browser.get("/tables?format=csv").text.splitlines()
    assert lines[1].startswith("blocked,domain,3,0123456789ab,")
    assert len(lines) == 3


def test_a_table_is_looked_up_in_place(site):
    """The entry has its source and line; what the table has not is said."""
    page = site.browser.json("/tables/blocked?key=mail.spam.example")
    assert page["lookup"]["found"] is False
    page = site.browser.json("/tables/blocked?key=spam.example")
    assert page["sentence"] == "It has an entry for spam.example."
    assert (page["lookup"]["source"].rpartition("/")[2], page["lookup"]["line"]) == ("blocked.txt", 2)
    assert "forkpolicy lookup blocked spam.example" in site.browser.get("/tables/blocked?key=spam.example").text
    site.compiler.source("blocked.txt", "other.example\n")
    assert site.compiler.run("blocked").status == 0
    assert site.browser.json("/tables/blocked?key=other.example")["lookup"]["found"] is True
    assert site.browser.json("/tables/blocked?key=spam.example")["lookup"]["found"] is False


def test_a_table_that_is_not_compiled_is_not_empty(site):
    """Whether it has something is not known."""
    page = site.browser.json("/tables/limits?key=busy.example")
    assert page["lookup"] is None
    assert "cannot be known" in page["sentence"]
    assert "limits.lmdb does not exist" in page["notices"][0]["text"]


def test_entries_that_expire_soon_stand_with_their_place(site):
    """Those of comments, and of far years, do not."""
    (found,) = site.browser.json("/tables/blocked")["expiring"]
    assert found["text"].startswith("soon.example until=")
    assert (found["line"], found["is_over"]) == (3, False)


def test_a_compile_that_failed_is_shown(site):
    """With its reason."""
    site.compiler.source("limits.txt", "a b c\nnot\x00text\n")
    assert site.compiler.run("limits").status != 0
    table = site.browser.json("/tables/limits")["table"]
    assert table["failed"]
    assert table["failed_s"]
    assert "The last compile failed" in site.browser.get("/tables/limits").text


def test_the_last_compile_is_shown_with_its_warnings_and_difference(site):
    """Warnings that a timer's log had, and how many entries more or fewer than before."""
    first = site.browser.json("/tables/blocked")["last_compile"]
    assert (first["entries"], first["before"], first["warning_count"]) == (3, None, 1)
    assert "soon.example expires" in first["warnings"][0]
    assert "it had 1 warning:" in site.browser.get("/tables/blocked").text
    site.compiler.source("blocked.txt", "spam.example\n")
    assert site.compiler.run("blocked").status == 0
    assert "has 1 entries, 2 fewer than the one before, without a warning." in site.browser.get("/tables/blocked").text
    assert site.browser.json("/tables/limits")["last_compile"] is None


def test_a_server_that_is_away_leaves_the_declarations(site):
    """And unknown numbers."""
    site.served = None
    page = site.browser.get("/tables")
    assert page.status == 200
    assert "what workers have of them is not known" in page.text
    assert {each["entries"] for each in site.browser.json("/tables")["tables"]} == {None}
    assert site.browser.json("/tables/blocked?key=spam.example")["lookup"]["found"] is True


def test_a_policy_that_cannot_be_read_leaves_what_workers_serve(site):
    """And look-ups say why they cannot be made."""
    site.compiler.policy("access nonsense")
    page = site.browser.json("/tables")
    assert [each["name"] for each in page["tables"]] == ["blocked", "limits"]
    assert page["notices"]
    assert site.browser.json("/tables/blocked?key=spam.example")["lookup"] is None


def test_unknown_tables_and_hostile_keys_are_text(site):
    """404, and no markup."""
    assert site.browser.get("/tables/nothing").status == 404
    page = site.browser.get("/tables/blocked?key=%22%3E%3Cscript%3Ealert(1)%3C/script%3E%E2%80%AE")
    assert "<script>alert" not in page.text
    # The field holds what was typed; elsewhere it is visible.
    assert page.text.count("\u202e") == 1
    assert "\\u202e" in page.text
