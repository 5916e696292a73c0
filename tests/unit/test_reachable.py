"""What keeps the server from the servers that its policy asks. Here `systemctl` is a script that shows what the real
one does of a unit (252); tests/process/test_systemd_for_real.py has that one.
"""

from __future__ import annotations

import os
import socket
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

from forkpolicy import reachable
from forkpolicy.asked_servers import asked_servers
from forkpolicy.errors import Diagnostic
from forkpolicy.policy.load import load_policy
from forkpolicy.preflight import Start, find_remarks
from forkpolicy.reachable import AskedServer, find_unreachable, name_servers
from forkpolicy.settings import load_settings
from forkpolicy.systemd_unit import read_unit, unit_of

SETTINGS = "/etc/forkpolicy/forkpolicy.toml"
EVERY, LOCAL = "0.0.0.0/0 ::/0", "::1/128 127.0.0.0/8"
FAMILIES = "AF_INET AF_INET6 AF_UNIX"
SYSTEMCTL = """#!/bin/sh
while [ "$1" != -- ]; do shift; done
shift
for unit; do cat "{folder}/$unit" || exit 1; echo; done
"""


@pytest.fixture
def systemd(tmp_path, monkeypatch):
    """A function that loads a unit: its file's text, and properties as `systemctl show` has them."""
    program = tmp_path / "bin" / "systemctl"
    program.parent.mkdir()
    program.write_text(SYSTEMCTL.format(folder=tmp_path))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")

    def load(name, text, **properties):
        file = tmp_path / f"file-of-{name}"
        file.write_text(text)
        shown = {"Id": name, "LoadState": "loaded", "FragmentPath": file, "Slice": "system.slice", **properties}
        (tmp_path / name).write_text("".join(f"{key}={value}\n" for key, value in shown.items()))
        return file

    load("system.slice", "", Slice="-.slice")
    load("-.slice", "", Slice="")
    return load


def shipped(systemd, **properties):
    """The unit as it is shipped, with other properties."""
    text = "[Service]\nIPAddressDeny=any\nIPAddressAllow=localhost\nRestrictAddressFamilies=AF_UNIX AF_INET AF_INET6\n"
    usual = {"IPAddressDeny": EVERY, "IPAddressAllow": LOCAL, "RestrictAddressFamilies": FAMILIES}
    return systemd("forkpolicy.service", text, **(usual | properties))


def found(*endpoints, files=(), starts=False, identity=None):
    """The warnings about one server."""
    server = AskedServer(
        "engine", lambda message, hint: Diagnostic("x.toml", 3, 0, message, hint=hint), endpoints, files
    )
    return list(find_unreachable([server], SETTINGS, identity, starts=starts))


def test_denied_address(systemd):
    """The line of the unit is named with its file, once for all addresses, and what to write."""
    file = shipped(systemd)
    (only,) = found("inet:192.0.2.53:53", "inet:127.0.0.1:53", "inet:[2001:db8::53]:53")
    assert only.severity == "warning"
    assert only.place == "x.toml:3"
    assert only.message == f"engine: 192.0.2.53 2001:db8::53 cannot be reached: {file}:2: IPAddressDeny=any"
    assert "systemctl edit forkpolicy.service" in only.hint
    assert "IPAddressAllow=192.0.2.53 2001:db8::53" in only.hint


@pytest.mark.parametrize("endpoint", ["inet:127.0.0.1:6379", "inet:[::1]:6379", "inet:192.0.2.53:53"])
def test_allowed_address(systemd, endpoint):
    """This machine, and what a drop-in has added, can be reached."""
    shipped(systemd, IPAddressAllow=f"192.0.2.53/32 {LOCAL}")
    assert found(endpoint) == []


def test_denied_by_a_slice(systemd):
    """A line of a slice above the unit is found, too, and the unit itself can allow the address."""
    file = systemd("system-mail.slice", "[Slice]\nIPAddressDeny=192.0.2.0/24\n", IPAddressDeny="192.0.2.0/24")
    shipped(systemd, IPAddressDeny="", IPAddressAllow="", Slice="system-mail.slice")
    (only,) = found("inet:192.0.2.53:53")
    assert f"{file}:2: IPAddressDeny=192.0.2.0/24" in only.message
    shipped(systemd, IPAddressDeny="", IPAddressAllow="192.0.2.53/32", Slice="system-mail.slice")
    assert found("inet:192.0.2.53:53") == []


