"""The commands that follow a draft: those that compile it, start the server, let Postfix ask, and undo that.

Each is one line for a shell, and each may be run again. Looks at the drop-ins of the socket's unit; writes nothing.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from forkpolicy.commands.init.settings_text import group_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkpolicy.commands.init.place import Place
    from forkpolicy.commands.init.site import Site

_UNITS: Final = Path("/etc/systemd/system")
_PRIVATE: Final = Path("/var/spool/postfix/private")


@dataclass(frozen=True, slots=True)
class Steps:
    """What is left to do. `shrinks`: the draft's tables have less than half of what those in use have."""

    site: Site
    place: Place
    shrinks: bool

    @property
    def _unit(self) -> str:
        return f"forkpolicy@{self.place.instance}" if self.place.instance else "forkpolicy"

    @property
    def _drop_in(self) -> Path:
        return _UNITS / f"{self._unit}.socket.d" / "listen.conf"

    def start_commands(self) -> Iterator[str]:
        """What compiles, checks and starts it; a server that runs already takes the draft over."""
        option, units = self.place.option, f"{self._unit}.socket {self._unit}.service"
        if self.shrinks:
            yield "# --allow-shrink: the tables in use, such as the sample's, have more than twice as many entries"
        yield f"forkpolicy-compile{option}{' --allow-shrink' if self.shrinks else ''} && forkpolicy check{option}"
        if self.needs_drop_in():
            yield f"# systemd binds the socket, and its unit names another one than {self.site.socket_path}"
            yield f"mkdir -p {shlex.quote(str(self._drop_in.parent))}"
            yield f"printf '%s\\n' {shlex.join(self._drop_in_lines())} > {shlex.quote(str(self._drop_in))}"
            yield f"systemctl daemon-reload && systemctl stop {self._unit}.service {self._unit}.socket"
        yield f"systemctl enable --now {units} && forkpolicy reload{option}"
        yield f"forkpolicy status{option}"

    def needs_drop_in(self) -> bool:
        """Whether the socket's unit listens elsewhere, by its name and its drop-ins."""
        path = self.site.socket_path
        if path == _PRIVATE / (f"policy-{self.place.instance}" if self.place.instance else "policy"):
            return False
        try:
            texts = [each.read_text(errors="replace") for each in self._drop_in.parent.glob("*.conf")]
        except OSError:
            return True
        return not any(line.strip() == f"ListenStream={path}" for text in texts for line in text.splitlines())

    def _drop_in_lines(self) -> list[str]:
        directory, owner = self.site.socket_path.parent, self.site.parameters["mail_owner"]
        condition = "ConditionPathIsDirectory="
        unit = [] if directory == _PRIVATE else ["[Unit]", condition, f"{condition}{directory}"]
        user = [] if owner == "postfix" else [f"SocketUser={owner}", f"SocketGroup={group_of(owner)}"]
        return [*unit, "[Socket]", "ListenStream=", f"ListenStream={self.site.socket_path}", *user]

    def postfix_commands(self) -> Iterator[str]:
        """What lets Postfix ask, and what undoes it; nothing where it asks already."""
        site = self.site
        if not site.changes:
            return
        where = "" if site.is_default else f" -c {shlex.quote(str(site.directory))}"
        files = [str(site.directory / name) for name in sorted({each.file for each in site.changes})]
        for file in files:
            yield _copy(file, f"{file}.before-forkpolicy")
        for each in site.changes:
            yield each.command(where)
        yield f"postfix{where} check && postfix{where} reload"
        back = " && ".join(_copy(f"{file}.before-forkpolicy", file) for file in files)
        yield f"# to undo it: {back} && postfix{where} reload"


def _copy(source: str, target: str) -> str:
    return shlex.join(["cp", "-p", source, target])
