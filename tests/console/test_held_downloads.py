"""Downloads of held mail by browsers that do not read: the console's memory stays as it is, and others come in."""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest

from forkpolicy.console.errors import TooMany
from forkpolicy.console.held.downloads import OF_ALL, OF_ONE, Downloads
from tests.console.held import HeldStore
from tests.console.serving import Console
from tests.process.waiting import eventually

LARGE = b"Subject: large\r\n\r\n" + (b"x" * 76 + b"\r\n") * 200_000
PASSWORD = "correct horse battery"


class Site:
    """A store with a large mail for anna, and a console in a process of its own."""

    def __init__(self, base: Path, stack: contextlib.ExitStack) -> None:
        held = HeldStore(base)
        self.console = Console(base, more=f'gateway = "{held.store.settings}"\n')
        stack.enter_context(held)
        stack.enter_context(self.console)
        (self.id,) = held.hold(LARGE)
        self.host = f"127.0.0.1:{self.console.port}"
        link = self.console.first_link("anna", "--role", "user", "--address", "anna@example.com")
        form = urlencode({"password": PASSWORD, "again": PASSWORD})
        kind = {"Content-Type": "application/x-www-form-urlencoded", "Origin": f"http://{self.host}"}
        answer = self.ask("POST", urlsplit(link).path, form, kind)
        self.cookie = answer.getheader("Set-Cookie").partition(";")[0]

    def ask(self, method: str, path: str, body: str = "", headers: dict[str, str] | None = None):
        """An answer, read to its end."""
        connection = http.client.HTTPConnection(self.host, timeout=60)
        connection.request(method, path, body, headers or {"Cookie": self.cookie})
        answer = connection.getresponse()
        answer.content = answer.read()
        connection.close()
        return answer

    def begin(self) -> tuple[socket.socket, bytes]:
        """A download whose browser reads the status alone; that, too."""
        browser = socket.socket()
        browser.settimeout(60)
        browser.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        browser.connect(("127.0.0.1", self.console.port))
        request = f"GET /held/{self.id}/raw HTTP/1.1\r\nHost: {self.host}\r\nCookie: {self.cookie}\r\n\r\n"
        browser.sendall(request.encode())
        return browser, browser.recv(12)

    def memory_mb(self) -> int:
        """What the console's process has."""
        text = Path(f"/proc/{self.console.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", text)[1]) >> 10


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    with contextlib.ExitStack() as stack:
        yield Site(tmp_path_factory.mktemp("site"), stack)


def test_browsers_that_do_not_read(site):
    """Each takes a piece of the mail and not the mail; of one account a few at a time."""
    before_mb = site.memory_mb()
    with contextlib.ExitStack() as stack:
        statuses = []
        for _ in range(OF_ONE + 2):
            browser, status = site.begin()
            stack.enter_context(browser)
            statuses.append(status[9:])
        assert statuses == [b"200"] * OF_ONE + [b"429"] * 2
        assert site.ask("GET", "/held").status == 200
        assert site.memory_mb() - before_mb < 2 * len(LARGE) >> 20
    # They hung up.
    answer = eventually(lambda: (found := site.ask("GET", f"/held/{site.id}/raw")).status == 200 and found)
    assert answer.content == LARGE
    assert answer.getheader("Content-Length") == str(len(LARGE))


def test_a_few_of_one_account_more_of_all():
    """Whoever ends one may begin another."""
    downloads = Downloads()
    ends = [downloads.begin("anna") for _ in range(OF_ONE)]
    with pytest.raises(TooMany):
        downloads.begin("anna")
    ends += [downloads.begin(f"bob{n}") for n in range(OF_ALL - OF_ONE)]
    with pytest.raises(TooMany):
        downloads.begin("carl")
    ends[0]()
    downloads.begin("anna")
