"""Dumps of three databases, files of SQLite and databases by URL are the same rows, each with its place."""

from __future__ import annotations

import sqlite3
import time

import pytest

from forkpolicy.errors import ConfigError
from forkpolicy.files import Files
from forkpolicy.importing.draft import Draft
from forkpolicy.importing.formats import Inputs
from forkpolicy.importing.sql.database import read_database
from forkpolicy.importing.sql.dump import Dump

MYSQL = r"""-- MySQL dump 10.13  Distrib 5.5
/*!40101 SET @OLD = @@X */;
DROP TABLE IF EXISTS `people`;
CREATE TABLE `people` (
  `ID` bigint(20) unsigned NOT NULL AUTO_INCREMENT, -- its key
  `Name` varchar(255) NOT NULL DEFAULT 'a,b)',
  `Data` decimal(10,4),
  PRIMARY KEY (`ID`), KEY `n` (`Name`)
) ENGINE=InnoDB;
LOCK TABLES `people` WRITE;
INSERT INTO `people` VALUES (1,'it''s; \'one\'\n\\',1.5),(2,'',NULL),
(3,_binary 'c',-7);
INSERT INTO `others` VALUES ('x;y',"(");
DELIMITER ;;
CREATE TRIGGER t BEFORE INSERT ON people FOR EACH ROW BEGIN INSERT INTO people VALUES (9,'no',9); END ;;
DELIMITER ;
INSERT IGNORE INTO db.people (ID, Data, Name) VALUES (4, 0x41, "double \"x\"");
-- Dump completed
"""
PGSQL = r"""--
-- PostgreSQL database dump
--
SET standard_conforming_strings = on;
CREATE TABLE public.people (
    id bigint NOT NULL,
    name character varying(255) DEFAULT 'a'::character varying,
    data bytea,
    CONSTRAINT c CHECK ((id > 0))
);
COPY public.others (x) FROM stdin;
a;b'c
\.
COPY public.people (id, name, data) FROM stdin;
1	it's \\ a\ttab	\\x6162
2	\N	\N
\.
INSERT INTO public.people VALUES (3, 'back\slash'::text, '\x63');
INSERT INTO public.people (id, name) VALUES (4, E'a\nb');
--
-- PostgreSQL database dump complete
--
"""


def rows_of(text, *tables):
    dump = Dump("dump.sql", text, frozenset(tables or ("people",)))
    return [(tuple(row.values.values()), row.origin.line) for row in dump.rows()], dump.problems


def test_a_dump_of_mysql():
    """Rows of several statements, escapes, comments, quoted names; nothing of triggers and other tables."""
    rows, problems = rows_of(MYSQL)
    assert rows == [
        (("1", "it's; 'one'\n\\", "1.5"), 11),
        (("2", "", None), 11),
        (("3", "c", "-7"), 12),
        (("4", "A", 'double "x"'), 17),
    ]
    assert problems == []


def test_a_dump_of_postgresql():
    """COPY and INSERT, strings without escapes, bytes as text."""
    rows, problems = rows_of(PGSQL)
    assert rows == [
        (("1", "it's \\ a\ttab", "ab"), 15),
        (("2", None, None), 16),
        (("3", "back\\slash", "c"), 18),
        (("4", "a\nb"), 19),
    ]
    assert problems == []


@pytest.mark.parametrize(
    ("text", "last"), [(MYSQL, "-- Dump completed"), (PGSQL, "-- PostgreSQL database dump complete")]
)
def test_a_dump_that_was_cut_is_reported_wherever_it_was(text, last):
    """Also between two statements, where every row that is there is whole."""
    cuts = range(text.index("people"), text.index(last))
    assert [at for at in cuts if not rows_of(text[:at])[1]] == []


@pytest.mark.parametrize("text", ["INSERT INTO people (id) VALUES (1)", "COPY people (id) FROM stdin;\n1\n"])
def test_a_last_statement_that_does_not_end_is_reported(text):
    """Where nothing says who wrote the dump, its last statement must end; the rows are carried over."""
    rows, problems = rows_of(text)
    assert len(rows) == 1
    assert [problem.reason for problem in problems] == [
        "its last statement does not end: the dump was cut, make it again"
    ]


