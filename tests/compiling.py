"""Compile tables in tests: a settings file, a policy and sources in a directory, and the command itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from forkpolicy.compile.command import main
from forkpolicy.tables.reader import Table, open_table

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from forkpolicy.tables.format import Entry, Kind

PROGRAM = [sys.executable, "-m", "forkpolicy.compile.command"]


@dataclass
class Outcome:
    """What a compile said."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Compiler:
    """`forkpolicy-compile` in a directory of its own."""

    def __init__(self, directory: Path, capsys: pytest.CaptureFixture[str] | None = None) -> None:
        self.directory, self._capsys = directory, capsys
        self.tables = directory / "tables"
        self.settings = directory / "forkpolicy.toml"
        self.settings.write_text('policy = "policy.conf"\ntables = "tables"\n')

    def policy(self, *lines: str) -> None:
        (self.directory / "policy.conf").write_text("\n".join(lines) + "\n")

    def source(self, name: str, content: str | bytes) -> Path:
        path = self.directory / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def run(self, *arguments: str) -> Outcome:
        """In this process: fast."""
        assert self._capsys is not None
        status = main(["-c", str(self.settings), *arguments])
        captured = self._capsys.readouterr()
        return Outcome(status, captured.out, captured.err)

    def one(self, kind: str, content: str | bytes, *arguments: str) -> Outcome:
        """Compile one table `t` from one file `list`."""
        self.policy(f"table t {kind} list")
        self.source("list", content)
        return self.run(*arguments)

    def spawn(self, *arguments: str, **options: Any) -> subprocess.Popen[bytes]:
        """As a process of its own."""
        environment = {**os.environ, **options.pop("env", {})}
        return subprocess.Popen(
            [*PROGRAM, "-c", str(self.settings), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            **options,
        )

    def table_path(self, name: str = "t") -> Path:
        return self.tables / f"{name}.lmdb"

    def open(self, kind: Kind, name: str = "t", delimiter: str = "") -> Table:
        return open_table(str(self.table_path(name)), name, kind, delimiter=delimiter)

    def found(self, kind: Kind, *texts: str, name: str = "t", delimiter: str = "") -> list[Entry | None]:
        """What a compiled table says to each text."""
        table = self.open(kind, name, delimiter)
        try:
            raw = [table.find(text) for text in texts]
            return [table.entry(each) if each else None for each in raw]
        finally:
            table.close()

    def keys(self, kind: Kind, *texts: str, name: str = "t", delimiter: str = "") -> list[str | None]:
        """The keys of the entries that answer."""
        found = self.found(kind, *texts, name=name, delimiter=delimiter)
        return [entry.key if entry else None for entry in found]

    def files(self) -> set[str]:
        """Everything that is in the tables directory, but the lock of a killed compile and the lists of compiles."""
        return {path.name for path in self.tables.iterdir()} - {".compile.lock", ".failures", ".compiles"}
