"""Debian's slapd, started by a test on loopback and on a UNIX socket, and ended by it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from urllib.parse import quote

import pytest

from loadtest.servers.ports import free_port

PROGRAM = shutil.which("slapd", path=f"{os.environ.get('PATH', '')}:/usr/sbin") or ""
needs_slapd = pytest.mark.skipif(not PROGRAM, reason="slapd is not installed")

BASE = "dc=example,dc=com"
ADMIN = f"cn=admin,{BASE}"
PASSWORD = "s3cret"

_SETTINGS = """\
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
TLSCACertificateFile {0}/authority.pem
TLSCertificateFile {0}/certificate.pem
TLSCertificateKeyFile {0}/key.pem
{1}
database mdb
suffix {2}
directory {0}/data
maxsize 67108864
rootdn {3}
rootpw {4}
access to attrs=userPassword by anonymous auth by * none
access to * by * read
"""


def person(uid: str, *mails: str, **others: str) -> str:
    """An entry of LDIF."""
    lines = [f"dn: uid={uid},ou=people,{BASE}", "objectClass: inetOrgPerson", f"uid: {uid}", "cn: A", "sn: B"]
    lines += [f"mail: {each}" for each in mails] + [f"{name}: {value}" for name, value in others.items()]
    return "\n".join(lines) + "\n"


def unit(name: str) -> str:
    return f"dn: ou={name},{BASE}\nobjectClass: organizationalUnit\nou: {name}\n"


def reference(name: str, url: str) -> str:
    """An entry that says that others are elsewhere."""
    return f"dn: ou={name},{BASE}\nobjectClass: referral\nobjectClass: extensibleObject\nou: {name}\nref: {url}\n"


class Slapd:
    """One server with some entries. It is ready when this returns."""

    def __init__(self, directory: Path, authority, entries: list[str], *options: str, names=("localhost",)):
        self.directory = directory
        (directory / "data").mkdir(parents=True)
        self.authority = directory / "authority.pem"
        authority.cert_pem.write_to_path(self.authority)
        issued = authority.issue_cert(*names)
        issued.private_key_pem.write_to_path(directory / "key.pem")
        (directory / "certificate.pem").write_bytes(b"".join(each.bytes() for each in issued.cert_chain_pems))
        settings = directory / "slapd.conf"
        settings.write_text(_SETTINGS.format(directory, "\n".join(options), BASE, ADMIN, PASSWORD))
        root = f"dn: {BASE}\nobjectClass: dcObject\nobjectClass: organization\no: x\ndc: example\n"
        ldif = "\n".join([root, unit("people"), *entries])
        added = Path(PROGRAM).with_name("slapadd")
        subprocess.run([added, "-q", "-f", settings], input=ldif, text=True, check=True, capture_output=True)
        ports = [free_port(), free_port()]
        self.plain, self.tls = (f"ldap://localhost:{ports[0]}", f"ldaps://localhost:{ports[1]}")
        self.socket = f"ldapi://{quote(str(directory / 'socket'), safe='')}"
        urls = f"{self.plain} {self.tls} {self.socket}"
        self._words = [PROGRAM, "-d", "0", "-f", settings, "-h", urls]
        self._ports = ports
        self.start()

    def start(self) -> None:
        """Again, after `stop`."""
        self.log = (self.directory / "log").open("w")
        self.process = subprocess.Popen(self._words, stdout=self.log, stderr=subprocess.STDOUT)
        self._wait(self._ports)

    def _wait(self, ports: list[int]) -> None:
        """Listening is the last thing that it does before it serves."""
        for port in ports:
            until_s = time.monotonic() + 30
            while self.process.poll() is None and time.monotonic() < until_s:
                with socket.socket() as probe:
                    if not probe.connect_ex(("127.0.0.1", port)):
                        break
        assert self.process.poll() is None, (self.directory / "log").read_text()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.log.close()
