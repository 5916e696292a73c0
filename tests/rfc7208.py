"""The test suite of RFC 7208: 203 cases with the zones that they need.

It comes in the source distribution of pyspf and has a licence of its own, so it is fetched into a cache outside of the
repository, once, by pip. Where that is not possible, tests that need it are skipped with the reason.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

VERSION = "2.0.14"
MEMBER = f"pyspf-{VERSION}/test/rfc7208-tests.yml"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "forkpolicy-tests"


@dataclass(frozen=True)
class Case:
    """One message, and the results that are right, the preferred one first."""

    name: str
    client: str
    sender: str
    helo: str
    results: tuple[str, ...]


@dataclass(frozen=True)
class Scenario:
    """Cases that share a zone: records by name and type; `silent` are the names and types that nobody answers."""

    name: str
    records: dict[tuple[str, str], list[object]]
    silent: set[tuple[str, str]]
    cases: tuple[Case, ...]


def scenarios() -> list[Scenario]:
    """All of them; skips where they cannot be had."""
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed: it reads the suite of RFC 7208")
    return [_scenario(document) for document in yaml.safe_load_all(_text())]


def _text() -> str:
    path = CACHE / f"rfc7208-tests-{VERSION}.yml"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        # Renamed when it is whole: several runs may fetch it at once.
        with tempfile.TemporaryDirectory(dir=path.parent) as directory:
            part = Path(directory) / "suite"
            part.write_bytes(_fetched(Path(directory)))
            part.rename(path)
    return path.read_text(encoding="utf-8")


def _fetched(directory: Path) -> bytes:
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:", "-d", str(directory)]
    try:
        subprocess.run([*pip, f"pyspf=={VERSION}"], check=True, capture_output=True, timeout=50)
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"the suite of RFC 7208 could not be fetched (pip download pyspf=={VERSION}): {error}")
    with tarfile.open(directory / f"pyspf-{VERSION}.tar.gz") as archive:
        member = archive.extractfile(MEMBER)
        assert member is not None
        return member.read()


def _scenario(document: dict) -> Scenario:
    records: dict[tuple[str, str], list[object]] = {}
    silent: set[tuple[str, str]] = set()
    for name, entries in document["zonedata"].items():
        _add(name.lower().rstrip("."), entries, records, silent)
    cases = tuple(_case(name, each) for name, each in document["tests"].items())
    return Scenario(document["description"], records, silent, cases)


def _case(name: str, each: dict) -> Case:
    results = each["result"]
    right = (results,) if isinstance(results, str) else tuple(results)
    return Case(name, each["host"], each["mailfrom"], each["helo"], right)


def _add(name: str, entries: list, records: dict, silent: set) -> None:
    """The records of one name. Those of type SPF stand for TXT where it has none; TIMEOUT: the rest is silent."""
    pairs = [pair for entry in entries if isinstance(entry, dict) for pair in entry.items()]
    own_text = any(rrtype == "TXT" for rrtype, _ in pairs)
    for rrtype, value in pairs:
        if value == "TIMEOUT":
            silent.add((name, rrtype))
        elif rrtype == "SPF":
            if not own_text:
                records.setdefault((name, "TXT"), []).append(_value("TXT", value))
        elif value != "NONE":
            records.setdefault((name, rrtype), []).append(_value(rrtype, value))
    if "TIMEOUT" in entries:
        silent |= {(name, rrtype) for rrtype in ("A", "AAAA", "MX", "PTR", "TXT") if (name, rrtype) not in records}


def _value(rrtype: str, value: object) -> object:
    if rrtype == "TXT":
        strings = [value] if isinstance(value, str) else value
        return "".join(strings).encode()
    return tuple(value) if isinstance(value, list) else value
