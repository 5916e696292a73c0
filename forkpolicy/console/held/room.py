"""The gateway as pages ask it: its settings, its domains, its store. Files are read again when they have changed.

Raises NotFound where the console has no gateway or there is no such mail, ConfigError, NotRunningError,
ForkpolicyError.
"""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, TypeVar

from forkpolicy.console.errors import NotFound
from forkpolicy.console.held.downloads import Downloads
from forkpolicy.console.held.grants import Grants
from forkpolicy.console.held.taking_apart import TakingApart
from forkpolicy.errors import ConfigError, Diagnostic, ForkpolicyError
from forkpolicy.gateway.client import TIMEOUT_S, RefusedError, ask, open_mail, read_mail
from forkpolicy.gateway.domains import parse_domains
from forkpolicy.gateway.settings import load_gateway_settings
from forkpolicy.gateway.store_messages import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from forkpolicy.gateway.client import OpenMail
    from forkpolicy.gateway.domains import Domain
    from forkpolicy.gateway.settings import GatewaySettings
    from forkpolicy.gateway.store_messages import Command, Scope

T = TypeVar("T")
_NONE = "This console shows no held mail: [console] gateway is empty."
_NO_SUCH = "There is no such mail."


class Gateway:
    """`path`: gateway.toml, or empty."""

    def __init__(self, path: str) -> None:
        self._path, self._lock = path, Lock()
        self.grants = Grants()
        self.taking_apart = TakingApart()
        self.downloads = Downloads()
        self._kept: dict[str, tuple[tuple[int, int, int], object]] = {}

    @property
    def is_on(self) -> bool:
        """Whether there is one."""
        return bool(self._path)

    def require(self) -> None:
        """Raises NotFound where there is none."""
        if not self._path:
            raise NotFound(_NONE)

    @property
    def settings(self) -> GatewaySettings:
        """Those of gateway.toml as it is now."""
        self.require()
        return self._read(self._path, load_gateway_settings)

    @property
    def domains(self) -> Mapping[str, Domain]:
        """The domains file as it is now, by name."""
        return self._read(self.settings.domains, _domains)

    def ask(self, command: Command, kind: type[T], timeout_s: float = TIMEOUT_S) -> T:
        """The store's reply of that kind."""
        path = self.settings.store.api
        reply = ask(path, command, timeout_s)
        if isinstance(reply, Refused):
            raise NotFound(_NO_SUCH) if reply.kind == "no_such_mail" else ForkpolicyError(f"{path}: {reply.error}")
        assert isinstance(reply, kind)
        return reply

    def read_mail(self, scope: Scope, held: int) -> bytes:
        """The bytes of a mail as they arrived."""
        with _not_found():
            return read_mail(self.settings.store.api, scope, held)

    def open_mail(self, scope: Scope, held: int) -> OpenMail:
        """The same, piece by piece. Close it."""
        with _not_found():
            return open_mail(self.settings.store.api, scope, held)

    def _read(self, path: str, read: Callable[[str], T]) -> T:
        try:
            found = Path(path).stat()
        except OSError as error:
            reason = (error.strerror or "").lower()
            raise ConfigError([Diagnostic(path, 0, 0, f"cannot be read: {reason}")]) from error
        version = (found.st_mtime_ns, found.st_ino, found.st_size)
        with self._lock:
            kept = self._kept.get(path)
            if kept is None or kept[0] != version:
                self._kept[path] = kept = (version, read(path))
            value: T = kept[1]  # type: ignore[assignment] # each path is read by one function
            return value


@contextmanager
def _not_found() -> Iterator[None]:
    """Raises NotFound for a mail that the store does not show."""
    try:
        yield
    except RefusedError as error:
        if error.kind == "no_such_mail":
            raise NotFound(_NO_SUCH) from error
        raise


def _domains(path: str) -> Mapping[str, Domain]:
    return {each.name: each for each in parse_domains(path, Path(path).read_text("utf-8", "replace"))}
