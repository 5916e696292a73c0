"""The page Now: its sentence, its figures, what it says of parts that cannot be read, and the live list."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest

from forkpolicy.console.access.rights import Role
from forkpolicy.console.app import application
from forkpolicy.console.now.lateness import Lateness
from forkpolicy.console.now.pages import event
from forkpolicy.console.now.sentence import sentence
from forkpolicy.console.now.usual import ALARM_LEAST, LastHour
from forkpolicy.console.parts import Parts
from forkpolicy.errors import NotRunningError
from forkpolicy.history.ingest import Ingester
from forkpolicy.history.store import Store
from forkpolicy.history_settings import HistorySettings
from forkpolicy.settings import Settings
from tests.console.asking import Browser, SignedIn
from tests.history_logs import begin, decision, line_of, new_id
from tests.statuses import status, worker

HOSTILE = '<script>alert(1)</script>\u202e"@example.org'


class Site:
    """A console with a history that tests fill, and a server that is a document."""

    def __init__(self, folder, role=Role.ADMIN):
        self.log, self.directory = folder / "log.json", folder / "history"
        self.log.write_bytes(begin())
        self.settings = Settings(history=HistorySettings(log=str(self.log), path=str(self.directory)))
        self.parts = Parts(self.settings)
        self.running = status(worker())
        self.parts.now.looks._look = self.look
        self.browser = Browser(application(self.parts, SignedIn(role)))

    def look(self):
        if self.running is None:
            raise NotRunningError("/run/control: no master is running there")
        return self.running

    def add(self, *ago_s, **fields):
        """Decisions so many seconds ago; their ids."""
        codes = [new_id() for _ in ago_s]
        with self.log.open("ab") as log:
            log.writelines(
                decision(time.time() - each, code=code, **fields) for each, code in zip(ago_s, codes, strict=True)
            )
        self.take_in()
        return codes

    def take_in(self):
        ingester = Ingester(str(self.log), Store(str(self.directory)), 3650, print)
        ingester.turn()
        ingester.close()


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


HOUR = LastHour(0, 1204, 1169.0, "the median")
KEEPS_UP = Lateness(1.0)


@pytest.mark.parametrize(
    ("hour", "late", "waiting", "expected"),
    [
        (HOUR, KEEPS_UP, 0, "1,204 mails were refused in the last hour, 3 % more than usual; no request waits."),
        (replace(HOUR, refused=900), KEEPS_UP, 0, "900 mails were refused in the last hour, 23 % fewer than usual;"),
        (replace(HOUR, refused=9000), KEEPS_UP, 0, "9,000 mails were refused in the last hour, 7.7 times the usual;"),
        (replace(HOUR, refused=1, usual=None), KEEPS_UP, 0, "1 mail was refused in the last hour; no request waits."),
        (replace(HOUR, refused=0, usual=0.0), KEEPS_UP, 0, "0 mails were refused in the last hour, as usual;"),
        (replace(HOUR, refused=None), KEEPS_UP, 0, "The history has nothing of the last hour;"),
        (
            HOUR,
            Lateness(1.0, behind_s=850),
            0,
            "How many mails were refused in the last hour is not known: the history",
        ),
        (HOUR, Lateness(1.0, behind_s=850), 0, "the history is 14 minutes behind"),
        (None, None, 0, "How many mails were refused cannot be known now; no request waits."),
        (HOUR, KEEPS_UP, None, "whether anything waits is not known, as the server does not answer."),
        (HOUR, KEEPS_UP, 1, "1 request waits for an engine, the DNS or a service."),
    ],
)
def test_the_sentence_says_what_is_known(hour, late, waiting, expected):
    """And never 0 for what is not."""
    assert expected in sentence(hour, late, waiting, "")


def test_the_page_has_the_figures_of_server_and_history(site):
    """In HTML, JSON and CSV alike."""
    (code,) = site.add(60)
    page = site.browser.get("/now")
    assert page.status == 200
    assert "1 mail was refused in the last hour; no request waits." in page.text
    assert f"/why/{code}" in page.text
    assert len(page.body) < 60_000
    data = site.browser.json("/now?span=30d")
    assert [each["id"] for each in data["newest"]] == [code]
    assert data["hottest"][0]["decisions"] == 1
    assert sum(each["refused"] or 0 for each in data["rates"]) == 1
    assert len(data["plot"]["lines"]) <= 4
    assert {len(line["values"]) for line in data["plot"]["lines"]} == {len(data["plot"]["x"])}
    assert len(data["server"]["workers"]) == 1
    assert site.browser.get("/now?span=24h&format=csv").text.splitlines()[0] == "time,refused,deferred,passed,other"
    assert site.browser.get("/now?span=7y").status == 422


def test_two_looks_at_one_report_have_no_rates(site):
    """A server that is stopped by a debugger, say; the page is shown."""
    earlier = [(site.parts.now.clock() - 5, site.running)]
    site.parts.now.looks._seen = earlier
    page = site.browser.get("/now")
    assert page.status == 200
    assert "unknown until the next look" in page.text


def test_a_server_that_is_away_is_said(site):
    """The history is shown all the same."""
    site.add(60)
    site.running = None
    page = site.browser.get("/now")
    assert page.status == 200
    assert "no master is running there" in page.text
    assert "1 mail was refused" in page.text


def test_without_a_history_nothing_is_zero(tmp_path):
    """The server is shown all the same."""
    site = Site(tmp_path)
    site.parts = Parts(Settings())
    site.parts.now.looks._look = site.look
    page = Browser(application(site.parts, SignedIn())).get("/now")
    assert page.status == 200
    assert "How many mails were refused is not known: there is no history" in page.text
    assert "0 mails" not in page.text


def test_a_history_that_is_behind_has_no_rates_of_the_time_that_it_lacks(site):
    """Fourteen minutes without an ingester."""
    site.add(5000, 14 * 60 + 5)
    with site.log.open("ab") as log:
        log.write(decision(time.time() - 1))
    page = site.browser.get("/now")
    assert "the history is 14 minutes behind" in page.text
    assert site.browser.json("/now?span=1h")["plot"]["lines"][0]["values"][-1] is None


def test_a_damaged_day_is_said_once(site):
    """Other days are shown."""
    now_s = time.time()
    site.add(86_400, 60)
    day = time.strftime("%Y-%m-%d", time.gmtime(now_s - 86_400))
    (site.directory / f"{day}.sqlite").write_bytes(b"x" * 9000)
    data = site.browser.json("/now")
    assert [f"{day}.sqlite" in each["text"] for each in data["notices"]].count(True) == 1
    assert len(data["newest"]) == 1


def test_missing_decisions_are_said(site):
    """The log had to drop some."""
    with site.log.open("ab") as log:
        log.write(line_of("log lines dropped", time.time() - 5, count=7, reason="the log was too slow"))
    site.add(60)
    assert "The history lacks 7 decisions, of the last hour or of this day: " in site.browser.get("/now").text


def test_an_alarm_is_on_every_page_of_those_who_may_see_the_server(tmp_path):
    """It names the rule, the network and the domain, and leads to them."""
    site = Site(tmp_path)
    site.add(*(hour * 3600 + slot * 600 for hour in range(1, 12) for slot in range(6)))
    site.add(*[30] * ALARM_LEAST, rule="policy.conf:12", client_address="198.51.100.9", sender="x@bad.example")
    page = site.browser.get("/nowhere")
    assert page.status == 404
    assert "policy.conf:12" in page.text
    assert "198.51.100.0/24" in page.text
    assert "/decisions?q=rule%3Apolicy.conf%3A12" in page.text
    user = Browser(application(site.parts, SignedIn(Role.USER)))
    assert "policy.conf:12" not in user.get("/nowhere").text
    assert user.get("/now").status == 403


def test_hostile_values_are_text(site):
    """In the list and in the events of the live list."""
    site.add(60, sender=HOSTILE, action="REJECT", rule='x"><b>:1')
    page = site.browser.get("/now").text
    assert "<script>alert" not in page
    assert "<b>" not in page
    assert "\u202e" not in page
    assert event("a", "x\r\ndata: y\n\nz") == b"id: a\ndata: x\ndata: data: y\ndata: z\n\n"


async def first_rows(app, headers, count):
    """The first bytes of the live list, until there are so many rows; then the browser goes."""
    got, gone = bytearray(), asyncio.Event()

    async def receive():
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        got.extend(message.get("body", b""))
        if got.count(b"<tr") >= count:
            gone.set()

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": "/now/live",
        "raw_path": b"/now/live",
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1:8025"), *headers],
        "client": ("127.0.0.1", 40000),
        "server": ("127.0.0.1", 8025),
        "root_path": "",
    }
    await asyncio.wait_for(app(scope, receive, send), 30)
    return bytes(got)


def test_the_live_list_goes_on_where_a_browser_was(site):
    """Rows as the page has them, with ids to go on from; nothing stays behind."""
    codes = site.add(50, 40, 30)
    headers = [(b"last-event-id", codes[0].encode())]
    text = asyncio.run(first_rows(site.browser.app, headers, 2)).decode()
    assert [text.index(f"id: {code}") for code in codes[1:]] == sorted(text.index(f"id: {code}") for code in codes[1:])
    assert f"id: {codes[0]}" not in text
    assert "data: <tr" in text
    assert not site.parts.now.live.is_looking
