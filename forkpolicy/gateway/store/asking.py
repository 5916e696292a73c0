"""Asks the policy server about one recipient of a held mail (SMTPD_POLICY_README), as Postfix would have asked.

A connection a mail: one that is kept may have been closed by a server that was replaced. What is no reply in time is
None, with the reason in words; then nothing more is asked about that mail, or one to a hundred recipients would take
longer than lmtp(8) waits (lmtp_data_done_timeout, 600 s).
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

# A reply is a line of at most some hundred bytes.
_MOST_BYTES: Final = 64 << 10


class Answer(NamedTuple):
    """The action of a reply, as `OK` or `REJECT text`; None, and why there is none."""

    action: str | None
    why: str = ""


class Asker:
    """A connection for the recipients of one mail. Use as an asynchronous context manager."""

    def __init__(self, socket_path: str, timeout_s: float) -> None:
        self._path, self._timeout_s = socket_path, timeout_s
        self._too_slow: Answer | None = None
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._streams:
            self._streams[1].close()
            with contextlib.suppress(OSError):
                await self._streams[1].wait_closed()

    async def ask(self, attributes: Mapping[str, str]) -> Answer:
        """The reply to a request. Never raises."""
        if self._too_slow:
            return self._too_slow
        try:
            return await asyncio.wait_for(self._ask(attributes), self._timeout_s)
        except TimeoutError:
            self._forget()
            self._too_slow = Answer(None, f"the policy server did not reply within {self._timeout_s:g} s")
            return self._too_slow
        except (OSError, ValueError, asyncio.IncompleteReadError) as error:
            self._forget()
            reason = getattr(error, "strerror", None) or "its reply is not valid"
            return Answer(None, f"the policy server at {self._path} did not reply: {reason}")

    async def _ask(self, attributes: Mapping[str, str]) -> Answer:
        if self._streams is None:
            self._streams = await asyncio.open_unix_connection(self._path, limit=_MOST_BYTES)
        reader, writer = self._streams
        lines = "".join(f"{name}={_one_line(value)}\n" for name, value in attributes.items())
        writer.write(f"request=smtpd_access_policy\n{lines}\n".encode("utf-8", "surrogateescape"))
        await writer.drain()
        reply = (await reader.readuntil(b"\n\n")).decode("utf-8", "replace")
        action = next((each[7:] for each in reply.split("\n") if each.startswith("action=")), "").strip()
        if not action:
            raise ValueError("no action")
        return Answer(action)

    def _forget(self) -> None:
        if self._streams:
            self._streams[1].transport.abort()
        self._streams = None


def _one_line(value: str) -> str:
    return value.replace("\n", "?").replace("\0", "?")
