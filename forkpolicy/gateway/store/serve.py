"""Runs the store: LMTP on three sockets, questions on a fourth, until TERM or INT.

The directory belongs to one store at a time (a lock on held.lock). Raises CannotWriteError and StoreError before it
serves.
"""

from __future__ import annotations

import asyncio
import grp
import logging
import os
import signal
import sys
import time
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from forkpolicy.errors import UsageError
from forkpolicy.gateway.settings import CAUSES, SOCKETS, GatewaySettings
from forkpolicy.gateway.store.arrival import Arrivals
from forkpolicy.gateway.store.database import Database
from forkpolicy.gateway.store.holding import held_alone
from forkpolicy.gateway.store.lmtp import Lmtp
from forkpolicy.gateway.store.mail_files import MailFiles
from forkpolicy.gateway.store.queries import needed_digests
from forkpolicy.gateway.store.services import Services
from forkpolicy.gateway.store.sockets import listening, passed_by_systemd
from forkpolicy.notify import Notifier
from forkpolicy.one_line_logging import log_to_stderr

if TYPE_CHECKING:
    import socket
    import sqlite3

logger = logging.getLogger(__name__)

# Postfix's lmtp(8) is user postfix: the directory lets nobody else through.
_LMTP_MODE: Final = 0o666
_API_MODE: Final = 0o660


def serve(settings: GatewaySettings) -> None:
    """Serve until a signal asks it to end."""
    log_to_stderr("%(levelname)s %(message)s")
    logging.getLogger("mail").setLevel(logging.ERROR)  # aiosmtpd's: addresses of people stand in it
    os.umask(0o077)
    directory = Path(settings.store.path)
    with held_alone(directory):
        sockets = _sockets(settings)
        files, database = MailFiles(directory), Database(directory)
        try:
            asyncio.run(_run(settings, files, database, sockets))
        finally:
            database.close()


def _sockets(settings: GatewaySettings) -> dict[str, socket.socket]:
    """By cause, and `api`: those that systemd has bound, the others are made."""
    passed, store = passed_by_systemd(), settings.store
    places = {cause: Path(store.sockets) / name for cause, name in SOCKETS.items()} | {"api": Path(store.api)}
    if others := sorted(passed.keys() - {str(path) for path in places.values()}):
        expected = ", ".join(str(path) for path in places.values())
        raise UsageError(
            f"systemd has passed the socket {others[0]}, which gateway.toml does not name: expected {expected}: "
            "ListenStream= of forkpolicy-store.socket and [store] sockets must say the same"
        )
    group = _group_id(store.api_group)
    made = dict.fromkeys(SOCKETS, (_LMTP_MODE, -1)) | {"api": (_API_MODE, group)}
    return {name: passed.get(str(path)) or listening(path, *made[name]) for name, path in places.items()}


def _group_id(name: str) -> int:
    try:
        return grp.getgrnam(name).gr_gid if name else -1
    except KeyError as error:
        raise UsageError(f'[store] api_group: there is no group "{name}"') from error


async def _run(
    settings: GatewaySettings, files: MailFiles, database: Database, sockets: dict[str, socket.socket]
) -> None:
    notifier, ending, loop = Notifier(), asyncio.Event(), asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, ending.set)
    started = await database.write(partial(_started, at_s=time.time()))
    await database.write(partial(_sweep, files=files))
    async with AsyncExitStack() as stack:
        services = await stack.enter_async_context(Services(settings, files, database, started))
        arrivals = Arrivals(settings.store, files, database, passed=services.outbox.wake)
        for cause in CAUSES:
            # Not create_unix_server: that of Python 3.13 removes the file at the end, and systemd's must stay.
            server = await loop.create_server(partial(Lmtp, arrivals, cause), sock=sockets[cause])
            await stack.enter_async_context(server)
        group = _group_id(settings.store.api_group)
        await stack.enter_async_context(await services.listen(sockets["api"], group))
        print(f"the store in {settings.store.path} takes mail", file=sys.stderr, flush=True)
        notifier.ready("takes mail")
        await ending.wait()
        notifier.stopping()
    await database.write(partial(_ended, start=started))


def _started(connection: sqlite3.Connection, at_s: float) -> int:
    start = connection.execute("INSERT INTO start (at_s) VALUES (?)", (at_s,)).lastrowid
    assert start is not None
    return start


def _ended(connection: sqlite3.Connection, start: int) -> None:
    connection.execute("UPDATE start SET clean_end = 1 WHERE id = ?", (start,))


def _sweep(connection: sqlite3.Connection, files: MailFiles) -> None:
    left = files.sweep(needed_digests(connection))
    if left:
        logger.warning("removed %d files that no row names: the store was killed while mail arrived", left)
