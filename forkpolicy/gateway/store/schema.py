"""The tables of held.db, and how its connections are opened.

SQLite in WAL mode with synchronous=FULL: a commit is on disk when it returns (sqlite.org/pragma.html).
One process writes, and other users cannot read it: the console asks the store. A file of an older release gets what it
lacks when it is opened; that of a newer one is left alone. Raises StoreError.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Final

from forkpolicy.gateway.store.errors import StoreError
from forkpolicy.tables.keys import fold_address, fold_domain

if TYPE_CHECKING:
    from pathlib import Path

NAME: Final = "held.db"
_BUSY_MS: Final = 10_000
_FIRST: Final = """
CREATE TABLE message (
  id INTEGER PRIMARY KEY,
  digest TEXT NOT NULL,            -- SHA-256 of the bytes, the name of the file
  queue_id TEXT NOT NULL,          -- that of the gateway's Postfix, from XFORWARD IDENT
  arrived_s REAL NOT NULL,
  sender TEXT NOT NULL,
  size_bytes INTEGER NOT NULL,
  subject TEXT NOT NULL,
  from_header TEXT NOT NULL,
  message_id TEXT NOT NULL,
  client_address TEXT NOT NULL,
  client_name TEXT NOT NULL,
  helo_name TEXT NOT NULL,
  cause TEXT NOT NULL,             -- policy, spam, virus: which socket it came to
  spam_score REAL,
  spam_auth TEXT NOT NULL,
  symbols TEXT NOT NULL,           -- JSON: [[name, score], ...]
  smtputf8 INTEGER NOT NULL,
  body8 INTEGER NOT NULL,
  envid TEXT NOT NULL,
  ret TEXT NOT NULL,
  UNIQUE (queue_id, digest)
);
CREATE INDEX message_digest ON message (digest);
CREATE TABLE held (
  id INTEGER PRIMARY KEY,
  message INTEGER NOT NULL REFERENCES message (id),
  recipient TEXT NOT NULL,         -- as it arrived
  recipient_key TEXT NOT NULL,     -- folded (tables/keys.py); in lower case before version 4
  domain TEXT NOT NULL,            -- of recipient_key
  arrived_s REAL NOT NULL,         -- that of the message, for pages of a list
  state TEXT NOT NULL,             -- store_messages.STATES
  why TEXT NOT NULL,
  changed_s REAL NOT NULL,
  changed_by TEXT NOT NULL,
  requested_by TEXT NOT NULL DEFAULT '',
  backend_reply TEXT NOT NULL DEFAULT '',
  notify TEXT NOT NULL,
  orcpt TEXT NOT NULL,
  new_queue_id TEXT NOT NULL DEFAULT '',
  passed INTEGER NOT NULL,         -- 1: the policy let it go on at once, nobody released it
  UNIQUE (message, recipient)
);
CREATE INDEX held_recipient ON held (recipient_key, state, arrived_s, id);
CREATE INDEX held_domain ON held (domain, state, arrived_s, id);
CREATE INDEX held_state ON held (state, arrived_s, id);
CREATE INDEX held_new_queue_id ON held (new_queue_id) WHERE new_queue_id != '';
CREATE TABLE event (held INTEGER NOT NULL, at_s REAL NOT NULL, who TEXT NOT NULL, what TEXT NOT NULL);
CREATE INDEX event_held ON event (held, at_s);
CREATE TABLE attempt (             -- a try to send a copy on, committed before its first byte
  id INTEGER PRIMARY KEY,
  held INTEGER NOT NULL,
  began_s REAL NOT NULL,
  ended_s REAL,                    -- NULL: the store was killed before it knew the reply
  queue_id TEXT NOT NULL DEFAULT '',
  reply TEXT NOT NULL DEFAULT ''
);
CREATE INDEX attempt_held ON attempt (held);
CREATE INDEX attempt_open ON attempt (id) WHERE ended_s IS NULL;
CREATE TABLE start (id INTEGER PRIMARY KEY, at_s REAL NOT NULL, clean_end INTEGER NOT NULL DEFAULT 0);
CREATE TABLE learning (
  id INTEGER PRIMARY KEY,
  message INTEGER NOT NULL,
  class TEXT NOT NULL,             -- spam, ham
  state TEXT NOT NULL,             -- wanted, learnt, known, later, failed
  at_s REAL NOT NULL,
  words TEXT NOT NULL DEFAULT '',
  UNIQUE (message, class)
);
CREATE INDEX learning_state ON learning (state);
CREATE INDEX learning_message ON learning (message);
CREATE TABLE log_place (           -- where the reading of Postfix's log stopped (log_place.py): one row
  id INTEGER PRIMARY KEY,
  inode INTEGER NOT NULL,
  offset INTEGER NOT NULL,
  head TEXT NOT NULL
);
"""
_DIGESTS: Final = """
CREATE TABLE digest_choice (       -- what a person has chosen
  address TEXT PRIMARY KEY,        -- as recipient_key
  schedule TEXT NOT NULL,          -- off, daily, weekly; empty: as the domain has it
  language TEXT NOT NULL,          -- empty: as the settings have it
  at_s REAL NOT NULL,
  who TEXT NOT NULL
);
CREATE TABLE digest (              -- the last digest of an address
  address TEXT PRIMARY KEY,
  up_to INTEGER NOT NULL,          -- held.id: what is greater is new
  before INTEGER NOT NULL,         -- up_to of the digest before it, which counts again when this one is refused
  sent_s REAL NOT NULL,            -- 0: it was refused, the next one is due
  queue_id TEXT NOT NULL           -- that of the release port
);
CREATE INDEX digest_queue_id ON digest (queue_id) WHERE queue_id != '';
CREATE TABLE digest_failure (
  about TEXT PRIMARY KEY,          -- an address; empty: all of them
  error TEXT NOT NULL,
  since_s REAL NOT NULL,
  last_s REAL NOT NULL
);
CREATE TABLE digest_run (id INTEGER PRIMARY KEY, ended_s REAL NOT NULL);  -- the last one: one row
CREATE TABLE link_use (            -- a link acts once
  held INTEGER PRIMARY KEY,
  at_s REAL NOT NULL,
  action TEXT NOT NULL
);
"""
_LEDGER: Final = """
CREATE TABLE pruned (              -- copies whose rows are gone: what the ledger counts besides
  state TEXT PRIMARY KEY,
  copies INTEGER NOT NULL
);
ALTER TABLE attempt ADD COLUMN is_lost INTEGER NOT NULL DEFAULT 0;  -- the connection broke behind the last dot
ALTER TABLE attempt ADD COLUMN taken INTEGER NOT NULL DEFAULT 0;    -- the mail log says that Postfix has it
"""
# Keys in lower case are folded ones but for international names, long s and their like.
_FOLDED: Final = """
UPDATE held SET recipient_key = fold_address(recipient_key), domain = folded_domain_of(recipient_key)
  WHERE recipient_key != fold_address(recipient_key);
