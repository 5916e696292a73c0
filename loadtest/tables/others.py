"""The same questions to other look-ups: a dict, pytricia and py-radix where they are installed, Postfix's own maps."""

from __future__ import annotations

import importlib
import os
import resource
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

from forkpolicy.tables.keys import domain_keys
from loadtest.measure.calls import call_us
from loadtest.tables.lists import lines_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from loadtest.tables.lists import Sample

POSTMAP_PATIENCE_S = 60


def dict_us(sample: Sample) -> float | str:
    """Domains in a dict, asked for the name and each parent."""
    if sample.kind != "domain":
        return "-"
    entries = dict(lines_of(sample))
    return call_us(
        lambda name: next((entries[key] for key in domain_keys(name) if key in entries), None), sample.questions
    )


def trie_us(sample: Sample, module: str, make: Callable[[Any], Callable[[str], object]]) -> float | str:
    """Networks in a trie of another project."""
    if sample.kind != "cidr":
        return "-"
    try:
        return call_us(make(importlib.import_module(module)), sample.questions)
    except ImportError:
        return "not installed"


def pytricia_finder(sample: Sample) -> Callable[[Any], Callable[[str], object]]:
    """One trie a family, as pytricia wants it."""

    def make(pytricia: Any) -> Callable[[str], object]:
        tries = {False: pytricia.PyTricia(32), True: pytricia.PyTricia(128)}
        for key, value in lines_of(sample):
            tries[":" in key][key] = value
        return lambda text: tries[":" in text].get(text)

    return make


def radix_finder(sample: Sample) -> Callable[[Any], Callable[[str], object]]:
    """One tree for both families."""

    def make(radix: Any) -> Callable[[str], object]:
        tree = radix.Radix()
        for key, value in lines_of(sample):
            tree.add(key).data["value"] = value
        return tree.search_best  # type: ignore[no-any-return]

    return make


def postmap_us(sample: Sample, directory: Path) -> float | str:
    """Postfix's own look-up of the same keys: cidr as it is, domains as a map."""
    if sample.shape:
        return "-"
    postmap = shutil.which("postmap", path=f"{os.environ['PATH']}:/usr/sbin")
    if not postmap:
        return "not installed"
    (directory / "main.cf").write_text("compatibility_level = 3.6\n")
    (directory / "master.cf").touch()
    base = [postmap, "-c", str(directory)]
    path = directory / f"postfix-{sample.path.name}"
    with path.open("w") as file:
        file.writelines(f"{key} {value or 'x'}\n" for key, value in lines_of(sample))
    kind = "cidr" if sample.kind == "cidr" else "hash"
    questions = sample.questions[:100] if kind == "cidr" else sample.questions
    try:
        if kind != "cidr":
            subprocess.run([*base, f"{kind}:{path}"], check=True, capture_output=True, timeout=POSTMAP_PATIENCE_S)
        # The difference between many questions and one leaves out reading the table.
        many, one = (
            _postmap_cpu_s([*base, "-q", "-", f"{kind}:{path}"], asked) for asked in (questions, questions[:1])
        )
    except subprocess.TimeoutExpired:
        return f"> {POSTMAP_PATIENCE_S} s to load"
    finally:
        path.unlink()
        path.with_name(f"{path.name}.db").unlink(missing_ok=True)
    return (many - one) / (len(questions) - 1) * 1e6


def _postmap_cpu_s(command: list[str], questions: Iterable[str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        command, input="\n".join(questions).encode(), capture_output=True, timeout=POSTMAP_PATIENCE_S, check=False
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
