"""The end of DATA in what comes in pieces of any size: the bytes of the mail, and nothing of what follows."""

from __future__ import annotations

import asyncio

from hypothesis import example, given
from hypothesis import strategies as st

from forkpolicy.gateway.store.lmtp import Lmtp


class Reading(Lmtp):
    """The part of a session that reads a mail, from bytes."""

    def __init__(self, reader):
        self._reader, self.mail = reader, b""

    def _reset_timeout(self):
        """There is no time to reset."""

    def _write(self, _incoming, data):
        self.mail += data
        return ""


async def read(wire, most):
    """The mail, and what is left behind it."""
    reader = asyncio.StreamReader(limit=most)
    reader.feed_data(wire)
    reader.feed_eof()
    reading = Reading(reader)
    assert await reading._read_data(None) == ""
    return reading.mail, await reader.read()


@given(st.text(alphabet="\r\n..a", max_size=40), st.sampled_from([1, 5, 6, 7, 20, 1 << 16]))
@example("", 5)
@example("\r\n", 5)
@example(".", 5)
@example("\r\n.\r", 6)
@example("a\r\n.\n", 6)
def test_bytes_out_are_bytes_in(text, most):
    """Wherever a piece ends, in front of a dot, behind it, in the midst of an end of line."""
    mail = text.encode()
    if mail and not mail.endswith(b"\r\n"):
        mail += b"\r\n"
    stuffed = (b"\r\n" + mail).replace(b"\r\n.", b"\r\n..")[2:]
    assert asyncio.run(read(stuffed + b".\r\nQUIT\r\n", most)) == (mail, b"QUIT\r\n")
