"""The console's process is killed in the middle of a change, while the server does not answer: the next one mends."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
from urllib.parse import urlencode, urlsplit

import pytest

from forkpolicy.console.change.versions import Versions
from loadtest.clients.policy_client import PolicyClient
from loadtest.servers.console import Console, console_settings
from loadtest.servers.pausing import pause
from loadtest.servers.ports import free_port
from tests.process.conftest import FORGED, POLICY, REJECT, folder, make_server  # noqa: F401 - fixtures
from tests.process.waiting import CHANGES, eventually

PARTNER = "acl partner client_address 203.0.113.5\naccess partner\n"
PASSWORD = "correct horse battery"


class Browser:
    """Signed in at a console that runs."""

    def __init__(self, port, link):
        self.port, self.cookie = port, ""
        self.post(urlsplit(link).path, password=PASSWORD, again=PASSWORD)
        self.token = re.search(r'name="token" value="([^"]+)"', self.get("/change"))[1]

    def _ask(self, method, address, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        headers = {"Cookie": self.cookie, "Origin": f"http://127.0.0.1:{self.port}"}
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        connection.request(method, address, body, headers)
        return connection

    def _answer(self, connection):
        with contextlib.closing(connection), connection.getresponse() as answer:
            cookie = answer.headers.get("Set-Cookie")
            self.cookie = cookie.partition(";")[0] if cookie else self.cookie
            return answer.read().decode()

    def get(self, address):
        return self._answer(self._ask("GET", address))

    def post(self, address, **form):
        return self._answer(self._ask("POST", address, urlencode(form)))

    def begin(self, address, **form):
        """A POST whose answer nobody waits for."""
        return self._ask("POST", address, urlencode({"token": self.token, **form}))


@pytest.fixture
def site(make_server):  # noqa: F811
    """A server and its console."""
    port = free_port()
    server = make_server()
    server.write_policy(POLICY.replace("access from_us", "include console/rules.conf restricted\naccess from_us"))
    (server.directory / "console").mkdir()
    server.settings.write_text(server.settings.read_text() + console_settings(server.directory, port))
    server.start()
    CHANGES.watch(server.directory / "console")
    with Console(server, port) as console:
        console.port = port
        yield console


def asked(server):
    """What becomes of the forged mail."""
    with PolicyClient(server.socket_path) as client:
        return client.ask(FORGED)


@pytest.mark.parametrize("is_broken", [False, True])
def test_a_killed_console_leaves_a_whole_state(site, is_broken):
    """The change is in the file and pending; the next console has the server load it, or puts the previous text back
    where it refuses.
    """
    server, directory = site.server, site.server.directory / "console"
    link = site.add_account("anna", "--role", "admin")
    browser = Browser(site.port, link)
    (console,) = [each for each in site._children if "serve" in each.args]
    seen = re.search(r'name="seen" value="([^"]+)"', browser.get("/change"))[1]
    pause(server.process.pid)
    connection = browser.begin("/change", do="apply", seen=seen, text=PARTNER)
    eventually(lambda: (directory / "rules.conf").exists() and (directory / "rules.conf").read_text() == PARTNER)
    console.send_signal(signal.SIGKILL)
    console.wait()
    connection.close()
    os.kill(server.process.pid, signal.SIGCONT)
    versions = Versions(directory)
    assert [each.state for each in versions.newest(str(directory / "rules.conf"), 0, 9)] == ["pending"]
    if is_broken:
        policy = server.settings.with_name("policy.conf")
        policy.write_text(f"{policy.read_text()}access nobody\n")
    site.start()
    eventually(lambda: not versions.pending())
    (change,) = versions.newest(str(directory / "rules.conf"), 0, 9)
    if is_broken:
        assert (change.state, (directory / "rules.conf").exists()) == ("refused", False)
        assert asked(server) == REJECT
    else:
        assert (change.state, (directory / "rules.conf").read_text()) == ("applied", PARTNER)
        assert asked(server) == "DUNNO"
