"""`forkpolicy.toml`: how the daemon runs. Every setting is declared here once: name, type, default, bounds, help.

`load_settings` returns a frozen `Settings` or raises ConfigError with every mistake of the file at once, each with
its line and the nearest known name. Paths come back absolute: relative ones are relative to the file that names them.
Knows nothing of the policy language and opens no socket.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from forkpolicy.addresses import unix_path
from forkpolicy.console_settings import CONSOLE_PATHS, ConsoleSettings, console_clashes
from forkpolicy.declared import Declared, TomlReader, Values, decode, default_of, setting
from forkpolicy.dns_settings import DnsSettings
from forkpolicy.endpoints import address_mistake, clashes, endpoint_mistake, mode_mistake, network_mistake, unix_mistake
from forkpolicy.errors import ConfigError, Diagnostic
from forkpolicy.files import Files
from forkpolicy.history_settings import HISTORY_PATHS, HistorySettings, history_clashes
from forkpolicy.state_settings import PATHS, StateSettings, state_clashes

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT_PATH = "/etc/forkpolicy/forkpolicy.toml"


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """`[server]`: sockets, processes and limits."""

    listen: tuple[str, ...] = setting(
        ["unix:/var/spool/postfix/private/policy"],
        "Where to listen: `unix:/path` or `inet:host:port`, several allowed.",
        mistake=endpoint_mistake,
    )
    allow: tuple[str, ...] = setting(
        ["127.0.0.0/8", "::1"],
        "Who may connect to `inet:` sockets: addresses and networks.",
        mistake=network_mistake,
    )
    socket_mode: str = setting("0660", "Mode of the socket file, octal.", mistake=mode_mistake)
    socket_user: str = setting("postfix", "Owner of the socket file, when started as root.")
    socket_group: str = setting("postfix", "Group of the socket file, when started as root.")
    user: str = setting("forkpolicy", "What the workers run as, when started as root.")
    group: str = setting("forkpolicy", "The workers' group, when started as root.")
    workers: int | str = setting(
        "auto",
        "Worker processes, or `auto`: one per core that this process may use.",
        ge=1,
        le=256,
        choices=("auto",),
    )
    hang_timeout: float = setting(
        10.0, "Seconds after which a worker whose loop does not turn is killed and replaced.", ge=2, le=3600
    )
    backlog: int = setting(1024, "Connections that may wait to be accepted; see net.core.somaxconn.", ge=1, le=65535)
    idle_timeout: float = setting(
        1200.0, "Seconds after which an idle connection ends; Postfix keeps one up to 1000 s.", ge=1, le=86400
    )
    max_connections: int = setting(
        4096,
        "Connections of one worker, half of them at most for one peer; more than that wait to be accepted.",
        ge=16,
        le=1000000,
    )
    max_request: int = setting(65536, "Bytes of a request; a longer one ends its connection.", ge=4096, le=16777216)
    max_requests: int = setting(
        0, "Requests after which a worker is replaced, its connections handed over; 0: never.", ge=0, le=10**15
    )
    max_memory: int = setting(
        0, "MiB of memory above which a worker is replaced, its connections handed over; 0: never.", ge=0, le=10**6
    )
    control: str = setting(
        "unix:/run/forkpolicy/control",
        "The control socket, for its owner and root alone.",
        mistake=unix_mistake,
    )
    control_group: str = setting(
        "",
        "A group whose members may ask it for status, reload, and state list, show, reset and forget; empty: none.",
        optional=True,
    )
    on_error: str = setting(
        "DEFER_IF_PERMIT 4.3.0 Policy temporarily unavailable",
        "The reply where a policy cannot be evaluated.",
    )


@dataclass(frozen=True, slots=True)
class MailSettings:
    """`[mail]`: what must be as in Postfix."""

    recipient_delimiter: str = setting(
        "",
        "As recipient_delimiter in Postfix: which characters begin an address extension.",
        pattern=r"[^@\s]*",
    )
    rewriting: str = setting(
        "postfix",
        "How a policy sees addresses: as Postfix will rewrite them (`postfix`), or as they came (`none`).",
        choices=("postfix", "none"),
    )
    myorigin: str = setting(
        "",
        "The domain that Postfix appends to an address without one; empty: unknown, and the address has none.",
        pattern=r"|[^\s@/$,\[\]]+",
        expected='a domain such as "example.com", without $names',
    )
    mydomain: str = setting(
        "-",
        "What Postfix appends to a domain without a dot; `-`: nothing (append_dot_mydomain = no).",
        pattern=r"[^\s@/$,\[\]]+",
        expected='a domain such as "example.com", or "-"',
    )
    local_domains: tuple[str, ...] = setting(
        [],
        "The domains in Postfix's mydestination, and what localhost is called there.",
        pattern=r"[^\s@/$,:\[\]]+",
        expected='domains such as "mail.example.com"',
    )
    local_addresses: tuple[str, ...] = setting(
        [],
        "This machine's addresses as in `user@[192.0.2.25]`, without 127.0.0.0/8 and ::1.",
        mistake=address_mistake,
    )


@dataclass(frozen=True, slots=True)
class LogSettings:
    """`[log]`: what is written where."""

    decisions: str = setting(
        "acted",
        "Which decisions are logged: all, those that acted (not DUNNO), none.",
        choices=("all", "acted", "none"),
    )
    format: str = setting("logfmt", "One line an event, as logfmt or JSON.", choices=("logfmt", "json"))
    target: str = setting("stderr", "`stderr`, `syslog`, or the path of a file (reopened on USR1).")


@dataclass(frozen=True, slots=True)
class MetricsSettings:
    """`[metrics]`: figures for Prometheus."""

    listen: str = setting(
        "",
        "Where Prometheus may fetch metrics: `inet:host:port` or `unix:/path`; empty: nowhere.",
        mistake=endpoint_mistake,
        optional=True,
    )


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole file. `path` is where it was read from."""

    policy: str = setting("policy.conf", "The policy: what is decided.", path=True)
    tables: str = setting("/var/lib/forkpolicy/tables", "Where forkpolicy-compile writes and workers read.", path=True)
    # Not `shadow` in a section [policy]: `policy` is a path above, and TOML has no key that is both.
    shadow: str = setting(
        "",
        "A second policy, evaluated next to the first; it never decides. Differences are counted and logged.",
        optional=True,
    )
    # For the same reason no section [tables] has it.
    watch_interfaces: bool = setting(
        False, "Compile tables with `interfaces:` sources again whenever addresses or routes of this machine change."
    )
    server: ServerSettings = field(default_factory=ServerSettings)
    mail: MailSettings = field(default_factory=MailSettings)
    log: LogSettings = field(default_factory=LogSettings)
    metrics: MetricsSettings = field(default_factory=MetricsSettings)
    state: StateSettings = field(default_factory=StateSettings)
    dns: DnsSettings = field(default_factory=DnsSettings)
    history: HistorySettings = field(default_factory=HistorySettings)
    console: ConsoleSettings = field(default_factory=ConsoleSettings)
    path: str = field(default="", metadata={"internal": True})


