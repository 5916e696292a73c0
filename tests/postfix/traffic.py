"""SMTP traffic that goes on while something happens to the policy server, and a record of every reply.

A few sessions repeat one mail up to RCPT. Tests wait for what they expect to see in the replies, with a deadline, and
look at the whole record at the end: what was never allowed to be seen is not there.
"""

from __future__ import annotations

import threading
from collections import Counter

from loadtest.clients.smtp import SmtpClient


class Traffic:
    """Sessions in threads. Use as a context manager; an error in a session is raised when it ends."""

    def __init__(self, port, *, client, sender, recipient, sessions=4):
        self.mail = client, sender, recipient
        self.replies = []
        self.of_session = [[] for _ in range(sessions)]
        self._changed = threading.Condition()
        self._stopping = False
        self._errors = []
        self._threads = [threading.Thread(target=self._run, args=(port, own)) for own in self.of_session]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind, *_):
        self._stopping = True
        for thread in self._threads:
            thread.join()
        if self._errors and kind is None:
            raise self._errors[0]

    def wait_for(self, code, count=20, timeout_s=20.0):
        """Wait until `count` more replies with `code` have arrived."""
        with self._changed:
            start = len(self.replies)
            arrived = self._changed.wait_for(
                lambda: self._errors or self.replies[start:].count(code) >= count, timeout_s
            )
        assert not self._errors, self._errors
        assert arrived, f"no {count} replies {code} in {timeout_s} s: {Counter(self.replies[start:])}"

    def later(self, counts):
        """Replies to what was asked after `so_far()` had these: each session has one verdict on its way at most."""
        return [code for own, before in zip(self.of_session, counts, strict=True) for code in own[before + 1 :]]

    def so_far(self):
        """How many replies each session has recorded, for `later`."""
        with self._changed:
            return [len(own) for own in self.of_session]

    def _run(self, port, own):
        client, sender, recipient = self.mail
        try:
            with SmtpClient(port) as session:
                session.ehlo()
                session.xclient(client)
                session.ehlo()
                while not self._stopping:
                    session.mail(sender)
                    self._record(session.rcpt(recipient).code, own)
                    session.command("RSET")
        except Exception as error:  # noqa: BLE001 - raised again in the test's own thread
            with self._changed:
                self._errors.append(error)
                self._changed.notify_all()

    def _record(self, code, own):
        with self._changed:
            self.replies.append(code)
            own.append(code)
            self._changed.notify_all()
