"""The scanner learns what people decide: a real HTTP server that answers with rspamd's statuses."""

from __future__ import annotations

import http.server
import json
import threading

import pytest

from forkpolicy.gateway.client import ask
from forkpolicy.gateway.store_messages import DeleteHeld, Ledger, ReleaseHeld, Scope, StoreStatus
from tests.gateway.stores import LmtpClient, Store
from tests.gateway.test_release import files_of, wait_for

ALL = Scope(everything=True)
MAIL = b"X-Spamd-Result: default: False [9.10 / 15.00]; A(1.0)[]\r\nSubject: Hello\r\n\r\nText\r\n"


class Controller:
    """Says rspamd's words with a status that a test chooses; `asked` has path, password and body of each request."""

    def __init__(self):
        self.status, self.status_of, self.asked = 200, {}, []
        controller = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                controller.asked.append((self.path, self.headers["Password"], body))
                status = controller.status_of.get(body, controller.status)
                self.send_response(status)
                self.end_headers()
                if status != 204:
                    success = {"success": True} if status == 200 else {"error": f"words {status}"}
                    self.wfile.write(json.dumps(success).encode())

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def controller():
    """One that has learnt everything."""
    with Controller() as controller:
        yield controller


@pytest.fixture
def store(tmp_path, controller):
    """A store with a mail for alice, which knows the controller and its password."""
    (tmp_path / "password").write_text("secret\n")
    url = f"http://127.0.0.1:{controller.server.server_address[1]}"
    scanner = f'[scanner]\ncontroller = "{url}"\npassword_file = "password"\n'
    with Store(tmp_path, "", scanner) as store:
        with LmtpClient(store.sockets / "store-spam") as client:
            client.send("n@example.org", ["alice@example.com"], MAIL)
        yield store


def learnt(store):
    """State and words of all lessons, once none is wanted any more."""
    return wait_for(
        lambda: (
            not store.rows("SELECT 1 FROM learning WHERE state = 'wanted'")
            and store.rows("SELECT class, state, words FROM learning ORDER BY id")
        )
    )


def test_deleted_as_spam_is_learnt_then_the_file_goes(store, controller):
    """The mail without the scanner's own headers, with the password; the file goes when it is learnt."""
    ask(store.api, DeleteHeld(ALL, (1,), "alice", learn=True))
    assert learnt(store) == [("spam", "learnt", "200 OK")]
    assert controller.asked == [("/learnspam", "secret", b"Subject: Hello\r\n\r\nText\r\n")]
    wait_for(lambda: not files_of(store))
    assert ask(store.api, StoreStatus()).learnt == {"learnt": 1}


def test_released_is_learnt_as_ham(store, controller):
    """`learn` of a release is ham."""
    ask(store.api, ReleaseHeld(ALL, (1,), "alice", learn=True))
    assert learnt(store)[0][:2] == ("ham", "learnt")
    assert controller.asked[0][0] == "/learnham"


@pytest.mark.parametrize(("status", "state"), [(208, "known"), (204, "failed"), (500, "failed")])
def test_what_the_scanner_says_ends_it(store, controller, status, state):
    """208 is known; 204 (too short) and 500 are failures, with words; the file goes."""
    controller.status = status
    ask(store.api, DeleteHeld(ALL, (1,), "alice", learn=True))
    ((_, found, words),) = learnt(store)
    assert found == state
    assert words.startswith(str(status))
    wait_for(lambda: not files_of(store))


@pytest.mark.parametrize("status", [404, 401])
def test_later_keeps_the_mail_and_tries_again(store, controller, status):
    """404 (no statistics now) and 401 (wrong password): the mail stays, an administrator sees why; learnt later."""
    controller.status = status
    ask(store.api, DeleteHeld(ALL, (1,), "alice", learn=True))
    assert learnt(store) == [("spam", "later", f"{status} words {status}")]
    assert any(f"words {status}" in each for each in ask(store.api, StoreStatus()).errors)
    assert len(files_of(store)) == 1
    assert ask(store.api, Ledger()).wrong == ()
    controller.status = 200
    store.kill()
    store.start()
    wait_for(lambda: store.rows("SELECT 1 FROM learning WHERE state = 'learnt'"))
    wait_for(lambda: not files_of(store))


def test_one_that_is_put_off_does_not_stop_the_others(store, controller):
    """404 for one mail, for ever: those behind it are learnt."""
    controller.status_of[b"Subject: Hello\r\n\r\nText\r\n"] = 404
    ask(store.api, DeleteHeld(ALL, (1,), "alice", learn=True))
    learnt(store)
    with LmtpClient(store.sockets / "store-spam") as client:
        client.send("n@example.org", ["bob@example.com"], MAIL + b"2\r\n", "second")
    ask(store.api, DeleteHeld(ALL, (2,), "bob", learn=True))
    assert wait_for(lambda: store.rows("SELECT 1 FROM learning WHERE message = 2 AND state = 'learnt'"))


def test_nobody_listens_is_later(store, controller):
    """A scanner that is away: the wish stays."""
    controller.server.socket.close()
    ask(store.api, DeleteHeld(ALL, (1,), "alice", learn=True))
    assert learnt(store)[0][1] == "later"


def test_without_a_scanner_nothing_is_wanted(tmp_path):
    """No controller in the settings: `learn` asks for nothing, and no file waits for it."""
    with Store(tmp_path) as store:
        with LmtpClient(store.sockets / "store") as client:
            client.send("n@example.org", ["alice@example.com"], MAIL)
        ask(store.api, DeleteHeld(ALL, (1,), "alice", learn=True))
        assert store.rows("SELECT * FROM learning") == []
        assert not files_of(store)
