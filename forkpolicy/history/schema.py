"""The SQLite file of one day: its tables and indexes, and the names of files.

Texts stand once in a day: addresses, rules, hosts are numbers in the decisions. Indexes are of numbers, so that a
decision and its entries in all of them take less than its line. A row's number grows as time does.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

# Another one for each form that a program which reads the previous one cannot read.
VERSION: Final = 3
_DAY_S: Final = 86_400
DAY: Final = re.compile(r"(\d{4}-\d\d-\d\d)\.sqlite")
POSITIONS: Final = "ingest.sqlite"

# An index of all ids of a busy day is ten thousands of pages, and a random id belongs to any of them. In parts, each of
# so many decisions as these bits can number, only the last part changes; a search by id asks each part.
ID_PART_BITS: Final = 17
# For `str.format` with the name under which the day is attached, and the bits.
TABLES: Final = """\
CREATE TABLE {db}.meta (version INTEGER NOT NULL, raw_bytes INTEGER NOT NULL);
CREATE TABLE {db}.names (n INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE, domain INTEGER);
CREATE TABLE {db}.clients (n INTEGER PRIMARY KEY, address BLOB NOT NULL UNIQUE);
CREATE TABLE {db}.rules (
    n INTEGER PRIMARY KEY, line TEXT NOT NULL, verb TEXT NOT NULL, acls TEXT NOT NULL, UNIQUE (line, verb, acls));
CREATE TABLE {db}.sites (
    n INTEGER PRIMARY KEY, host TEXT NOT NULL, in_force TEXT NOT NULL, UNIQUE (host, in_force));
CREATE TABLE {db}.decisions (
    n INTEGER PRIMARY KEY, id TEXT NOT NULL, at_ms INTEGER NOT NULL, rule INTEGER NOT NULL, site INTEGER NOT NULL,
    client INTEGER, sender INTEGER, recipient INTEGER, login INTEGER, queue TEXT, instance TEXT,
    block INTEGER NOT NULL, line INTEGER NOT NULL, is_cut INTEGER NOT NULL, is_odd INTEGER NOT NULL);
CREATE TABLE {db}.recent (
    n INTEGER PRIMARY KEY, id TEXT NOT NULL, at_ms INTEGER NOT NULL, rule INTEGER NOT NULL, site INTEGER NOT NULL,
    client BLOB, sender TEXT, recipient TEXT, login TEXT, queue TEXT, instance TEXT,
    block INTEGER NOT NULL, line INTEGER NOT NULL, is_cut INTEGER NOT NULL, is_odd INTEGER NOT NULL);
CREATE TABLE {db}.versions (
    in_force TEXT, host TEXT, policy TEXT NOT NULL, tables TEXT NOT NULL, at_ms INTEGER NOT NULL,
    PRIMARY KEY (in_force, host)) WITHOUT ROWID;
CREATE TABLE {db}.gaps (at_ms INTEGER NOT NULL, decisions INTEGER NOT NULL, reason TEXT NOT NULL);
CREATE TABLE {db}.rollups (
    slot INTEGER, rule INTEGER, decisions INTEGER NOT NULL, PRIMARY KEY (slot, rule)) WITHOUT ROWID;
CREATE INDEX {db}.names_by_domain ON names (domain) WHERE domain IS NOT NULL;
CREATE INDEX {db}.by_id ON decisions (n >> {part_bits}, id);
CREATE INDEX {db}.by_client ON decisions (client);
CREATE INDEX {db}.by_sender ON decisions (sender);
CREATE INDEX {db}.by_recipient ON decisions (recipient);
CREATE INDEX {db}.by_rule ON decisions (rule);
CREATE INDEX {db}.by_odd ON decisions (is_odd) WHERE is_odd = 1;
CREATE INDEX {db}.by_login ON decisions (login) WHERE login IS NOT NULL;
CREATE INDEX {db}.by_queue ON decisions (queue) WHERE queue IS NOT NULL;
CREATE INDEX {db}.by_instance ON decisions (instance) WHERE instance IS NOT NULL;
"""


def day_of(at_ms: int) -> str:
    """The UTC day of a time."""
    return f"{datetime.fromtimestamp(at_ms // 1000, UTC):%Y-%m-%d}"


def day_path(directory: str, day: str) -> str:
    """The SQLite file of a day."""
    return f"{directory}/{day}.sqlite"


def raw_path(directory: str, day: str) -> str:
    """The compressed lines of a day."""
    return f"{directory}/{day}.lines"


def days_in(directory: str, now_s: float) -> list[str]:
    """The days that there are, the latest first; last those that a wrong clock has made. Raises OSError."""
    days = [found[1] for each in Path(directory).iterdir() if (found := DAY.fullmatch(each.name))]
    return sorted(days, key=lambda day: order_of(day, now_s), reverse=True)


def order_of(day: str, now_s: float) -> tuple[bool, str]:
    """The last one in this order is shown first."""
    return not is_of_the_future(day, now_s), day


def is_of_the_future(day: str, now_s: float) -> bool:
    """Whether no clock that is right can have made it; one that is some hours ahead is usual enough."""
    return day > day_of(int((now_s + _DAY_S) * 1000))
