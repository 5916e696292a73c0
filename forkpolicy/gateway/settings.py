"""gateway.toml: the store of held mail, its release, the scanner, the digest. Opens nothing and resolves no name."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from forkpolicy.declared import TomlReader, decode, setting, shown
from forkpolicy.endpoints import host_mistake, port_mistake
from forkpolicy.errors import ConfigError
from forkpolicy.files import Files
from forkpolicy.settings import absolute
from forkpolicy.sizes import size_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_PATH: Final = "/etc/forkpolicy/gateway.toml"
# What held a mail (`held_cause`).
CAUSES: Final = ("policy", "spam", "virus")
# Of digests and of the pages of people whose mail is held.
LANGUAGES: Final = ("ca", "en", "es")
# The socket of each cause, in Postfix's private directory. The transport must have another name than any of them.
SOCKETS: Final = {cause: "store" if cause == "policy" else f"store-{cause}" for cause in CAUSES}
# What needs no quotes in a header.
_ADDRESS: Final = re.compile(r"[A-Za-z0-9._+-]+@[A-Za-z0-9.-]+")


def _size_mistake(value: object) -> str:
    try:
        size_bytes(str(value))
    except ValueError:
        return f'expected a size such as "64M", got {shown(value)}'
    return ""


def _server_mistake(text: str) -> str:
    host, colon, port = text.rpartition(":")
    if not colon:
        return f'expected HOST:PORT, got "{text}"'
    return host_mistake(host) or port_mistake(port)


def _address_mistake(text: str) -> str:
    return "" if _ADDRESS.fullmatch(text) else f'expected an address as in "gateway@example.com", got {shown(text)}'


def _url_mistake(text: str) -> str:
    try:
        parts = urlsplit(text)
        is_origin = bool(parts.hostname) and parts.path in ("", "/") and not (parts.query or parts.fragment)
        _ = parts.port
    except ValueError:
        is_origin = False
    if not is_origin or parts.scheme not in ("http", "https") or not text.isascii():
        return f'expected scheme, host and port alone, as in "https://mail.example.com", got {shown(text)}'
    return ""


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """`[store]`: where held mail is, and how much of it."""

    path: str = setting("/var/lib/forkpolicy-store", "Held mail and its database; best a file system alone.", path=True)
    sockets: str = setting(
        "/var/spool/postfix/private",
        "The directory of the sockets that Postfix delivers to by LMTP: `store`, `store-spam`, `store-virus`.",
        path=True,
    )
    api: str = setting(
        "/run/forkpolicy-store/api.sock", "The socket that `forkpolicy held` and the console ask.", path=True
    )
    api_group: str = setting("", "The group that may ask it; empty: its owner and root alone.", optional=True)
    policy: str = setting(
        "/run/forkpolicy/policy",
        "The socket of the policy server, which is asked for each recipient.",
        path=True,
    )
    policy_timeout_s: int = setting(10, "Seconds after which mail stays, as the policy did not answer.", ge=1, le=300)
    mail_log: str = setting(
        "/var/log/mail.log", "Postfix's log, which says what became of released mail; empty: none.", optional=True
    )
    keep_days: int = setting(30, "Days that held mail is kept.", ge=1, le=3650)
    keep_bytes: str = setting(
        "1G",
        "Bytes of held mail a recipient; the oldest expires first, that of the last day never.",
        value_mistake=_size_mistake,
    )
    min_free: str = setting("256M", "Free room below which mail is answered 452.", value_mistake=_size_mistake)
    max_message: str = setting("64M", "The largest message.", value_mistake=_size_mistake)


@dataclass(frozen=True, slots=True)
class ReleaseSettings:
    """`[release]`: where mail goes on."""

    smtp: str = setting(
        "127.0.0.1:10026", "Postfix's port behind scanner and policy, as HOST:PORT.", mistake=_server_mistake
    )
    helo: str = setting("localhost", "The name that the store gives there.")
    retry_s: int = setting(60, "Seconds after which a release that could not be sent is tried again.", ge=1, le=3600)


@dataclass(frozen=True, slots=True)
class ScannerSettings:
    """`[scanner]`: rspamd, for learning."""

    controller: str = setting(
        "", "The URL of rspamd's controller, as in `http://127.0.0.1:11334`; empty: nothing is learned.", optional=True
    )
    password_file: str = setting("", "The file with its enable_password.", path=True, optional=True)


@dataclass(frozen=True, slots=True)
class DigestSettings:
    """`[digest]`: mail about held mail."""

    sender: str = setting(
        "", "The address in From of a digest; empty: no digests are sent.", mistake=_address_mistake, optional=True
    )
    url: str = setting(
        "", "How people reach the console, as in `https://mail.example.com`.", mistake=_url_mistake, optional=True
    )
    language: str = setting("en", "For who has chosen none.", choices=LANGUAGES)
    link_days: int = setting(7, "Days that a link of a digest acts.", ge=1, le=30)


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """The file."""

    domains: str = setting("/etc/forkpolicy/domains", "The domains file: who is served, and how.", path=True)
    store: StoreSettings = field(default_factory=StoreSettings)
    release: ReleaseSettings = field(default_factory=ReleaseSettings)
    scanner: ScannerSettings = field(default_factory=ScannerSettings)
    digest: DigestSettings = field(default_factory=DigestSettings)


SECTIONS: Final[Mapping[str, type]] = {
    "store": StoreSettings,
    "release": ReleaseSettings,
    "scanner": ScannerSettings,
    "digest": DigestSettings,
}


def load_gateway_settings(path: str | Path = DEFAULT_PATH, files: Files | None = None) -> GatewaySettings:
    """Read and check gateway.toml; relative paths start at its directory. Raises ConfigError with all mistakes."""
    reader = TomlReader(str(path), decode(str(path), (files or Files()).read(path)))
    document = reader.document()
    base = Path(absolute(path)).parent
    settings = GatewaySettings(
        domains=str(base / _domains(reader, document)),
        store=_store(reader.section(StoreSettings, "store", document.get("store", {})), base),
        release=reader.section(ReleaseSettings, "release", document.get("release", {})),
        scanner=_scanner(reader.section(ScannerSettings, "scanner", document.get("scanner", {})), base),
        digest=reader.section(DigestSettings, "digest", document.get("digest", {})),
    )
    if reader.diagnostics:
        raise ConfigError(reader.diagnostics)
    return settings


def _domains(reader: TomlReader, document: dict[str, object]) -> str:
    top = {key: value for key, value in document.items() if key not in SECTIONS}
    values = reader.values(GatewaySettings, "", top, extra=tuple(SECTIONS))
    return str(values.get("domains", GatewaySettings().domains))


def _store(store: StoreSettings, base: Path) -> StoreSettings:
    return replace(
        store,
        path=_absolute(base, store.path),
        sockets=_absolute(base, store.sockets),
        api=_absolute(base, store.api),
        policy=_absolute(base, store.policy),
        mail_log=_absolute(base, store.mail_log),
    )


def _scanner(scanner: ScannerSettings, base: Path) -> ScannerSettings:
    return replace(scanner, password_file=_absolute(base, scanner.password_file))


def _absolute(base: Path, named: str) -> str:
    return str(base / named) if named else ""