UPDATE OR REPLACE digest_choice SET address = fold_address(address) WHERE address != fold_address(address);
UPDATE OR REPLACE digest SET address = fold_address(address) WHERE address != fold_address(address);
UPDATE OR REPLACE digest_failure SET about = fold_address(about) WHERE about != fold_address(about);
"""
# Each leads from a version to the next one, from 0, a new file: what was released is never changed.
_STEPS: Final = (_FIRST, _DIGESTS, _LEDGER, _FOLDED)
VERSION: Final = len(_STEPS)
_DAMAGED: Final = ": the disk or somebody has damaged it: move it away, and `forkpolicy held restore` a backup"


def open_database(directory: Path) -> sqlite3.Connection:
    """The connection that writes, with its tables made where they are missing. Raises StoreError."""
    path = directory / NAME
    try:
        connection = _connected(path)
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version < VERSION:
            steps = "".join(_STEPS[version:])
            connection.executescript(f"BEGIN IMMEDIATE;{steps}PRAGMA user_version = {VERSION};COMMIT")
    except sqlite3.Error as error:
        raise StoreError(f"{path}: {error}{_DAMAGED if type(error) is sqlite3.DatabaseError else ''}") from error
    if version > VERSION:
        raise StoreError(
            f"{path}: is of version {version}, this release knows {VERSION}: install the release that wrote it"
        )
    return connection


def open_for_reading(directory: Path) -> sqlite3.Connection:
    """A connection for questions, in the process that writes. Raises StoreError."""
    try:
        connection = _connected(directory / NAME)
        connection.execute("PRAGMA query_only = ON")
    except sqlite3.Error as error:
        raise StoreError(f"{directory / NAME}: {error}") from error
    return connection


def _connected(path: Path) -> sqlite3.Connection:
    # Transactions are begun and ended by database.py alone. A connection belongs to one thread at a time.
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=_BUSY_MS / 1000)
    connection.row_factory = sqlite3.Row
    connection.create_function("fold_address", 1, fold_address, deterministic=True)
    connection.create_function("folded_domain_of", 1, _folded_domain_of, deterministic=True)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    return connection


def _folded_domain_of(address: str) -> str:
    return fold_domain(address.rpartition("@")[2])