def test_last_line_counts(systemd, tmp_path):
    """What a drop-in says is not looked for in the unit's own file."""
    drop_in = tmp_path / "net.conf"
    drop_in.write_text("[Service]\n\nPrivateNetwork=yes\n")
    shipped(systemd, DropInPaths=drop_in, PrivateNetwork="yes")
    (only,) = found("inet:127.0.0.1:53")
    assert f"{drop_in}:3: PrivateNetwork=yes" in only.message
    assert "PrivateNetwork=no" in only.hint


def test_line_without_a_file(systemd):
    """A property that is in no file (systemctl set-property) is named with its unit."""
    systemd("forkpolicy.service", "", IPAddressDeny=EVERY)
    (only,) = found("inet:192.0.2.53:53")
    assert f"forkpolicy.service: IPAddressDeny={EVERY}" in only.message


@pytest.mark.parametrize(
    ("families", "refused"),
    [("AF_UNIX", True), ("AF_INET6 AF_UNIX", True), ("~AF_INET", True), ("~AF_INET6", False), ("~", False)],
)
def test_address_families(systemd, families, refused):
    """A unit without sockets for the address."""
    file = shipped(systemd, RestrictAddressFamilies=families, IPAddressDeny="")
    messages = [each.message for each in found("inet:192.0.2.53:53")]
    line = f"{file}:4: RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6"
    assert messages == ([f"engine: 192.0.2.53 cannot be reached: {line}"] if refused else [])


def test_line_that_is_not_in_force(systemd, monkeypatch):
    """A start believes the kernel: without cgroup 2 or BPF systemd goes on without IPAddressDeny=."""
    shipped(systemd)
    monkeypatch.setattr(reachable, "own_unit", lambda: "forkpolicy.service")
    assert found("inet:127.0.0.2:9", starts=True) == []
    monkeypatch.setattr(reachable, "_may_send", lambda _: False)
    assert len(found("inet:192.0.2.53:9", starts=True)) == 1


def test_unit_that_cannot_be_read(systemd, monkeypatch):
    """A start whose datagram is refused says so also where systemd does not answer; a check knows nothing then."""
    monkeypatch.setattr(reachable, "own_unit", lambda: "policy.service")
    monkeypatch.setattr(reachable, "_may_send", lambda _: False)
    (only,) = found("inet:192.0.2.53:53", starts=True)
    assert only.message == "engine: 192.0.2.53 cannot be reached: policy.service: IPAddressDeny="
    assert found("inet:192.0.2.53:53") == []


def test_host_name(systemd, tmp_path, monkeypatch):
    """Who names a server by a name needs the system's resolver for it, unless /etc/hosts has the name."""
    resolv, hosts = tmp_path / "resolv.conf", tmp_path / "hosts"
    resolv.write_text("search example.com\nnameserver 192.0.2.54\n")
    hosts.write_text("127.0.0.1 localhost\n")
    monkeypatch.setattr(reachable, "RESOLV_CONF", resolv)
    monkeypatch.setattr(reachable, "HOSTS", hosts)
    shipped(systemd)
    assert found("inet:localhost:6379") == []
    (only,) = found("inet:redis.invalid:6379")
    assert only.message.startswith("resolver, for the address of redis.invalid: 192.0.2.54 cannot be reached")


def test_name_servers(tmp_path, monkeypatch):
    """Those of resolv.conf(5); without one the local machine."""
    monkeypatch.setattr(reachable, "RESOLV_CONF", tmp_path / "resolv.conf")
    assert name_servers() == ("inet:127.0.0.1:53",)
    (tmp_path / "resolv.conf").write_text("# nameserver 192.0.2.1\nnameserver 192.0.2.2\nnameserver\t::1\n")
    assert name_servers() == ("inet:192.0.2.2:53", "inet:[::1]:53")


