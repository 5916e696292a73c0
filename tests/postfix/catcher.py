"""An LMTP server for a private Postfix to deliver to: who got which mail from whom."""

from __future__ import annotations

import re
import socketserver
import threading
from typing import NamedTuple


class Delivery(NamedTuple):
    """One recipient of one mail."""

    sender: str
    recipient: str
    subject: str


class Catcher:
    """Listens on a port of 127.0.0.1; `deliveries` grows, and so do `messages`, each as it came. Use as a context
    manager.
    """

    def __init__(self):
        self.deliveries, self.messages = [], []
        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Session, bind_and_activate=True)
        self._server.daemon_threads = True
        self._server.catcher = self
        self.transport = f"lmtp:inet:[127.0.0.1]:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Session(socketserver.StreamRequestHandler):
    def handle(self):
        self.say("220 catcher")
        sender, recipients = "", []
        while line := self.rfile.readline().decode("utf-8", "surrogateescape").rstrip("\r\n"):
            verb = line[:4].upper()
            if verb == "MAIL":
                sender, recipients = _address(line), []
            elif verb == "RCPT":
                recipients.append(_address(line))
            if verb == "DATA":
                self.say("354 go on")
                self.take(sender, recipients)
            else:
                self.say("250 fine")
            if verb == "QUIT":
                return

    def take(self, sender, recipients):
        lines = []
        while (line := self.rfile.readline()) not in (b".\r\n", b""):
            lines.append(line.decode("utf-8", "surrogateescape"))
        found = re.search(r"^Subject: (.*?)\r?$", "".join(lines), re.MULTILINE)
        self.server.catcher.messages.append("".join(lines))
        for recipient in recipients:
            # Before the reply: a test that sees in Postfix's log that it was sent finds it here.
            self.server.catcher.deliveries.append(Delivery(sender, recipient, found[1] if found else ""))
            self.say("250 taken")

    def say(self, text):
        self.wfile.write(f"{text}\r\n".encode())


def _address(line):
    return re.search(r"<(.*)>", line)[1]
