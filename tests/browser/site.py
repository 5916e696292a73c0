"""A real server with decisions of the last minutes, its history, its console and one account of each role.

The policy is the founding one, with rules and tables of the console in front of it. What strangers send is hostile.
"""

from __future__ import annotations

import contextlib
import json
import subprocess

from loadtest.clients.policy_client import PolicyClient
from loadtest.servers.console import Console, console_settings
from loadtest.servers.ports import free_port
from loadtest.servers.server import COMMAND_TIMEOUT_S, FORKPOLICY, Server
from loadtest.traffic.mail import Transaction, policy_request
from tests.process.waiting import CHANGES, eventually

POLICY = """\
# Where our own machines are, and the domains whose mailboxes live here.
table  local_networks  cidr    local-networks
table  local_domains   domain  local-domains
table  partners        cidr    console/tables/partners

acl    from_inside     client_address  table:local_networks
acl    from_us         sender          table:local_domains
acl    to_us           recipient       table:local_domains
acl    signed_in       authenticated
acl    from_partner    client_address  table:partners
acl    is_spam         sender          spam@example.org
acl    elsewhere       client_address  198.51.100.0/24
acl    is_slow         sender          slow@example.org
acl    too_many        rate {client_address} 6/1h
acl    must_wait       greylisting
acl    for_anna        recipient       anna@example.net
action prove_it        REJECT 5.7.1 Authentication required to send as {sender_domain}
action no_thanks       REJECT 5.7.1 No thanks ({code})
action not_now         DEFER_IF_PERMIT 4.7.1 Later, please

include console/rules.conf restricted

access !from_inside from_us to_us !signed_in prove_it
access is_spam no_thanks
access is_slow not_now
access elsewhere for_anna must_wait not_now
access too_many not_now
"""
SOURCES = {"local-networks": "192.0.2.0/24\n", "local-domains": "example.com\nexample.net\n"}
SCRIPT = "<script>document.title='owned'</script>"
IMAGE = "\"'><img src=x onerror=document.title='owned'>"
TURNED = "\u202egpj.exe\u2066"
FORGED = Transaction("spoof", "203.0.113.5", "boss@example.com", ("staff@example.com",))
HOSTILE = (
    Transaction("script", "203.0.113.66", f"{SCRIPT}@example.com", ("staff@example.com",), helo=SCRIPT),
    Transaction("image", "203.0.113.66", f"{IMAGE}@example.com", ("staff@example.com",), client_name=IMAGE),
    Transaction("turned", "203.0.113.66", f"{TURNED}@example.com", ("staff@example.com",), helo=TURNED),
    Transaction("long", "203.0.113.66", f"{'x' * 900}@example.com", ("staff@example.com",)),
    Transaction("formula", "203.0.113.66", "=1+1@example.com", ("staff@example.com",)),
    Transaction("template", "203.0.113.66", "{{7*7}}{%raw%}@example.com", ("staff@example.com",)),
)
MAILS = (
    Transaction("inbound", "198.51.100.9", "friend@example.org", ("staff@example.com",)),
    Transaction("inside", "192.0.2.40", "printer@example.com", ("staff@example.com",)),
    Transaction("bounce", "198.51.100.9", "", ("anna@example.net",)),
    Transaction("roaming", "203.0.113.77", "anna@example.net", ("staff@example.com",), login="anna", method="PLAIN"),
    Transaction("spam", "203.0.113.9", "spam@example.org", ("anna@example.net",)),
    Transaction("slow", "203.0.113.8", "slow@example.org", ("staff@example.com",)),
    *HOSTILE,
    FORGED,
)
ACCOUNTS = {
    "admin": ("--role", "admin"),
    "second": ("--role", "admin"),
    "operator": ("--role", "operator"),
    "domain": ("--role", "domain", "--domain", "example.net"),
    "user": ("--role", "user", "--address", "anna@example.net"),
}


class Site:
    """Use as a context manager. `links`: the one-time link of each account."""

    def __init__(self, directory):
        self.port = free_port()
        self.directory = directory
        for name in ("console", "console/tables"):
            (directory / name).mkdir(parents=True)
        (directory / "console/rules.conf").write_text("")
        (directory / "console/tables/partners").write_text("198.51.100.77 # a partner\n")
        self.server = Server(directory, POLICY, sources=SOURCES, state_and_more=console_settings(directory, self.port))
        self.console = Console(self.server, self.port)
        self.links = {}

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.server)
            stack.enter_context(self.console)
            CHANGES.watch(self.directory)
            self.links = {name: self.console.add_account(name, *options) for name, options in ACCOUNTS.items()}
            self.actions = [self.ask(mail) for mail in (*MAILS * 3, *HOSTILE, FORGED)]
            self._until_kept(len(self.actions))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        self._stack.close()

    @property
    def origin(self):
        """Of the console."""
        return self.console.origin

    def ask(self, mail):
        """The reply that Postfix gets about a mail."""
        with PolicyClient(self.server.socket_path) as client:
            return client.ask(policy_request(mail, mail.recipients[0], 1))

    def found(self, *words):
        """Decisions of the history, the newest first."""
        command = [*FORKPOLICY, "history", "find", "--json", *words, "-c", str(self.server.settings)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False)
        return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]

    def _until_kept(self, count):
        eventually(lambda: len(self.found("since:1d", "--most", "1000")) >= count)
