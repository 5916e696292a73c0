"""Sources of the console's tables: checked as the compile does, compiled, served; with a real server."""

from __future__ import annotations

import json
import os
from datetime import date

import pytest

from forkpolicy.console.access.rights import Role
from forkpolicy.console.app import application
from forkpolicy.console.change import tables
from forkpolicy.console.change.engine import Applied, Refused, Wrong
from forkpolicy.console.change.tables import expiring_entries
from forkpolicy.console.change.text_files import read_text
from forkpolicy.console.parts import Parts
from forkpolicy.settings import load_settings
from loadtest.clients.policy_client import PolicyClient
from tests.console.asking import Browser, SignedIn
from tests.process.conftest import folder, make_server, request  # noqa: F401 - fixtures

POLICY = """\
table blocked address may-shrink console/tables/blocked
table domains domain domains
acl is_blocked sender table:blocked
acl ours sender table:domains
action no REJECT 5.7.1 not you
access is_blocked no
access ours
"""


class Console:
    """The parts of the console of a server."""

    def __init__(self, server):
        self.server = server
        self.parts = Parts(load_settings(str(server.settings)))
        self.path = server.directory / "console/tables/blocked"
        self.browser = Browser(application(self.parts, SignedIn(Role.ADMIN)))

    @property
    def source(self):
        (source,) = self.parts.change.tables()["blocked"]
        return source

    def apply(self, text):
        seen = read_text(self.path).digest
        return self.parts.change.engine.apply(self.source, seen, text, "anna", "a note")

    def asked(self, sender):
        with PolicyClient(self.server.socket_path) as client:
            return client.ask(request(sender))


@pytest.fixture
def console(make_server):  # noqa: F811
    """A server that runs, with a table of the console."""
    server = make_server()
    server.write_policy(POLICY)
    server.settings.write_text(f'{server.settings.read_text()}[console]\npath = "console"\n')
    (server.directory / "console/tables").mkdir(parents=True)
    (server.directory / "console/tables/blocked").write_text("# nobody\n")
    server.compile("--allow-shrink")
    server.start()
    return Console(server)


def test_an_entry_is_served_and_undone(console):
    """What is applied decides at once; other tables are not the console's."""
    assert set(console.parts.change.tables()) == {"blocked"}
    found = console.apply("spam@example.org\n")
    assert isinstance(found, Applied)
    assert found.force.state == "in force"
    assert "REJECT" in console.asked("spam@example.org")
    change = console.parts.change.versions.get(found.n)
    console.parts.change.engine.undo(console.source, change, "bert", "")
    assert console.path.read_text() == "# nobody\n"
    assert "REJECT" not in console.asked("spam@example.org")


def test_mistakes_have_their_lines(console):
    """In the words of the compile, about the file; nothing is written."""
    found = console.apply("spam@example.org\ny@example.org until=2026-02-31\nx@example.org until=soon\n")
    assert isinstance(found, Wrong)
    assert {each.path for each in found.checked.mistakes} == {str(console.path)}
    assert [each.line for each in found.checked.mistakes] == [2, 3]
    assert console.path.read_text() == "# nobody\n"


def test_what_a_compile_refuses_is_taken_back(console, monkeypatch):
    """Here the table's own directory has something else in its place."""
    compiled = next(console.server.directory.rglob("blocked.lmdb"))
    kept = compiled.read_bytes()
    monkeypatch.setattr(tables.TableSource, "check", lambda *_: tables.Checked((), (), (), None))
    compiled.unlink()
    compiled.symlink_to("/etc/hostname")
    found = console.apply("spam@example.org\n")
    assert isinstance(found, Refused)
    assert "is a symbolic link" in found.said[0]
    assert console.path.read_text() == "# nobody\n"
    compiled.unlink()
    compiled.write_bytes(kept)


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, so it needs root")
@pytest.mark.parametrize("is_compiled", [True, False])
def test_another_user_compiles(console, is_compiled, monkeypatch):
    """The console waits for what comes of it, and says what is missing where nothing does."""
    monkeypatch.setattr(tables, "WAIT_S", 10.0 if is_compiled else 0.5)
    console.path.write_text("spam@example.org\n")
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        os.setgid(65534)
        os.setuid(65534)
        force = console.source.offer()
        os.write(writer, json.dumps([force.state, force.said]).encode())
        os._exit(0)
    os.close(writer)
    if is_compiled:
        console.server.compile()
    with os.fdopen(reader) as said:
        state, why = json.load(said)
    os.waitpid(pid, 0)
    # The control socket is not for that user, so that what the server serves cannot be known.
    assert state == "unknown"
    assert ("it is compiled" in why[0], "nobody has compiled it" in why[0]) == (is_compiled, not is_compiled)


def test_entries_that_end_are_listed():
    """With their days; what is no date is for the check."""
    text = "a@example.org until=2026-11-01\n# b until=2026-11-01\nc@example.org until=2027-01-01\nd until=x\n"
    found = expiring_entries(text, date(2026, 11, 29))
    assert [(each.line, str(each.until), each.is_over) for each in found] == [
        (1, "2026-11-01", True),
        (3, "2027-01-01", False),
    ]


def test_the_page_of_a_table(console):
    """Check, apply, undo, as of rules."""
    address = "/change/table/blocked/0"
    assert address in console.browser.get("/change").text
    page = console.browser.json(address)
    form = {"seen": page["seen"], "token": "token", "text": "spam@example.org until=2099-12-31\r\n"}
    assert "It can be applied." in console.browser.post(address, {**form, "do": "check"}).text
    applied = console.browser.post(address, {**form, "do": "apply", "note": "spams"})
    assert applied.status == 303
    shown = console.browser.get(address)
    assert "2099-12-31" in shown.text
    assert "spams" in shown.text
    assert "REJECT" in console.asked("spam@example.org")
    wrong = console.browser.post(address, {**form, "do": "apply", "text": "not an address\n"})
    assert wrong.status == 409
    undone = console.browser.post(applied.headers["location"].partition("?")[0], {"token": "token"})
    assert undone.status == 303
    assert "REJECT" not in console.asked("spam@example.org")
    assert console.browser.get("/change/table/domains/0").status == 404
    assert console.browser.get("/change/table/blocked/1").status == 404
