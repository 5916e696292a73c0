"""A whole gateway on loopback, below one directory: Postfix, rspamd, policy server, store, and a backend Postfix.

The configuration of Postfix and rspamd is that of `forkpolicy gateway setup`, with other ports and paths. The backend
delivers to Maildirs. Each part can be stopped and started again. Needs root. Raises SetupError.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from forkpolicy.gateway.domains import Domain
from forkpolicy.gateway.setup.place import GatewayPlace
from forkpolicy.gateway.setup.policy_text import DOMAINS_TABLE, POLICY_FILE, policy_files
from forkpolicy.gateway.setup.postfix_text import (
    header_checks,
    main_parameters,
    master_services,
    postfix_files,
)
from forkpolicy.gateway.setup.rspamd_text import rspamd_files
from loadtest.errors import SetupError
from loadtest.servers.ports import free_port
from loadtest.servers.postfix import PrivatePostfix
from loadtest.servers.rspamd import PrivateRspamd
from loadtest.servers.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

USERS: Final = ("alice", "bob", "carol", "dora")
DOMAINS: Final = ("example.com", "example.net")
PEOPLE: Final = tuple(f"{user}@{domain}" for domain in DOMAINS for user in USERS)
FRIEND: Final = "friend.example.org"
_NOBODY: Final = pwd.getpwnam("nobody")
_START_S: Final = 30.0
_LOOK_S: Final = 0.02


class Backend:
    """The mail server behind the gateway: a Postfix that knows some people and delivers to Maildirs."""

    def __init__(self, base: Path, people: Iterable[str] = PEOPLE) -> None:
        self.mailboxes = base / "mailboxes"
        self.mailboxes.mkdir(parents=True)
        self.mailboxes.chmod(0o777)
        known = base / "known"
        main = {
            "relay_domains": "",
            "relay_transport": "error:nothing is relayed here",
            "virtual_mailbox_domains": " ".join(DOMAINS),
            "virtual_mailbox_maps": f"texthash:{known}",
            "virtual_mailbox_base": str(self.mailboxes),
            "virtual_uid_maps": f"static:{_NOBODY.pw_uid}",
            "virtual_gid_maps": f"static:{_NOBODY.pw_gid}",
            "smtpd_recipient_restrictions": "permit_mynetworks, reject",
            "unknown_virtual_mailbox_reject_code": "550",
            "message_size_limit": "0",
            "virtual_mailbox_limit": "0",
        }
        known.write_text("".join(f"{each}  {'/'.join(reversed(each.split('@')))}/\n" for each in people))
        past = time.time() - 60
        os.utime(known, (past, past))
        self.postfix = PrivatePostfix(base / "postfix", main=main, services="virtual unix - n n - - virtual\n")

    def mails(self, user: str, domain: str = "example.com") -> list[bytes]:
        """What was delivered to a user."""
        return [path.read_bytes() for path in sorted((self.mailboxes / domain / user / "new").glob("*"))]

    def count(self, user: str, domain: str = "example.com") -> int:
        """How many mails were delivered to a user."""
        return sum(1 for _ in (self.mailboxes / domain / user / "new").glob("*"))


class Store:
    """`forkpolicy held serve`. Use as a context manager."""

    def __init__(self, settings: Path) -> None:
        self.settings, self.log = settings, settings.with_name("store.log")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the process that runs."""
        assert self._process
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """Whether it was started, and is there no more."""
        return self._process is not None and self._process.poll() is not None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def start(self) -> None:
        """Start it, and wait until it takes mail."""
        # A file: a pipe that nobody reads would stop the store when it is full.
        with self.log.open("ab") as log:
            before = log.tell()
            self._process = subprocess.Popen(self._command("serve"), stderr=log)
        deadline = time.monotonic() + _START_S
        while b"takes mail" not in (said := self.log.read_bytes()[before:]):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.end(signal.SIGKILL)
                raise SetupError(f"the store did not start: {said.decode(errors='replace')}")
            select.select([], [], [], _LOOK_S)

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End it by a signal."""
        if self._process:
            self._process.send_signal(number)
            self._process.wait()
        self._process = None

    def ask(self, *words: str) -> subprocess.CompletedProcess[str]:
        """`forkpolicy held WORDS`."""
        return subprocess.run(self._command(*words), capture_output=True, text=True, timeout=60, check=False)

    @property
    def api(self) -> str:
        """The socket that it answers at."""
        return str(self.settings.parent / "api.sock")

    def _command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "forkpolicy", "held", "-c", str(self.settings), *words]


class GatewaySite:
    """All of it. Use as a context manager. `database`: rspamd's, kept between runs. `redis`: the socket of its Redis.
    `aliases`: virtual(5), texts by address. `people`: whom the backend knows. `rules`: more of the policy.
    `asks_names`: as PrivateRspamd has it.
    """

    def __init__(
        self,
        base: Path,
        database: Path,
        redis: str = "",
        aliases: Mapping[str, str] | None = None,
        *,
        people: Iterable[str] = PEOPLE,
        rules: str = "",
        workers: int = 1,
        asks_names: bool = False,
    ) -> None:
        ports = {name: free_port() for name in ("release", "milter", "controller")}
        self.base, self.lists = base, base / "console" / "tables"
        etc = base / "gateway" / "etc"
        self.place = GatewayPlace(
            postfix=str(etc),
            forkpolicy=str(base / "forkpolicy"),
            queue=str(base / "gateway" / "queue"),
            store=str(base / "held"),
            console_tables=str(self.lists),
            mail_log=str(base / "gateway" / "maillog"),
            **{name: f"127.0.0.1:{port}" for name, port in ports.items()},
        )
        self.backend = Backend(base / "backend", people)
        relay = f"relay:[127.0.0.1]:{self.backend.postfix.port}"
        self.domains = [Domain(name, relay) for name in DOMAINS]
        self.postfix = self._postfix(base / "gateway", aliases or {})
        self.policy = self._policy(rules, workers)
        self.rspamd = PrivateRspamd(
            base / "rspamd",
            database,
            milter=ports["milter"],
            controller=ports["controller"],
            files=rspamd_files(self.domains, self.place),
            redis=redis,
            # Mail of its clients is vouched for by SPF.
            texts={FRIEND: "v=spf1 ip4:203.0.113.0/24 -all"},
            asks_names=asks_names,
        )
        self.store = Store(self._settings())
        self._started = contextlib.ExitStack()

    def _postfix(self, base: Path, aliases: Mapping[str, str]) -> PrivatePostfix:
        services = "".join(f"{line}\n" for line in master_services(self.place).values())
        services += "relay unix - - n - - smtp\nverify unix - - n - 1 verify\n"
        main = {
            "relay_transport": "relay:",
            "virtual_alias_maps": f"inline:{{{', '.join(f'{{{name} = {to}}}' for name, to in aliases.items())}}}"
            if aliases
            else "",
            "mynetworks": "127.0.0.0/8",
            "smtpd_authorized_xclient_hosts": "127.0.0.0/8",
            **main_parameters(self.domains, self.place),
            "header_checks": header_checks("", self.place),
        }
        postfix = PrivatePostfix(base, main=main, services=services)
        for name, text in postfix_files(self.domains).items():
            path = postfix.etc / name
            path.write_text(text)
            past = time.time() - 60
            os.utime(path, (past, past))
        return postfix

    def _policy(self, rules: str, workers: int) -> Server:
        self.lists.mkdir(parents=True)
        for name in ("user-welcome", "user-block"):
            (self.lists / name).write_text("")
        files = policy_files(self.domains, self.place)
        directory = Path(self.place.forkpolicy)
        (directory / "tables").mkdir(parents=True)
        # Here every client comes from loopback, and says by XCLIENT who it would be.
        text = files[POLICY_FILE].replace("interfaces: postconf:mynetworks", "tables/local-networks") + rules
        sources = {DOMAINS_TABLE: files[DOMAINS_TABLE], "tables/local-networks": "127.0.0.0/8\n"}
        socket_path = Path(self.place.queue) / self.place.policy_socket
        return Server(directory, text, socket_path=socket_path, sources=sources, workers=workers)

    def _settings(self) -> Path:
        path = self.base / "gateway.toml"
        domains = Path(self.place.domains)
        domains.write_text("".join(f"{each.name} {each.relay}\n" for each in self.domains))
        path.write_text(
            f'domains = "{domains}"\n'
            f'[store]\npath = "held"\nsockets = "{self.place.queue}/private"\napi = "api.sock"\nmin_free = "1M"\n'
            f'policy = "{self.place.queue}/{self.place.policy_socket}"\nmail_log = "{self.place.mail_log}"\n'
            f'[release]\nsmtp = "{self.place.release}"\nretry_s = 1\n'
            f'[scanner]\ncontroller = "http://{self.place.controller}"\n'
            '[digest]\nsender = "gateway@example.com"\nurl = "http://127.0.0.1:8025"\n'
        )
        return path

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            for each in (self.rspamd, self.backend.postfix, self.postfix, self.policy, self.store):
                stack.enter_context(each)
            self._started = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._started.close()
