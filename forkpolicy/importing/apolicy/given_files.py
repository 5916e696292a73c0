"""Which of the given files is what: policy.conf, main.conf, files of values. Raises ConfigError with all that fail."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from forkpolicy.errors import ConfigError, Diagnostic
from forkpolicy.importing.apolicy.refused import Refused
from forkpolicy.importing.source import SourceFile, read_source

if TYPE_CHECKING:
    from forkpolicy.files import Files
    from forkpolicy.importing.formats import Inputs

_SECTION = re.compile(r"\s*\[[\w .-]+\]\s*")


@dataclass
class GivenFiles:
    """The files of one import. `policy` is the first; `unused` grows less as ACLs name files of values."""

    policy: SourceFile
    main: SourceFile | None
    values: list[SourceFile]
    reader: Files
    unused: list[SourceFile] = field(default_factory=list)

    def values_of(self, path: str) -> SourceFile:
        """The file that an ACL names: the given one of that name, else the one of that path. Raises Refused."""
        name = PurePosixPath(path).name
        found = [each for each in self.values if PurePosixPath(each.path).name == name]
        exact = [each for each in found if path.endswith(each.path.lstrip("./"))]
        if len(found) > 1 and len(exact) != 1:
            raise Refused(f"{' and '.join(each.path for each in found)} may both be {path}: give one")
        if found:
            source = exact[0] if len(exact) == 1 else found[0]
            self.unused = [each for each in self.unused if each is not source]
            return source
        try:
            return read_source(path, self.reader)
        except ConfigError as error:
            why = error.diagnostics[0].message
            raise Refused(f"{path} {why}", f"give the file behind policy.conf: {name}") from error


def open_given(inputs: Inputs) -> GivenFiles:
    """Read all of them."""
    sources: list[SourceFile] = []
    diagnostics: list[Diagnostic] = []
    for path in inputs.paths:
        try:
            sources.append(read_source(path, inputs.files))
        except ConfigError as error:
            diagnostics += error.diagnostics
    if diagnostics:
        raise ConfigError(diagnostics)
    policy, *others = sources
    main = next((each for each in others if is_main_conf(each)), None)
    values = [each for each in others if each is not main]
    return GivenFiles(policy, main, values, inputs.files, list(values))


def is_main_conf(source: SourceFile) -> bool:
    """Whether the first line that says something is a section, as in `[main]`."""
    said = next((line for line in source.lines if line.strip() and line.lstrip()[0] not in "#;"), "")
    return _SECTION.fullmatch(said) is not None
