"""Databases of other servers, read by URL and from dumps of PostgreSQL and SQLite, are the same policy."""

from __future__ import annotations

import sqlite3
import subprocess
import sys

import pytest

from forkpolicy.files import Files
from forkpolicy.importing.draft import Draft
from forkpolicy.importing.formats import Inputs, load_format
from tests.postgresql_servers import Cluster, needs_postgresql

pytestmark = needs_postgresql

# Tables as the documentation of each server describes them, with rows of an administrator.
CLUEBRINGER = """
CREATE TABLE policies (ID SERIAL PRIMARY KEY, Name VARCHAR(255) NOT NULL, Priority SMALLINT NOT NULL, Description TEXT,
  Disabled SMALLINT NOT NULL DEFAULT '0');
CREATE TABLE policy_members (ID SERIAL PRIMARY KEY, PolicyID INTEGER REFERENCES policies(ID), Source TEXT,
  Destination TEXT, Comment VARCHAR(1024), Disabled SMALLINT NOT NULL DEFAULT '0');
CREATE TABLE policy_groups (ID SERIAL PRIMARY KEY, Name VARCHAR(255) UNIQUE, Disabled SMALLINT NOT NULL DEFAULT '0');
CREATE TABLE policy_group_members (ID SERIAL PRIMARY KEY, PolicyGroupID INTEGER, Member VARCHAR(255),
  Disabled SMALLINT NOT NULL DEFAULT '0', Comment VARCHAR(1024));
CREATE TABLE access_control (ID SERIAL PRIMARY KEY, PolicyID INTEGER, Name VARCHAR(255), Verdict VARCHAR(255),
  Data TEXT, Disabled SMALLINT NOT NULL DEFAULT '0');
CREATE TABLE quotas (ID SERIAL PRIMARY KEY, PolicyID INTEGER, Name VARCHAR(255), Track VARCHAR(255), Period BIGINT,
  Verdict VARCHAR(255), Data TEXT, LastQuota SMALLINT NOT NULL DEFAULT '0', Disabled SMALLINT NOT NULL DEFAULT '0');
CREATE TABLE quotas_limits (ID SERIAL PRIMARY KEY, QuotasID INTEGER, Type VARCHAR(255), CounterLimit BIGINT,
  Disabled SMALLINT NOT NULL DEFAULT '0');
CREATE TABLE quotas_tracking (QuotasLimitsID INTEGER, TrackKey VARCHAR(512), LastUpdate BIGINT, Counter NUMERIC(10,4));
INSERT INTO policies (Name, Priority, Description) VALUES ('Default', 0, 'It''s the default'), ('in', 10, E'a\\tb');
INSERT INTO policy_members (PolicyID, Source, Destination) VALUES (1, NULL, NULL), (2, '!%inside', '%domains');
INSERT INTO policy_groups (Name) VALUES ('inside'), ('domains');
INSERT INTO policy_group_members (PolicyGroupID, Member) VALUES (1, '10.0.0.0/8'), (2, '@example.com'),
  (2, '@example.org');
INSERT INTO access_control (PolicyID, Name, Verdict, Data) VALUES (2, 'no', 'REJECT', 'It''s; not "here"');
INSERT INTO quotas (PolicyID, Name, Track, Period, Verdict) VALUES (1, 'q', 'SenderIP:/24', 60, 'DEFER');
INSERT INTO quotas_limits (QuotasID, Type, CounterLimit) VALUES (1, 'MessageCount', 10);
INSERT INTO quotas_tracking VALUES (1, 'SenderIP:192.0.2.0/24', 1, 2.5);
"""
IREDAPD = """
CREATE TABLE users (id SERIAL PRIMARY KEY, priority INT NOT NULL, policy_id INT, email BYTEA NOT NULL,
  fullname VARCHAR(255));
CREATE TABLE mailaddr (id SERIAL PRIMARY KEY, priority INT NOT NULL, email BYTEA NOT NULL);
CREATE TABLE wblist (rid INT NOT NULL, sid INT NOT NULL, wb VARCHAR(10) NOT NULL);
CREATE TABLE throttle (id SERIAL PRIMARY KEY, account VARCHAR(255), kind VARCHAR(10) DEFAULT 'outbound',
  priority BIGINT, period BIGINT, msg_size BIGINT DEFAULT -1, max_msgs BIGINT DEFAULT -1, max_quota BIGINT DEFAULT -1);
CREATE TABLE greylisting (id SERIAL PRIMARY KEY, account VARCHAR(255), priority SMALLINT, sender VARCHAR(255),
  sender_priority SMALLINT, active SMALLINT);
INSERT INTO users (priority, email, fullname) VALUES (60, '@example.com', 'x'), (100, 'anna@example.com', NULL);
INSERT INTO mailaddr (priority, email) VALUES (60, '@spam.example'), (100, 'o''neil@spam.example');
INSERT INTO wblist VALUES (1, 1, 'B'), (2, 2, 'W');
INSERT INTO throttle (account, priority, period, max_msgs) VALUES ('@.', 0, 60, 10), ('anna@example.com', 100, 60, 50);
INSERT INTO greylisting (account, priority, sender, sender_priority, active) VALUES ('@.', 0, '@.', 0, 1);
"""
POLICYD = """
CREATE TABLE whitelist (_whitelist CHAR(46) NOT NULL, _description CHAR(60), _expire INT NOT NULL DEFAULT 0);
CREATE TABLE blacklist_helo (_helo CHAR(60) NOT NULL);
INSERT INTO whitelist VALUES ('192.0.2.1', '# ours', 0), ('10.%.%.%', '', 0);
INSERT INTO blacklist_helo VALUES ('%.local'), ('[127.0.0.1]');
"""
SCHEMAS = {"cluebringer": CLUEBRINGER, "iredapd": IREDAPD, "policyd": POLICYD}