def test_hidden_paths(systemd):
    """Files and sockets below directories that the unit does not see."""
    file = systemd("forkpolicy.service", "[Service]\nProtectHome=yes\n", ProtectHome="yes", PrivateTmp="no")
    messages = [each.message for each in found("unix:/run/user/0/socket", files=("/root/password", "/tmp/ca.pem"))]
    assert messages == [
        f"engine: {path} cannot be reached: {file}:2: ProtectHome=yes"
        for path in ("/run/user/0/socket", "/root/password")
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_rights_of_the_units_user(systemd):
    """A socket needs write permission for the unit's user or one of its groups, a file the right to be read."""
    with tempfile.TemporaryDirectory(prefix="forkpolicy-test-") as folder:
        # pytest's own directories may be searched by their owner alone.
        Path(folder).chmod(0o755)
        judge_rights(systemd, Path(folder))


def judge_rights(systemd, folder):
    path, secret = folder / "socket", folder / "secret"
    secret.touch(0o600)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        path.chmod(0o770)
        shipped(systemd, User="nobody", PrivateTmp="no")
        messages = [each.message for each in found(f"unix:{path}", files=(str(secret),))]
        assert messages == [
            f"engine: user nobody may not use {path}: owner 0, group 0, mode 0770",
            f"engine: user nobody may not use {secret}: owner 0, group 0, mode 0600",
        ]
        shipped(systemd, User="nobody", SupplementaryGroups="root", PrivateTmp="no")
        assert found(f"unix:{path}") == []


def test_units_of_settings():
    """The shipped units, by the place of the settings."""
    assert unit_of(SETTINGS) == "forkpolicy.service"
    assert unit_of("/etc/forkpolicy-out/forkpolicy.toml") == "forkpolicy@out.service"
    assert unit_of("/srv/forkpolicy.toml") == ""


def test_without_systemd(monkeypatch, tmp_path):
    """No systemctl, or a unit that systemd does not know: nothing is in the way."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert read_unit("forkpolicy.service") is None
    assert found("inet:192.0.2.53:53") == []


def model(folder, text):
    """What a policy of this text means."""
    path = folder / "policy.conf"
    path.write_text(text)
    return load_policy(str(path), lambda _: None)[0].model


def test_services_are_servers_of_the_policy(tmp_path):
    """Each stands once, where the first ACL asks it, with its path from the root."""
    settings = load_settings_of(tmp_path)
    text = "acl a service unix:x/grey DUNNO\nacl b service inet:spf.example:10 5*\nacl c service unix:x/grey 4*\n"
    grey, spf = asked_servers(settings, model(tmp_path, text))
    assert grey.endpoints == (f"unix:{tmp_path}/x/grey",)
    assert grey.at("message", "").place == f"{tmp_path}/policy.conf:1:5"
    assert spf.endpoints == ("inet:spf.example:10",)
    assert spf.at("message", "").place == f"{tmp_path}/policy.conf:2:5"


def load_settings_of(folder):
    """Settings with nothing in them."""
    (folder / "forkpolicy.toml").write_text("")
    return load_settings(folder / "forkpolicy.toml")


def test_servers_of_the_settings(tmp_path):
    """The engine's hosts and files stand where `url` does; a policy that does not remember asks none."""
    path = tmp_path / "forkpolicy.toml"
    path.write_text('[state]\nurl = "lmdb:"\n')
    settings = load_settings(path)
    remembering, forgetful = (model(tmp_path, text) for text in ("acl x listed x {sender}\naccess x\n", ""))
    assert asked_servers(settings, remembering) == ()
    url = "rediss+sentinel://192.0.2.1,[2001:db8::1]:7000/mail"
    settings = replace(settings, state=replace(settings.state, url=url, ca_file="/root/ca.pem"))
    (engine,) = asked_servers(settings, remembering)
    assert engine.endpoints == ("inet:192.0.2.1:26379", "inet:[2001:db8::1]:7000")
    assert engine.files == ("/root/ca.pem",)
    assert engine.at("message", "hint").place == f"{path}:2:1"
    assert asked_servers(settings, forgetful) == ()
    assert find_remarks(Start(settings, servers=(engine,))) == []


def test_name_servers_of_the_settings(tmp_path, monkeypatch):
    """Those of [dns], otherwise the system's at the ACL that needs them; without such an ACL none."""
    path = tmp_path / "forkpolicy.toml"
    path.write_text('[dns]\nservers = ["192.0.2.53", "[2001:db8::53]:5353"]\n')
    listed, plain = (model(tmp_path, text) for text in ("acl x rbl dnsbl.example\naccess x\n", ""))
    settings = load_settings(path)
    (server,) = asked_servers(settings, listed)
    assert server.endpoints == ("inet:192.0.2.53:53", "inet:[2001:db8::53]:5353")
    assert server.at("message", "hint").place == f"{path}:2:1"
    assert asked_servers(settings, plain) == ()
    monkeypatch.setattr(reachable, "RESOLV_CONF", tmp_path / "resolv.conf")
    (server,) = asked_servers(replace(settings, dns=replace(settings.dns, servers=())), listed)
    assert server.endpoints == ("inet:127.0.0.1:53",)
    assert server.at("message", "hint").place.endswith(":1:5")
