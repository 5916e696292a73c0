"""The threads of held.db: what takes long keeps nobody waiting."""

from __future__ import annotations

import asyncio
import contextlib
import threading

from forkpolicy.gateway.store.database import Database


def test_a_question_that_takes_long_lets_others_go_on(tmp_path):
    """While it is answered, pages are read and mail is written; what was written is seen by all."""
    began, ended = threading.Event(), threading.Event()

    def long_question(connection):
        began.set()
        assert ended.wait(20)
        return connection.execute("SELECT count(*) FROM start").fetchone()[0]

    async def ask(database):
        counting = asyncio.create_task(database.count(long_question))
        assert await asyncio.to_thread(began.wait, 20)
        await database.write(lambda connection: connection.execute("INSERT INTO start (at_s) VALUES (1)"))
        read = await database.read(lambda connection: connection.execute("SELECT count(*) FROM start").fetchone()[0])
        assert not counting.done()
        ended.set()
        return read, await counting

    with contextlib.closing(Database(tmp_path)) as database:
        assert asyncio.run(ask(database)) == (1, 1)