def test_a_column_may_have_the_name_of_a_keyword():
    """quotas of cluebringer has a column Period, which pg_dump does not quote."""
    text = "CREATE TABLE people (id int, period bigint, PRIMARY KEY (id));\nINSERT INTO people VALUES (1, 60);\n"
    assert rows_of(text) == ([(("1", "60"), 2)], [])


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("INSERT INTO people VALUES (1);", "its columns are in neither"),
        ("INSERT INTO people (id) VALUES (1, 2);", "2 values for 1 columns"),
        ("INSERT INTO people (id) VALUES (NOW());", "not a literal: NOW()"),
        ("INSERT INTO people (id) SELECT 1;", "no VALUES"),
        ("UPDATE people SET id = 2;", "changes rows"),
        ("DELETE FROM people;", "changes rows"),
        ("INSERT INTO people (id) VALUES ('a", "does not end"),
        ("/* people", "does not end"),
        ("COPY people (a, b) FROM stdin;\n1\n\\.", "1 values for 2 columns"),
    ],
)
def test_what_is_not_understood_is_said_with_its_line(statement, reason):
    """What is not understood is said with its line, and the rest is read."""
    rows, problems = rows_of(f"\n{statement}\nINSERT INTO people (id) VALUES (7);\n")
    assert len(problems) == 1
    assert reason in problems[0].reason
    assert problems[0].origin.line in (2, 3)
    assert rows == ([] if "not end" in reason else [(("7",), statement.count("\n") + 3)])


@pytest.mark.parametrize(
    "piece", ["'", '"', "`", "/*", "'\\", "(", ",(", "INSERT INTO people (", "'a'", "--", "COPY people"]
)
def test_a_dump_is_read_in_linear_time(piece):
    """Half a megabyte of the same piece takes no longer than a second or two."""
    began = time.process_time()
    rows_of(piece * (500_000 // len(piece)))
    rows_of("CREATE TABLE people (a int);\nINSERT INTO people VALUES " + piece * (500_000 // len(piece)))
    assert time.process_time() - began < 10


def test_a_file_of_sqlite_and_a_url_are_the_same_rows(tmp_path):
    """A file, its URL, and a file that has the URL."""
    pytest.importorskip("sqlalchemy", reason="the extra `sql` is not installed")
    path = tmp_path / "people.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE People (ID integer primary key, Name blob)")
        database.execute("INSERT INTO People VALUES (7, 'a'), (2, x'62'), (3, NULL)")
    (tmp_path / "url").write_text(f"# where it is\nsqlite:///{path}\n")
    found = []
    for given in (str(path), f"sqlite:///{path}", str(tmp_path / "url")):
        database = read_database(Inputs((given,), Files()), Draft(), ["people"])
        found.append([tuple(row.values.values()) for row in database.rows("people")])
    assert found == [[("2", "b"), ("3", None), ("7", "a")]] * 3
    assert str(database.rows("people")[0].origin).endswith("people.db People 2")


def test_a_driver_that_is_missing_is_named():
    """What to do about a driver that is not installed is said, and not what Python calls it."""
    pytest.importorskip("sqlalchemy", reason="the extra `sql` is not installed")
    with pytest.raises(ConfigError, match=r"the driver \w+ of its URL is not installed .* mysql\+pymysql://"):
        read_database(Inputs(("oracle://u:s3cret@localhost/x",), Files()), Draft(), ["people"])


def test_no_password_is_shown(tmp_path):
    """Where a database cannot be reached, its password is in no message."""
    pytest.importorskip("psycopg", reason="the extra `sql` is not installed")
    (tmp_path / "url").write_text("postgresql://mail:s3cret@127.0.0.1:1/policyd\n")
    with pytest.raises(ConfigError) as caught:
        read_database(Inputs((str(tmp_path / "url"),), Files()), Draft(), ["people"])
    assert "the database says" in str(caught.value)
    assert "s3cret" not in str(caught.value)
