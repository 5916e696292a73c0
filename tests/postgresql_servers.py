"""PostgreSQL servers for tests: a private cluster on a UNIX socket in a directory, as a user who is not root."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

_INSTALLED = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
BIN = _INSTALLED[-1].parent if _INSTALLED else None
# PostgreSQL does not run as root.
OWNER = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name


def _has_owner():
    try:
        pwd.getpwnam(OWNER)
    except KeyError:
        return False
    return True


needs_postgresql = pytest.mark.skipif(
    BIN is None or not _has_owner(), reason="PostgreSQL is not installed, or root has no user to run it as"
)


class Cluster:
    """One server. It is ready when this returns; its socket needs a short path."""

    def __init__(self):
        self.directory = Path(tempfile.mkdtemp(prefix="fp-pg-"))
        shutil.chown(self.directory, OWNER)
        self._data = self.directory / "data"
        self.socket = self.directory / ".s.PGSQL.5432"
        self._run("initdb", "-D", self._data, "-A", "trust", "-U", OWNER, "-E", "UTF8", "--locale=C", "-N")
        self.start()

    def start(self):
        """Start it, again after `crash`."""
        options = f"-k {self.directory} -c listen_addresses= -c fsync=off"
        self._run("pg_ctl", "-D", self._data, "-w", "-t", "60", "-l", self.directory / "log", "-o", options, "start")

    def url(self, database):
        """The URL of a database, as SQLAlchemy takes it."""
        return f"postgresql://{OWNER}@/{database}?host={self.directory}"

    def make(self, database, script):
        """A new database with what a script makes in it."""
        self._run("createdb", "-h", self.directory, "-U", OWNER, database)
        self._run(
            "psql", "-h", self.directory, "-U", OWNER, "-qX", "-v", "ON_ERROR_STOP=1", "-d", database, script=script
        )

    def dump(self, database, *options):
        """What pg_dump writes."""
        return self._run("pg_dump", "-h", self.directory, "-U", OWNER, *options, database)

    def crash(self):
        """End it as a kill does; nothing that was committed is lost."""
        self._run("pg_ctl", "-D", self._data, "-w", "-m", "immediate", "stop")

    def stop(self):
        self.crash()
        shutil.rmtree(self.directory)

    def _run(self, program, *words, script=None):
        as_owner = {"user": OWNER, "group": pwd.getpwnam(OWNER).pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}
        done = subprocess.run(
            [str(BIN / program), *map(str, words)],
            input=script,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            cwd=self.directory,
            **as_owner,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout
