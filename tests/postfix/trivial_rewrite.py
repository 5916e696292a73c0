"""Questions for the trivial-rewrite(8) of a private Postfix, and Postfix's quoting of addresses (quote_822_local.c).

Its socket speaks what Postfix's own clients do: `name NUL value NUL ... NUL`.
"""

from __future__ import annotations

import re
import socket

SYNTAX_ERROR, LOCAL, VIRTUAL = 1 << 2, 1 << 8, 1 << 10


class TrivialRewrite:
    """One connection. `rewrite` is what cleanup(8) asks, `resolve` what qmgr(8) and smtpd(8) do."""

    def __init__(self, postfix):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(30)
        self._socket.connect(str(postfix.private / "rewrite"))
        self._stream = self._socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._stream.close()
        self._socket.close()

    def rewrite(self, address):
        """An address as cleanup(8) leaves it, both without quotes."""
        return unquoted(self._ask(request="rewrite", rule="local", address=quoted(address))["address"])

    def resolve(self, address):
        """(the recipient that mail is delivered to, whether that is here); None where Postfix refuses the syntax."""
        reply = self._ask(request="resolve", sender="", address=address)
        flags = int(reply["flags"])
        return None if flags & SYNTAX_ERROR else (reply["recipient"], bool(flags & (LOCAL | VIRTUAL)))

    def _ask(self, **attributes):
        text = "".join(f"{name}\0{value}\0" for name, value in attributes.items())
        self._socket.sendall(text.encode("utf-8", "surrogateescape") + b"\0")
        reply = self._attributes()
        # Newer ones introduce themselves.
        return self._attributes() if "protocol" in reply else reply

    def _attributes(self):
        found = {}
        while name := self._word():
            found[name] = self._word()
        return found

    def _word(self):
        word = bytearray()
        while (byte := self._stream.read(1)) not in (b"\0", b""):
            word += byte
        return word.decode("utf-8", "surrogateescape")


def quoted(address):
    """The external form of an address without quotes."""
    start = address.find(":") + 1 if address.startswith("@") else 0
    at = address.rfind("@", start)
    local, rest = (address[start:], "") if at < 0 else (address[start:at], address[at:])
    if local and not re.search(r'[\x00-\x20\x7f()<>@,;:\\"\[\]]|\A\.|\.\.|\.\Z', local):
        return address
    escaped = re.sub(r'(["\\\r])', r"\\\1", local)
    return f'{address[:start]}"{escaped}"{rest}'


def unquoted(address):
    """An external form without its quotes."""
    pieces = re.findall(r'"((?:\\.|[^"\\])*)"|\\(.)|([^"\\])', address, re.DOTALL)
    return "".join(
        re.sub(r"\\(.)", r"\1", quotes, flags=re.DOTALL) + escaped + plain for quotes, escaped, plain in pieces
    )