SECTIONS: dict[str, Declared] = {
    "server": ServerSettings,
    "mail": MailSettings,
    "log": LogSettings,
    "metrics": MetricsSettings,
    "state": StateSettings,
    "dns": DnsSettings,
    "history": HistorySettings,
    "console": ConsoleSettings,
}


def load_settings(path: str | Path, files: Files | None = None) -> Settings:
    """Read and check `forkpolicy.toml`. Raises ConfigError with all mistakes."""
    settings, diagnostics = read_settings(path, files)
    if diagnostics:
        raise ConfigError(diagnostics)
    return settings


def read_settings(path: str | Path, files: Files | None = None) -> tuple[Settings, list[Diagnostic]]:
    """The settings with every good value of the file, defaults for the rest, and the mistakes: for `check`, which
    goes on to the policy whatever is wrong here. Raises ConfigError only for a file that is not TOML at all.
    """
    reader = TomlReader(str(path), decode(str(path), (files or Files()).read(path)))
    document = reader.document()
    top = {key: value for key, value in document.items() if key not in SECTIONS}
    parts = {name: reader.section(kind, name, document.get(name, {})) for name, kind in SECTIONS.items()}
    values = reader.values(Settings, "", top, extra=tuple(SECTIONS))
    base = Path(absolute(path)).parent
    for name in ("policy", "tables", "shadow"):
        named = values.get(name, default_of(Settings, name))
        values[name] = str(base / named) if named else ""
    state: StateSettings = parts["state"]
    paths: Values = {name: str(base / named) for name in PATHS if (named := getattr(state, name))}
    parts["state"] = replace(state, **paths)
    history: HistorySettings = parts["history"]
    paths = {name: str(base / named) for name in HISTORY_PATHS if (named := getattr(history, name))}
    parts["history"] = replace(history, **paths)
    console: ConsoleSettings = parts["console"]
    paths = {name: str(base / named) for name in CONSOLE_PATHS if (named := getattr(console, name))}
    parts["console"] = replace(console, **paths)
    settings = Settings(**values, **parts, path=absolute(path))
    _refuse_clashes(reader, sockets_of(settings), base)
    for key, message, hint in state_clashes(settings.state):
        reader.report_at(reader.place(key, "state"), key, message, hint)
    for key, message, hint in history_clashes(settings.history):
        reader.report_at(reader.place(key, "history"), key, message, hint)
    for key, message, hint in console_clashes(settings.console):
        reader.report_at(reader.place(key, "console"), key, message, hint)
    return settings, reader.diagnostics


