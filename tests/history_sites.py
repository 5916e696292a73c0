"""A site for tests of kept versions: settings, a policy and compiled tables in a directory, and what its log says."""

from __future__ import annotations

import json

from forkpolicy.compile.command import main as compile_main
from forkpolicy.decision_ids import in_force_id
from forkpolicy.decisive_settings import DecisiveSettings
from forkpolicy.history.deciding import PastDecision
from forkpolicy.history.keeping import Keeper
from forkpolicy.history.past import recorded_answers
from forkpolicy.history.versions import VersionDirectory
from forkpolicy.history_settings import HistorySettings
from forkpolicy.loading import load_everything
from forkpolicy.protocol.layout import wanted_values
from forkpolicy.worker.decision_details import terms_of
from tests.history_logs import NOON_S, begin, line_of, new_id

POLICY = """\
table local cidr networks.txt
table blocked address blocked.txt
acl inside client_address table:local
acl bad sender table:blocked
action no REJECT 5.7.1 not you
access bad !inside no
"""


class Site:
    """Files below a folder. `at_s` goes on by a second with each version that is logged."""

    def __init__(self, folder, policy=POLICY):
        self.folder, self.at_s = folder, NOON_S
        self.settings = folder / "forkpolicy.toml"
        self.settings.write_text('tables = "compiled"\n[mail]\nrecipient_delimiter = "+"\n')
        self.log, self.history = folder / "history.json", folder / "history"
        self.write("policy.conf", policy)
        self.write("networks.txt", "192.0.2.0/24\n")
        self.write("blocked.txt", "spam@example.org\n")
        self.compile()

    def write(self, name, text):
        """One of its files."""
        (self.folder / name).write_text(text)

    def compile(self):
        """Its tables."""
        assert compile_main(["-c", str(self.settings), "--allow-shrink"]) == 0

    def in_force(self, *, at_s=None, **other):
        """The id of what is on disk now, and the line with which a worker that has loaded it says so."""
        loaded = load_everything(str(self.settings))
        for table in loaded.tables.values():
            table.refresh()
        tables = [(name, table.version) for name, table in loaded.tables.items()]
        for table in loaded.tables.values():
            table.close()
        versions = {
            "policy": loaded.policy_version(),
            "settings": DecisiveSettings.of(loaded.settings).version,
            "tables": ",".join(f"{name}@{version or 'none'}" for name, version in tables) or "-",
        }
        name = in_force_id(versions["policy"], versions["settings"], tables)
        self.at_s += 1
        fields = {"in_force": name, "host": "mx1", "generation": 1, **versions, **other}
        return name, line_of("in force", at_s or self.at_s, **fields)

    def append(self, *lines):
        """Lines to its log."""
        with self.log.open("ab") as log:
            log.writelines(lines if log.tell() else [begin(), *lines])

    def keeper(self, say=print, clock=lambda: NOON_S, **limits):
        """A keeper of its versions."""
        settings = HistorySettings(path=str(self.history), **limits)
        return Keeper(str(self.settings), settings, say, clock)

    @property
    def versions(self):
        """What is kept."""
        return VersionDirectory(str(self.history))

    def decide(self, at_s=NOON_S, answers=None, host="mx1", **attributes):
        """The line of a decision with what is on disk now, with these answers. Its log has the version."""
        name, line = self.in_force()
        loaded = load_everything(str(self.settings))
        for table in loaded.tables.values():
            table.refresh()
        code = new_id()
        request = {"request": "smtpd_access_policy", "protocol_state": "RCPT", **USUAL, **attributes}
        decision = PastDecision(line_of("decision", at_s, request=request), code)
        again = decision.decided_by(loaded, recorded_answers(loaded.policy, answers or {}))
        rule = again.trace.outcome
        terms = terms_of(loaded.policy, rule)(wanted_values(decision.request, loaded.policy.wanted))
        fields = {"action": again.action, "line": rule.where, "acls": rule.shown_acls, "id": code, "host": host}
        more = {"answers": answers} if answers else {}
        for table in loaded.tables.values():
            table.close()
        self.append(line)
        return line_of("decision", at_s, **fields, in_force=name, request=request, terms=json.loads(terms), **more)


USUAL = {"client_address": "203.0.113.5", "sender": "spam@example.org", "recipient": "b@example.com"}
