"""A mail server that takes connections and says nothing, and a real console whose pages others look at meanwhile."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from urllib.parse import urlencode, urlsplit

from forkpolicy.console.access.directory.directory import AT_ONCE
from tests.console.serving import PASSWORD, Console
from tests.process.waiting import eventually

ASKING = 20
# A page takes some milliseconds; a thread that waits for the server takes seconds.
QUICK_S = 2.0


def ask(console, method, address, form=None, client="192.0.2.1"):
    """The status of a page, and how long it took. `client`: as the proxy in front says it."""
    began_s = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", console.port, timeout=30)
    headers = {
        "Origin": f"http://127.0.0.1:{console.port}",
        "Content-Type": "application/x-www-form-urlencoded",
        "X-Forwarded-For": client,
    }
    try:
        connection.request(method, address, urlencode(form or {}), headers)
        answer = connection.getresponse()
        answer.read()
    finally:
        connection.close()
    return answer.status, time.monotonic() - began_s


def test_a_server_that_hangs_holds_up_nobody_else(tmp_path):
    """A few wait for it, others are asked to come again, and pages and local accounts go on as if it were not there."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        more = f'sign_in = ["local", "imap"]\nimap = ["imap://127.0.0.1:{listener.getsockname()[1]}"]\n'
        # Each of a network of their own: those of one have few threads in any case (turns.py).
        more += 'trusted_proxies = ["127.0.0.1"]\n'
        with Console(tmp_path, more=more) as console:
            first = urlsplit(console.first_link()).path
            assert ask(console, "POST", first, {"password": PASSWORD, "again": PASSWORD})[0] == 303
            answers = []
            people = [
                threading.Thread(
                    target=lambda n=n: answers.append(ask(console, "POST", "/sign-in", person(n), f"198.51.{n}.1"))
                )
                for n in range(ASKING)
            ]
            for each in people:
                each.start()
            hung = [listener.accept()[0] for _ in range(AT_ONCE)]
            # Those who found no place have their answer; those who wait for a hash as well.
            eventually(lambda: len(answers) >= ASKING - AT_ONCE)
            for _ in range(10):
                status, took_s = ask(console, "GET", "/sign-in")
                assert (status, took_s < QUICK_S) == (200, True)
            status, took_s = ask(console, "POST", "/sign-in", {"name": "anna", "password": PASSWORD})
            assert (status, took_s < QUICK_S) == (303, True)
            for each in hung:
                each.close()
            for each in people:
                each.join()
            found = [status for status, _ in answers]
            assert set(found) == {429, 503}
            assert found.count(503) >= AT_ONCE
            assert ask(console, "POST", "/sign-in", person(1))[0] == 503


def person(number):
    """A form of somebody without an account."""
    return {"name": f"person{number}@example.com", "password": "a password"}
