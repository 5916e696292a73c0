"""How an engine is reached: its URL, its passwords, its certificates, and how long it may take.

Passwords stand in files, and are read whenever somebody connects: so a changed one needs no reload. Certificates are
always checked, and so is the name in them.

`Access` is frozen: two that are equal lead to the same engine in the same way. Raises StateError in words.
"""

from __future__ import annotations

import importlib.util
import os
import ssl
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from forkpolicy.errors import StateError
from forkpolicy.redis_urls import RedisUrl, parse_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkpolicy.state_settings import StateSettings

PACKAGES: Final = ("redis", "hiredis")
PIP_LINE: Final = "pip install 'forkpolicy[redis]'"


@dataclass(frozen=True, slots=True)
class Access:
    """The settings of an engine, checked. Paths are empty where nothing is named."""

    url: RedisUrl
    prefix: str = "forkpolicy"
    timeout_s: float = 0.5
    user: str = ""
    password_file: str = ""
    sentinel_password_file: str = ""
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""

    @classmethod
    def from_settings(cls, state: StateSettings) -> Self:
        """Those of `[state]`, whose url is that of an engine."""
        url = parse_url(state.url)
        files = {each.name: getattr(state, each.name) for each in fields(cls) if each.name.endswith("_file")}
        return cls(url, state.prefix, state.timeout, url.user or state.user, **files)

    def password(self) -> str:
        """The engine's password; empty where it needs none. Raises StateError."""
        return read_secret("password_file", self.password_file) if self.password_file else self.url.password

    def sentinel_password(self) -> str:
        """That of its sentinels; empty where they need none. Raises StateError."""
        return read_secret("sentinel_password_file", self.sentinel_password_file) if self.sentinel_password_file else ""

    def tls_context(self) -> ssl.SSLContext | None:
        """What connections are wrapped with; None where they are not. Raises StateError."""
        if not self.url.is_tls:
            return None
        setting, path = "ca_file", self.ca_file
        try:
            context = ssl.create_default_context(cafile=self.ca_file or None)
            setting, path = "cert_file", self.cert_file
            if self.cert_file:
                context.load_cert_chain(self.cert_file, self.key_file)
        except (OSError, ValueError) as error:
            raise StateError(f"{setting}: {path}: {_why(error)}") from error
        return context

    def mistakes(self) -> Iterator[tuple[str, str]]:
        """What is wrong with the files, as this process sees them: the setting, and a message that begins with it."""
        for read in (self.password, self.sentinel_password, self.tls_context):
            try:
                read()
            except StateError as error:
                message = str(error)
                yield message.partition(":")[0], message


def read_secret(setting: str, path: str) -> str:
    """The first line of a file. Raises StateError that names the setting and the path."""
    try:
        first = Path(path).read_text("utf-8").partition("\n")[0].rstrip("\r")
    except (OSError, ValueError) as error:
        raise StateError(f"{setting}: {path}: {_why(error)}") from error
    if not first:
        raise StateError(f"{setting}: {path}: is empty: expected a password in its first line")
    return first


def missing_packages() -> str:
    """What is missing to talk to an engine, in words; empty when nothing is."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    return f"an engine needs the packages {' and '.join(PACKAGES)}: {PIP_LINE}" if missing else ""


def _why(error: OSError | ValueError) -> str:
    """A reason in words, of files and of what the TLS library says of them."""
    if isinstance(error, UnicodeDecodeError):
        return "is not UTF-8: expected a password in its first line"
    if isinstance(error, ssl.SSLError):
        return f"cannot be used: {error.reason or error}: expected PEM"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return str(error)
