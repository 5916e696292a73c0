"""Changes at a real server, by its real control socket."""

from __future__ import annotations

import threading

import pytest

from forkpolicy.console.change.drafts import Drafts
from forkpolicy.console.change.engine import Applied, Differs, Engine, Refused
from forkpolicy.console.change.rules import RuleFile, not_loaded_yet
from forkpolicy.console.change.text_files import digest_of, read_text
from forkpolicy.console.change.versions import Versions
from forkpolicy.console.parts import Parts
from forkpolicy.settings import load_settings
from loadtest.clients.policy_client import PolicyClient
from tests.console.changing import Audited
from tests.process.conftest import FORGED, POLICY, REJECT, folder, make_server  # noqa: F401 - fixtures

PARTNER = "acl partner client_address 203.0.113.5\naccess partner\n"


class Console:
    """The engine of a server's console."""

    def __init__(self, server):
        self.server = server
        settings = str(server.settings)
        self.parts = Parts(load_settings(settings))
        self.drafts = Drafts(settings)
        self.directory = server.directory / "console"
        self.rules = self.directory / "rules.conf"
        self.audit = Audited()
        self.engine = Engine(self.directory, Versions(self.directory), self.audit)
        self.target = RuleFile(self.rules, self.drafts, self.parts)

    def apply(self, text, seen=None, who="anna"):
        """Apply to what is there, or to what somebody has seen."""
        digest = read_text(self.rules).digest if seen is None else digest_of(seen)
        return self.engine.apply(self.target, digest, text, who, "a note")


@pytest.fixture
def console(make_server):  # noqa: F811
    """A server that runs, whose policy includes the console's rules in front of its own."""
    server = make_server()
    server.write_policy(POLICY.replace("access from_us", "include console/rules.conf restricted\naccess from_us"))
    server.settings.write_text(f'{server.settings.read_text()}[console]\npath = "console"\n')
    (server.directory / "console").mkdir(exist_ok=True)
    (server.directory / "console/rules.conf").touch()
    server.start()
    return Console(server)


def asked(server):
    """What becomes of the forged mail."""
    with PolicyClient(server.socket_path) as client:
        return client.ask(FORGED)


def test_an_exception_is_in_force_and_undone(console):
    """What was refused passes, and is refused again."""
    assert asked(console.server).endswith(REJECT)
    applied = console.apply(PARTNER)
    assert isinstance(applied, Applied)
    assert applied.force.state == "in force"
    assert not not_loaded_yet(console.parts, console.drafts)
    assert asked(console.server).endswith("DUNNO")
    undone = console.engine.undo(console.target, console.engine.versions.get(applied.n), "bert", "")
    assert undone.force.state == "in force"
    assert asked(console.server).endswith(REJECT)


def test_what_the_server_refuses_changes_nothing(console):
    """Here the settings are broken behind the check of the console."""
    console.apply(PARTNER)
    settings = console.server.settings
    whole = settings.read_text()
    settings.write_text(whole.replace("[server]\n", "[server]\nno_such_setting = 1\n"))

    class Passes:
        """The check of a console that has read the settings a moment earlier."""

        path, offer = console.target.path, console.target.offer

        @staticmethod
        def check(text):
            now = settings.read_text()
            settings.write_text(whole)
            try:
                return console.target.check(text)
            finally:
                settings.write_text(now)

    found = console.engine.apply(Passes, read_text(console.rules).digest, f"# other\n{PARTNER}", "anna", "")
    assert isinstance(found, Refused)
    assert "no_such_setting" in found.said[0]
    assert console.rules.read_text() == PARTNER
    settings.write_text(whole)
    assert asked(console.server).endswith("DUNNO")


def test_a_change_of_the_policy_that_was_not_loaded_is_named(console):
    """The next change that is applied has the server load it, too."""
    policy = console.server.settings.with_name("policy.conf")
    policy.write_text(policy.read_text() + "# changed\n")
    assert "were changed since" in not_loaded_yet(console.parts, console.drafts)
    console.apply(PARTNER)
    assert not not_loaded_yet(console.parts, console.drafts)


def test_two_administrators_at_once(console):
    """Each from what both have seen: one is in force, the other one sees the difference, and both are merged."""
    start, found = threading.Barrier(2), {}
    texts = {"anna": PARTNER, "bert": "acl other sender y@example.com\naccess other\n"}

    def apply(who):
        start.wait()
        found[who] = console.apply(texts[who], seen="", who=who)

    both = [threading.Thread(target=apply, args=(who,)) for who in texts]
    for each in both:
        each.start()
    for each in both:
        each.join()
    first = next(who for who, each in found.items() if isinstance(each, Applied))
    (second,) = set(texts) - {first}
    assert isinstance(found[second], Differs)
    assert found[second].current.text == texts[first]
    merged = console.apply(found[second].merged.text, who=second)
    assert merged.force.state == "in force"
    assert console.rules.read_text() == texts[first] + texts[second]


def test_without_a_server_the_change_waits(console):
    """A start uses it."""
    console.server.stop()
    found = console.apply(PARTNER)
    assert found.force.state == "unknown"
    console.server.start()
    assert asked(console.server).endswith("DUNNO")
