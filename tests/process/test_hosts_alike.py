"""Three mail hosts, changed alike as docs/several-hosts.md has it: its scripts, word for word, through rsync and ssh.

Each host is a mount namespace with an /etc/forkpolicy, an sshd and a forkpolicy of its own.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from loadtest.servers.ports import free_port
from tests.process.conftest import FORGED
from tests.process.waiting import eventually

DOCS = Path(__file__).parent.parent.parent / "docs" / "several-hosts.md"
SSHD = shutil.which("sshd", path="/usr/sbin:/usr/bin")
ETC = Path("/etc/forkpolicy")
HOSTS = ("mx1", "mx2", "mx3")
# What a session gets: a login shell of root has no virtual environment.
PATH = f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin"
SETTINGS = """\
policy = "releases/RELEASE/policy.conf"
tables = "releases/RELEASE/compiled"
[server]
listen = ["unix:policy"]
socket_user = "root"
socket_group = "root"
user = "nobody"
group = "nogroup"
workers = 2
control = "unix:control"
[log]
target = "/etc/forkpolicy/log"
"""
POLICY = """\
table local_domains domain sources/local-domains
acl from_us sender table:local_domains
action prove_it REJECT {} as {{sender_domain}}
access from_us prove_it
"""

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not SSHD or not shutil.which("rsync") or not shutil.which("ssh"),
    reason="needs root, sshd, ssh and rsync (tests/servers.sh)",
)


def scripts():
    """The scripts of the section, in their order: make a release, send it, use it."""
    section = DOCS.read_text().split("\n## Change all hosts alike\n")[1].split("\n## ")[0]
    found = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    assert len(found) == 3
    return found


class MailHost:
    """A mount namespace with an sshd in it, and a forkpolicy that is started in it."""

    def __init__(self, name, site):
        self.etc, self.port = site.folder / name, free_port()
        self.etc.mkdir(mode=0o755)
        settings = site.folder / f"{name}.sshd"
        settings.write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {site.key}\nAuthorizedKeysFile {site.key}.pub\n"
            f"PidFile none\nStrictModes no\nUsePAM no\nPermitRootLogin yes\nSetEnv PATH={PATH}\n"
        )
        inside = f"mount --bind {self.etc} {ETC} && exec {SSHD} -D -e -f {settings}"
        self.log = (site.folder / f"{name}.sshd.log").open("w")
        self.sshd = subprocess.Popen(["unshare", "-m", "sh", "-c", inside], stderr=self.log)
        self.server = None

    def is_up(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def serve(self):
        command = [sys.executable, "-m", "forkpolicy", "serve", "-c", str(ETC / "forkpolicy.toml")]
        self.server = subprocess.Popen(["nsenter", "-t", str(self.sshd.pid), "-m", *command])

    def asked(self):
        """The reply to a forged mail."""
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(self.etc / "policy"))
            client.sendall(FORGED)
            return client.recv(1000)

    def stop(self):
        for process in filter(None, (self.server, self.sshd)):
            process.terminate()
            process.wait(20)
        self.log.close()


class Site:
    """The machine from which three hosts are managed."""

    def __init__(self, folder):
        self.folder, self.key = folder, folder / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key], check=True)
        self.directory = folder / "site"
        (self.directory / "sources").mkdir(parents=True)
        (self.directory / "sources" / "local-domains").write_text("example.com\n")
        (self.directory / "forkpolicy.toml").write_text(SETTINGS)
        (self.directory / "hosts").write_text("".join(f"{name} ssh {name}\n" for name in HOSTS))
        self.hosts = []
        # Programs call ssh by its name; this one knows where the three hosts are.
        (folder / "bin").mkdir()
        shim = folder / "bin" / "ssh"
        shim.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {folder}/config "$@"\n')
        shim.chmod(0o755)

    def start(self):
        for name in HOSTS:
            self.hosts.append(MailHost(name, self))
        (self.folder / "config").write_text(
            f"StrictHostKeyChecking no\nUserKnownHostsFile {self.folder}/known\n"
            f"LogLevel ERROR\nIdentityFile {self.key}\n"
            + "".join(
                f"Host {name}\nHostName 127.0.0.1\nPort {host.port}\nUser root\n"
                for name, host in zip(HOSTS, self.hosts, strict=True)
            )
        )
        for host in self.hosts:
            eventually(host.is_up)

    def write(self, text):
        (self.directory / "policy.conf").write_text(POLICY.format(text))

    def run(self, script):
        """One of the scripts, in the directory of the site."""
        environment = {**os.environ, "PATH": f"{self.folder}/bin:{PATH}"}
        return subprocess.run(
            ["sh", "-c", script],
            check=False,
            cwd=self.directory,
            env=environment,
            capture_output=True,
            text=True,
            timeout=100,
        )

    def stop(self):
        for host in self.hosts:
            host.stop()


@pytest.fixture
def site():
    """Three hosts with a first release, which serve it."""
    folder = Path(tempfile.mkdtemp(prefix="fp-site-"))
    folder.chmod(0o755)
    was_there = ETC.exists()
    ETC.mkdir(exist_ok=True)
    Path("/run/sshd").mkdir(exist_ok=True)
    site = Site(folder)
    try:
        site.start()
        site.write("first")
        for script in scripts()[:2]:
            done = site.run(script)
            assert done.returncode == 0, done.stdout + done.stderr
        for host in site.hosts:
            (host.etc / "next.toml").rename(host.etc / "forkpolicy.toml")
            host.serve()
        for host in site.hosts:
            eventually((host.etc / "policy").is_socket)
        yield site
    finally:
        site.stop()
        shutil.rmtree(folder)
        if not was_there:
            ETC.rmdir()


def release_again(site):
    """A release is named after its second."""
    before = max((site.directory / "out" / "releases").iterdir()).name
    eventually(lambda: time.strftime("%Y%m%d-%H%M%S", time.gmtime()) > before)


def test_hosts_change_alike_or_not_at_all(site):
    """A good release changes all; a policy that one host refuses changes none behind it; what differs is shown."""
    make, send, use = scripts()
    compared = site.run("forkpolicy hosts hosts")
    assert compared.returncode == 0, compared.stdout + compared.stderr
    assert "DIFFERS" not in compared.stdout
    assert [host.asked() for host in site.hosts] == [b"action=REJECT first as example.com\n\n"] * 3

    site.write("second")
    (site.directory / "sources" / "local-domains").write_text("example.com\nexample.net\n")
    release_again(site)
    for script in (make, send):
        done = site.run(script)
        assert done.returncode == 0, done.stdout + done.stderr
    assert [host.asked() for host in site.hosts] == [b"action=REJECT first as example.com\n\n"] * 3
    done = site.run(use)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [host.asked() for host in site.hosts] == [b"action=REJECT second as example.com\n\n"] * 3
    assert "DIFFERS" not in done.stdout
    assert done.stdout.count("generation 2  up") == 3

    # A mistake is found before any host has heard of it.
    (site.directory / "policy.conf").write_text("acces from_us prove_it\n")
    release_again(site)
    assert site.run(make).returncode != 0

    # The second host loses a file of the release on the way: it keeps what it has, and the third is not asked.
    site.write("third")
    release_again(site)
    assert [site.run(script).returncode for script in (make, send)] == [0, 0]
    newest = max((site.hosts[1].etc / "releases").iterdir())
    (newest / "policy.conf").unlink()
    done = site.run(use)
    assert done.returncode == 1, done.stdout + done.stderr
    assert [host.asked().split()[1] for host in site.hosts] == [b"third", b"second", b"second"]
    assert "policy   " in done.stdout
    assert "DIFFERS on mx2 mx3" in done.stdout
    still = site.run("forkpolicy check -c $OLDPWD/forkpolicy.toml; ssh mx2 forkpolicy check")
    assert still.returncode == 0, still.stdout + still.stderr


def test_a_host_that_is_away_is_not_known(site):
    """The others are compared, and the exit status is 1."""
    site.hosts[2].stop()
    seen = site.run("forkpolicy hosts --json --timeout 10 hosts")
    assert seen.returncode == 1
    found = {host["name"]: host for host in json.loads(seen.stdout)["hosts"]}
    assert "refused" in found["mx3"]["trouble"]
    assert not found["mx1"]["trouble"]
    assert found["mx1"]["policy"] == found["mx2"]["policy"] != ""
    site.hosts[1].server.send_signal(signal.SIGTERM)
    site.hosts[1].server.wait(20)
    seen = site.run("forkpolicy hosts hosts")
    assert "mx2  NOT KNOWN: " in seen.stdout
    assert "/etc/forkpolicy/control" in seen.stdout
