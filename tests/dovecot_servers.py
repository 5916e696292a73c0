"""Debian's dovecot, started by a test as an IMAP server on loopback, and ended by it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from typing import TYPE_CHECKING

import pytest

from loadtest.servers.ports import free_port
from tests.process.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = shutil.which("dovecot", path=f"{os.environ.get('PATH', '')}:/usr/sbin") or ""
needs_dovecot = pytest.mark.skipif(not PROGRAM or os.geteuid() != 0, reason="dovecot is not installed, or not root")

_SETTINGS = """\
base_dir = {run}
state_dir = {0}/state
log_path = {0}/log
protocols = imap
listen = 127.0.0.1
mail_location = maildir:{0}/mail/%u
# It makes who was wrong wait, and then everybody from there.
auth_failure_delay = 0
auth_username_chars =
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
ssl = {ssl}
ssl_cert = <{0}/certificate.pem
ssl_key = <{0}/key.pem
auth_verbose = yes
auth_mechanisms = {mechanisms}
login_trusted_networks = {trusted}
disable_plaintext_auth = {secure}
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%u {0}/users
}}
userdb {{
  driver = static
  args = uid=65534 gid=65534 home={0}/mail/%u
}}
# Directories of tests are root's alone.
service auth {{
  user = root
}}
service stats {{
  user = root
}}
service imap-login {{
  inet_listener imap {{
    port = {plain}
  }}
  inet_listener imaps {{
    port = {tls}
  }}
}}
"""


class Dovecot:
    """One server whose mailboxes have these passwords, by address. It is ready when this returns."""

    def __init__(
        self,
        directory: Path,
        authority,
        passwords: dict[str, str],
        *,
        names=("localhost",),
        ssl="yes",
        trusted="",
        mechanisms="plain",
    ):
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        # A path of its sockets has 107 bytes at most.
        self._run = tempfile.mkdtemp(prefix="dovecot-")
        for each in ("state", "mail"):
            (directory / each).mkdir(exist_ok=True)
        self.authority = directory / "authority.pem"
        authority.cert_pem.write_to_path(self.authority)
        issued = authority.issue_cert(*names)
        issued.private_key_pem.write_to_path(directory / "key.pem")
        (directory / "certificate.pem").write_bytes(b"".join(each.bytes() for each in issued.cert_chain_pems))
        users = "".join(f"{name}:{{PLAIN}}{password}::::::\n" for name, password in passwords.items())
        (directory / "users").write_text(users, "utf-8")
        self.plain, self.tls = free_port(), free_port()
        self.log_path = directory / "log"
        self._settings = directory / "dovecot.conf"
        self._settings.write_text(
            _SETTINGS.format(
                directory,
                run=self._run,
                plain=self.plain,
                tls=self.tls,
                ssl=ssl,
                trusted=trusted,
                secure="no" if ssl == "no" else "yes",
                mechanisms=mechanisms,
            )
        )
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def log(self) -> str:
        return self.log_path.read_text("utf-8", "replace")

    def start(self) -> None:
        already = self.log if self.log_path.exists() else ""
        words = [PROGRAM, "-F", "-c", str(self._settings)]
        self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL)
        eventually(lambda: "starting up" in self.log.removeprefix(already) if self.log_path.exists() else False, 30)

    def stop(self) -> None:
        """End it, with its children: the master ends them."""
        if self.process:
            self.process.terminate()
            self.process.wait(20)
            self.process = None

    def close(self) -> None:
        """End it for good."""
        self.stop()
        shutil.rmtree(self._run)
