"""Moving in as docs/migrating.md has it: the old server decides, the imported policy is its shadow, then decides."""

from __future__ import annotations

import re
import sys

from forkpolicy.commands.main import main as forkpolicy
from loadtest.clients.policy_client import PolicyClient
from tests.policy_servers import Spawned
from tests.process.conftest import request
from tests.process.waiting import eventually

# apolicy as its documentation has it: it searches for its values.
SEARCHES = """\
import re, sys
for line in sys.stdin:
    if line.startswith("sender="):
        found = re.search("@example.net", line)
    elif line == "\\n":
        print("action=REJECT no\\n" if found else "action=DUNNO\\n", flush=True)
"""
RULES = "acl bad sender @example.net\naction no REJECT no\naccess bad no\n"
OLD = "acl apolicy service unix:{socket} OK REJECT 4* 5*\naction pass_on {{match.apolicy}}\naccess apolicy pass_on\n"
BAD, LIKE, FINE = (request(sender) for sender in ("x@example.net", "x@example.net.evil.example", "x@example.org"))


def test_the_old_server_decides_until_the_imported_policy_does(make_server, folder, capsys):
    """Its replies are passed on and differences logged; each way is one line of the settings and a reload."""
    old = Spawned(folder / "apolicy", sys.executable, "-c", SEARCHES)
    try:
        server = make_server(OLD.format(socket=old.path))
        home = server.settings.parent
        (home / "apolicy.conf").write_text(RULES)
        assert forkpolicy(["import", "apolicy", str(home / "apolicy.conf"), "--out", str(home / "imported")]) == 0
        before = server.settings.read_text()
        server.settings.write_text(f'shadow = "imported/policy.conf"\n{before}')
        server.start()
        with PolicyClient(server.socket_path) as client:
            assert [client.ask(each) for each in (BAD, LIKE, FINE)] == ["REJECT no", "REJECT no", "DUNNO"]
            eventually(lambda: 'answered="REJECT no" shadow=DUNNO' in server.said())
            assert "differently to 1 of 3 requests" in eventually(
                lambda: (text := server.command("status").stdout) and " of 3 requests" in text and text
            )
            server.settings.write_text(
                re.sub("^policy = .*", 'policy = "imported/policy.conf"', before, flags=re.MULTILINE)
            )
            assert server.reload().returncode == 0
            assert [client.ask(each) for each in (BAD, LIKE, FINE)] == ["REJECT no", "DUNNO", "DUNNO"]
            server.settings.write_text(before)
            assert server.reload().returncode == 0
            assert client.ask(LIKE) == "REJECT no"
    finally:
        old.stop()
