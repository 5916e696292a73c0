"""The store's socket for questions: one JSON object on a line in, one out (store_messages.py), for those who may ask.

Root, the store's own user and members of `api_group` may, as the kernel knows the process at the other end: the
rights of the socket file say the same. A client that sends what is no command gets `invalid` and may go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
import sqlite3
import struct
from typing import TYPE_CHECKING, Final

from forkpolicy.documents import InvalidDocumentError, plain_fields
from forkpolicy.gateway.store.queries import NoSuchMailError
from forkpolicy.gateway.store_messages import MailSize, ReadMail, Refused, Reply, parse_command

if TYPE_CHECKING:
    from pathlib import Path

    from forkpolicy.gateway.store.answering import Answering

logger = logging.getLogger(__name__)

# A thousand ids and the longest addresses, some times over.
_MOST_BYTES: Final = 1 << 20
_IDLE_S: Final = 60.0
_PIECE_BYTES: Final = 1 << 18
_CREDENTIALS: Final = struct.Struct("3i")
# Linux 4.13 and newer: the supplementary groups of the process at the other end. Python has no name for it, and takes
# no more than 1 KiB of an option.
_SO_PEERGROUPS: Final = 59
_MOST_GROUPS: Final = 256


class Api:
    """Answers clients. `group`: the id of `api_group`, or -1."""

    def __init__(self, answering: Answering, group: int) -> None:
        self._answering, self._group = answering, group

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until the client has no more questions."""
        try:
            if not may_ask(writer.get_extra_info("socket"), self._group):
                # First: closing a socket with a command unread resets it, and the reason would be lost.
                await asyncio.wait_for(reader.readline(), _IDLE_S)
                await _send(writer, Refused("not_yours", "the store answers root, its own user and its api_group"))
                return
            while line := await asyncio.wait_for(reader.readline(), _IDLE_S):
                await self._answer(line, writer)
        except (ConnectionError, TimeoutError):
            pass
        except ValueError:
            # asyncio's, of a line that is longer than its limit.
            with contextlib.suppress(ConnectionError):
                await _send(writer, Refused("invalid", f"a command has at most {_MOST_BYTES} bytes"))
        finally:
            writer.close()

    async def _answer(self, line: bytes, writer: asyncio.StreamWriter) -> None:
        try:
            fields = json.loads(line)
            if not isinstance(fields, dict):
                raise InvalidDocumentError("expected an object")
            command = parse_command(fields)
        except (ValueError, RecursionError) as error:
            await _send(writer, Refused("invalid", str(error)))
            return
        try:
            if isinstance(command, ReadMail):
                await _send_mail(writer, await self._answering.mail_path(command))
            else:
                await _send(writer, await self._answering.answer(command))
        except NoSuchMailError as error:
            await _send(writer, Refused("no_such_mail", str(error)))
        except (OSError, sqlite3.Error, OverflowError) as error:
            if isinstance(error, ConnectionError):
                raise
            await _send(writer, Refused("failed", getattr(error, "strerror", None) or str(error)))


async def listen(api: Api, sock: socket.socket) -> asyncio.Server:
    """Serve on a socket that listens."""
    # Not start_unix_server: that of Python 3.13 removes the file at the end, and systemd's must stay.
    return await asyncio.start_server(api.serve, sock=sock, limit=_MOST_BYTES)


def may_ask(sock: socket.socket, group: int) -> bool:
    """Whether the process at the other end may ask."""
    _, uid, gid = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    if uid in (0, os.geteuid()) or (group >= 0 and gid == group):
        return True
    try:
        raw = sock.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, 4 * _MOST_GROUPS) if group >= 0 else b""
    except OSError:
        # It has more groups.
        return False
    return group in struct.unpack(f"{len(raw) // 4}I", raw)


async def _send(writer: asyncio.StreamWriter, reply: Reply) -> None:
    writer.write(json.dumps(plain_fields(reply)).encode() + b"\n")
    await writer.drain()


async def _send_mail(writer: asyncio.StreamWriter, path: Path) -> None:
    """A line with the size, then the bytes."""
    try:
        file = await asyncio.to_thread(path.open, "rb")
    except FileNotFoundError as error:
        raise NoSuchMailError("the mail has no file any more") from error
    with file:
        size = os.fstat(file.fileno()).st_size
        await _send(writer, MailSize(size))
        while size > 0 and (piece := await asyncio.to_thread(file.read, min(size, _PIECE_BYTES))):
            writer.write(piece)
            size -= len(piece)
            await asyncio.wait_for(writer.drain(), _IDLE_S)