@pytest.fixture(scope="module")
def cluster():
    """A server with the database of each format."""
    made = Cluster()
    for name, script in SCHEMAS.items():
        made.make(name, script)
    yield made
    made.stop()


def rules_of(form, *paths):
    """The policy without its comments, and the tables without their places."""
    draft = Draft()
    load_format(form).read(Inputs(tuple(map(str, paths)), Files()), draft)
    assert draft.rules
    policy = [line for line in draft.policy_text().splitlines() if not line.startswith("#")]
    tables = {
        name: [line.partition(" #")[0] for line in text.splitlines()] for name, text in draft.table_texts().items()
    }
    return policy, tables, [each.what for each in draft.left_out]


@pytest.mark.parametrize("form", SCHEMAS)
def test_a_url_and_every_dump_are_the_same_policy(form, cluster, tmp_path):
    """By URL, by a file with the URL, from COPY, from INSERT with and without columns."""
    pytest.importorskip("psycopg", reason="the extra `sql` is not installed")
    expected = rules_of(form, cluster.url(form))
    (tmp_path / "url").write_text(f"{cluster.url(form)}\n")
    assert rules_of(form, tmp_path / "url") == expected
    for number, options in enumerate(((), ("--inserts",), ("--column-inserts",), ("--inserts", "--rows-per-insert=2"))):
        path = tmp_path / f"dump{number}.sql"
        path.write_text(cluster.dump(form, *options))
        assert rules_of(form, path) == expected


@pytest.mark.parametrize("form", SCHEMAS)
def test_sqlite_and_its_dump_are_the_same_policy(form, cluster, tmp_path):
    """A file of SQLite, its URL, and what its own .dump writes."""
    pytest.importorskip("psycopg", reason="the extra `sql` is not installed")
    path = tmp_path / "copy.db"
    with sqlite3.connect(path) as database:
        for script in (SCHEMAS[form].replace("SERIAL PRIMARY KEY", "INTEGER PRIMARY KEY").replace("E'a\\tb'", "'a'"),):
            database.executescript(script)
        (tmp_path / "dump.sql").write_text("\n".join(database.iterdump()))
    expected = rules_of(form, cluster.url(form))
    assert rules_of(form, path) == expected
    assert rules_of(form, f"sqlite:///{path}") == expected
    assert rules_of(form, tmp_path / "dump.sql") == expected


def test_the_command_reads_a_url_and_shows_no_password(cluster):
    """`forkpolicy import cluebringer URL`, and an unknown database."""
    pytest.importorskip("psycopg", reason="the extra `sql` is not installed")
    program = [sys.executable, "-m", "forkpolicy", "import", "cluebringer"]
    good = cluster.url("cluebringer").replace("@/", ":s3cret@/")
    for url, status in ((good, 0), (good.replace("/cluebringer?", "/nothing?"), 78)):
        done = subprocess.run([*program, url], capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stderr
        assert "s3cret" not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
