"""What an importer wrote, as an administrator would use it: written, compiled, loaded, and asked on a clock."""

from __future__ import annotations

from itertools import count

from forkpolicy.commands.import_rules.checking import checked
from forkpolicy.commands.import_rules.writing import write_out
from forkpolicy.compile.command import main as compile_tables
from forkpolicy.importing.draft import Draft
from forkpolicy.importing.formats import Inputs, load_format
from forkpolicy.loading import load_everything
from forkpolicy.policy.answers import live
from forkpolicy.protocol.layout import wanted_values
from forkpolicy.protocol.request import Request
from forkpolicy.state.memory import MemoryStore
from tests.fakes import TextFiles

BEGAN_S = 1_795_870_800
USUAL = {
    "request": "smtpd_access_policy",
    "protocol_state": "RCPT",
    "protocol_name": "ESMTP",
    "client_address": "203.0.113.5",
    "client_name": "mail.example.org",
    "reverse_client_name": "mail.example.org",
    "helo_name": "mail.example.org",
    "sender": "someone@example.org",
    "recipient": "staff@example.com",
    "size": "0",
    "recipient_count": "0",
    "sasl_method": "",
    "sasl_username": "",
    "etrn_domain": "",
}


def draft_of(form, texts, **options):
    """The draft of files that exist in memory alone; it loads."""
    draft = Draft()
    load_format(form).read(Inputs(tuple(texts), TextFiles(texts), options), draft)
    return checked(draft)


def left_out(draft):
    """What is left out, without the reasons."""
    return [(str(each.origin), each.what) for each in draft.left_out]


class Imported:
    """A draft that serves. `close` at the end."""

    def __init__(self, directory, draft, settings=""):
        self.now_s = BEGAN_S
        self._messages = count()
        write_out(str(directory), draft)
        path = directory / "forkpolicy.toml"
        path.write_text(f'policy = "policy.conf"\ntables = "compiled"\n{settings}')
        (directory / "compiled").mkdir()
        assert compile_tables(["-c", str(path)]) == 0
        loaded = load_everything(path)
        self.policy, self._tables = loaded.policy, loaded.tables
        for table in self._tables.values():
            table.refresh()
            assert not table.refused
        self.policy.answer_with(live(MemoryStore(lambda: self.now_s), lambda _question: None))

    def reply(self, **attributes):
        """The reply to a request; what it does not say is usual, and it is a message of its own."""
        request = {**USUAL, "instance": f"message {next(self._messages)}", **attributes}
        values = wanted_values(Request(request, None), self.policy.wanted)
        rule = self.policy.decide(values).rule
        self.policy.take_noted()
        return self.policy.text(rule, values)

    def close(self):
        for table in self._tables.values():
            table.close()
