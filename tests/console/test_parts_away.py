"""Every page while a part is away or damaged: it shows what it can and says what it cannot know, and is no bug.

Mail is decided as before by then, which tests/process/test_console_for_real.py shows with a server.
"""

from __future__ import annotations

import re
import time

import pytest

from forkpolicy.console.app import application
from forkpolicy.console.parts import Parts
from forkpolicy.console.routes import ROUTES
from forkpolicy.history.ingest import Ingester
from forkpolicy.history.store import Store
from forkpolicy.settings import load_settings
from tests.console.asking import Browser, SignedIn
from tests.console.changing import PARTNER, Site
from tests.history_logs import begin, decision

NONSENSE = b"nonsense" * 2000
VALUES = {
    "name": "welcome",
    "secret": "x",
    "table": "welcome",
    "at": "1",
    "n": "1",
    "id": "x",
    "code": "x",
    "token": "x",
}
# A stream, which does not end; test_live.py has it.
ADDRESSES = [
    re.sub(r"\{(\w+)(?::\w+)?\}", lambda found: VALUES[found[1]], each.path)
    for each in ROUTES
    if each.get and each.path != "/now/live"
]


def no_server(_site):
    """None was started."""


def no_history(site):
    for day in days_of(site):
        day.unlink()


def damaged_day(site):
    for day in days_of(site):
        day.write_bytes(NONSENSE)


def half_a_day(site):
    for day in days_of(site):
        day.write_bytes(day.read_bytes()[:5000])


def closed_history(site):
    """A file where the directory is expected: root may enter any directory."""
    for day in days_of(site):
        day.unlink()
    for each in (site.folder / "days").iterdir():
        each.unlink()
    (site.folder / "days").rmdir()
    (site.folder / "days").write_text("")


def wrong_policy(site):
    (site.folder / "policy.conf").write_text("access nothing here at all\n")


def no_policy(site):
    (site.folder / "policy.conf").unlink()


def wrong_rules(site):
    site.rules.write_text("access no_such_acl\n")


def rules_are_a_link(site):
    site.rules.unlink()
    site.rules.symlink_to("/etc/passwd")


def damaged_console(site):
    """Whatever it keeps in SQLite."""
    for path in site.directory.rglob("*.sqlite"):
        path.write_bytes(NONSENSE)


def no_console(site):
    """Its disk is not mounted."""
    site.directory.rename(site.folder / "elsewhere")


DAMAGES = [
    no_server,
    no_history,
    damaged_day,
    half_a_day,
    closed_history,
    wrong_policy,
    no_policy,
    wrong_rules,
    rules_are_a_link,
    damaged_console,
    no_console,
]


def days_of(site):
    return list((site.folder / "days").glob("2*.sqlite"))


@pytest.fixture
def site(tmp_path):
    """A console with a change, an account and decisions of the last minutes; no server."""
    site = Site(tmp_path, rules=PARTNER)
    site.folder = tmp_path
    with site.settings.open("a") as settings:
        settings.write('[server]\ncontrol = "unix:control"\n[history]\nlog = "log/decisions.json"\npath = "days"\n')
    (tmp_path / "log").mkdir()
    now_s = time.time() - 60
    log = tmp_path / "log" / "decisions.json"
    log.write_bytes(begin() + b"".join(decision(now_s + each) for each in range(20)))
    parts = Parts(load_settings(str(site.settings)))
    ingester = Ingester(str(log), Store(parts.settings.history.path), 30, print)
    ingester.turn()
    ingester.close()
    parts.door.accounts.add("anna", SignedIn().account.role)
    site.browser = Browser(application(parts, SignedIn()))
    assert days_of(site)
    return site


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda each: each.__name__)
def test_no_page_is_a_bug(site, damage):
    """Each answers with a page, or says as a whole that it cannot be known now."""
    for address in ADDRESSES:
        site.browser.get(address)
    damage(site)
    answers = {address: site.browser.get(address) for address in ADDRESSES}
    assert {
        address: each.status for address, each in answers.items() if each.status >= 500 and each.status != 503
    } == {}
    assert [address for address, each in answers.items() if "Traceback" in each.text] == []
    unknown = [address for address, each in answers.items() if each.status == 503]
    # Which file it is about.
    assert [address for address in unknown if str(site.folder) not in site.browser.json(address)["sentence"]] == []


@pytest.mark.parametrize("damage", [no_server, damaged_day, wrong_policy], ids=lambda each: each.__name__)
def test_now_says_what_it_cannot_know(site, damage):
    """Above what it shows."""
    damage(site)
    found = site.browser.json("/now")
    assert found["notices"]