def _refuse_clashes(reader: TomlReader, sockets: list[tuple[str, str, str]], base: Path) -> None:
    """Report sockets that are one."""
    for earlier, later in clashes([endpoint for _, _, endpoint in sockets], base):
        section, name, text = sockets[later]
        other_section, other, other_text = sockets[earlier]
        message = f'{name}: "{text}" is the same socket as "{other_text}" of [{other_section}] {other}'
        # A default is not in the file.
        place = reader.place(name, section) or reader.place(other, other_section)
        reader.report_at(place, name, message, "name each socket once")


def sockets_of(settings: Settings) -> list[tuple[str, str, str]]:
    """Section, name and endpoint of everything that a server with these settings listens on."""
    metrics = settings.metrics.listen
    return [
        *(("server", "listen", each) for each in settings.server.listen),
        ("server", "control", settings.server.control),
        *([("metrics", "listen", metrics)] if metrics else []),
    ]


def own_sockets(settings: Settings) -> list[str]:
    """The same endpoints alone, paths from the root."""
    base = Path(settings.path).parent
    every = (endpoint for _, _, endpoint in sockets_of(settings))
    return [f"unix:{unix_path(each, base)}" if each.startswith("unix:") else each for each in every]


def absolute(path: str | Path) -> str:
    """A path from the root, also when the working directory has gone by the time it is used: no `..` leads through it.
    Raises ConfigError for a relative path where it has gone already.
    """
    relative = Path(path)
    if relative.is_absolute():
        return str(path)
    try:
        base = Path.cwd()
    except OSError as error:
        message = "is relative, and the working directory is gone: give the path from the root, or change the directory"
        raise ConfigError([Diagnostic(str(path), 0, 0, message)]) from error
    # The kernel's name of the working directory has no links, so these steps up are what it would do.
    while relative.parts and relative.parts[0] == "..":
        base, relative = base.parent, Path(*relative.parts[1:])
    return str(base / relative)


def diagnostic_at_setting(path: str, section: str, key: str, message: str, hint: str = "") -> Diagnostic:
    """A diagnostic at the line of a setting in the file as it is now; at the whole file where it has no such line."""
    try:
        text = Path(path).read_text("utf-8-sig")
    except (OSError, ValueError):
        text = ""
    reader = TomlReader(path, text)
    line, column = reader.place(key, section) or (0, 0)
    return reader.at(line, column, message, len(key), hint)


def declared() -> Iterator[tuple[str, str, object, str]]:
    """Every setting as (section, name, default, help): the documentation's test compares itself with it."""
    for section, kind in (("", Settings), *SECTIONS.items()):
        for each in fields(kind):
            if "help" in each.metadata:
                yield section, each.name, default_of(kind, each.name), str(each.metadata["help"])
