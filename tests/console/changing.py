"""A site whose policy includes a rule file of the console, and a server that says what a test wants."""

from __future__ import annotations

from forkpolicy.console.change.drafts import Drafts
from forkpolicy.console.change.engine import Engine
from forkpolicy.console.change.rules import RuleFile
from forkpolicy.console.change.text_files import digest_of, read_text
from forkpolicy.console.change.versions import Versions
from forkpolicy.control_messages import ReloadReply
from forkpolicy.errors import NotRunningError

POLICY = """\
acl inside client_address 192.0.2.0/24
acl from_us sender @example.com
action prove_it REJECT 5.7.1 not as {sender}
access from_us inside
include console/rules.conf restricted
access from_us prove_it
"""
PARTNER = "acl partner client_address 198.51.100.7\naccess partner\n"
OTHER = "acl other sender ceo@example.com\naccess other\n"
BAD = "acl odd client_address nowhere\naccess odd\n"


class Answers:
    """A server whose reloads end as `replies` say, one after the other; then they succeed."""

    def __init__(self):
        self.replies, self.reloads = [], 0

    def ask(self, _kind, command, _timeout_s):
        assert command == {"command": "reload"}
        self.reloads += 1
        reply = self.replies.pop(0) if self.replies else ReloadReply(True, 2)
        if isinstance(reply, Exception):
            raise reply
        return reply

    def status(self):
        raise NotRunningError("no server runs in this test")


class Audited:
    """An audit in memory."""

    def __init__(self):
        self.entries = []

    def note(self, who, what, on="", reason="", _client=""):
        self.entries.append((who, what, on.rpartition("/")[2], reason))


class Site:
    """The files below a folder, and an engine for them."""

    def __init__(self, folder, policy=POLICY, rules=""):
        self.settings = folder / "forkpolicy.toml"
        self.settings.write_text('policy = "policy.conf"\ntables = "tables"\n[console]\npath = "console"\n')
        (folder / "policy.conf").write_text(policy)
        self.directory = folder / "console"
        self.directory.mkdir()
        self.rules = self.directory / "rules.conf"
        self.rules.write_text(rules)
        self.server, self.audit = Answers(), Audited()
        self.drafts = Drafts(str(self.settings))
        self.engine = self.new_engine()

    def new_engine(self):
        """As of a new process."""
        return Engine(self.directory, Versions(self.directory), self.audit, clock=iter(range(10**6)).__next__)

    @property
    def target(self):
        """The rule file."""
        return RuleFile(self.drafts.path(), self.drafts, self.server)

    @property
    def changes(self):
        """All of them, the newest first: number, state, and who."""
        found = self.engine.versions.newest(str(self.rules), 0, 1000)
        return [(each.n, each.state, each.who) for each in found]

    def apply(self, text, *, who="anna", seen=None, note=""):
        """Apply to what is there now, or to what somebody has seen before."""

        digest = read_text(self.rules).digest if seen is None else digest_of(seen)
        return self.engine.apply(self.target, digest, text, who, note)

    def undo(self, n, who="bert"):
        """Undo a change."""
        return self.engine.undo(self.target, self.engine.versions.get(n), who, "")
