"""The container image, built and run by podman: user, read-only root, health check, a verdict, a stop.

Runs (minutes) with FORKPOLICY_SLOW=1, as root, with what `apt-get install buildah podman debootstrap` brings and what
packaging/build-deb needs. FORKPOLICY_DEB=FILE installs that package in it. FORKPOLICY_RUNTIME=runc is for a kernel with
cgroups of both versions, which crun refuses. The storage is in a directory of the test;
nothing of the machine's own is used or left.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.process.waiting import eventually

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "contrib" / "container"
TIMEOUT_S = 1200
MISSING = [name for name in ("buildah", "podman", "debootstrap") if not shutil.which(name)]
TAG = "localhost/forkpolicy-test"
CLIENT = """
import socket
with socket.create_connection(("127.0.0.1", 10040), 10) as asked:
    asked.sendall(b"request=smtpd_access_policy\\nprotocol_state=RCPT\\nclient_address=203.0.113.5\\n"
                  b"sender=boss@example.com\\nrecipient=staff@example.com\\n\\n")
    print(asked.recv(1000).decode())
"""
slow = pytest.mark.skipif(
    os.environ.get("FORKPOLICY_SLOW") != "1" or bool(os.geteuid()) or bool(MISSING),
    reason=f"slow: FORKPOLICY_SLOW=1 runs it, as root{'; missing: ' + ', '.join(MISSING) if MISSING else ''}",
)


def run(*words, env=None):
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=env, timeout=TIMEOUT_S)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class Podman:
    """podman with a storage of its own."""

    def __init__(self, directory):
        (directory / "storage.conf").write_text(
            f'[storage]\ndriver = "vfs"\ngraphroot = "{directory}/root"\nrunroot = "{directory}/run"\n'
        )
        self.env = {**os.environ, "CONTAINERS_STORAGE_CONF": str(directory / "storage.conf")}
        runtime = os.environ.get("FORKPOLICY_RUNTIME")
        self.words = ["podman", *(["--runtime", runtime] if runtime else [])]

    def __call__(self, *words):
        return run(*self.words, *map(str, words), env=self.env)

    def attempt(self, *words):
        return subprocess.run(
            [*self.words, *map(str, words)], env=self.env, capture_output=True, text=True, check=False, timeout=60
        )


@pytest.fixture(scope="module")
def podman(tmp_path_factory):
    """With the image of this checkout in it."""
    directory = tmp_path_factory.mktemp("podman")
    podman = Podman(directory)
    deb = ["--deb", os.environ["FORKPOLICY_DEB"]] if "FORKPOLICY_DEB" in os.environ else []
    run(ROOT / "packaging" / "build-image", "--out", directory / "image", "--tag", TAG, *deb, env=podman.env)
    yield podman
    podman("rmi", "--all", "--force")


@pytest.fixture
def site(tmp_path):
    """A directory to be mounted as /etc/forkpolicy."""
    tables = tmp_path / "forkpolicy" / "tables"
    tables.mkdir(parents=True)
    for name in ("forkpolicy.toml", "policy.conf"):
        shutil.copy(SAMPLES / name, tables.parent)
    (tables / "local-networks.cidr").write_text("198.51.100.0/24\n")
    (tables / "local-domains").write_text("example.com\n")
    return tables.parent


@contextlib.contextmanager
def serving(podman, site):
    """The name of a running container, started with the options of compose.yaml and the limits of this machine."""
    options = compose()["volumes"]["run"]["driver_opts"]
    podman("volume", "create", *(word for key, value in options.items() for word in ("--opt", f"{key}={value}")), "run")
    limits = [
        f"--ulimit={name}={hard}:{hard}"
        for name, number in (("nofile", resource.RLIMIT_NOFILE), ("nproc", resource.RLIMIT_NPROC))
        if (hard := min(4096, resource.getrlimit(number)[1] % 2**63))
    ]
    fixed = ["--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--network=none", *limits]
    fixed += [f"--volume={site}:/etc/forkpolicy:ro", "--volume=data:/var/lib/forkpolicy"]
    podman("run", "--rm", *fixed, "--entrypoint=forkpolicy-compile", TAG, "--if-changed")
    podman("run", "--detach", "--name=server", *fixed, "--volume=run:/run/forkpolicy", TAG)
    try:
        yield "server"
    finally:
        podman.attempt("rm", "--force", "--time=5", "server")
        podman.attempt("volume", "rm", "run", "data")


def compose():
    return yaml.safe_load((SAMPLES / "compose.yaml").read_text())


@slow
@pytest.mark.timeout(2 * TIMEOUT_S)
def test_the_image_serves(podman, site):
    """As its own user, on a read-only root, without capabilities: healthy, a verdict, a reload, status 0 at the end."""
    config = json.loads(podman("inspect", "--type=image", TAG))[0]
    assert config["Healthcheck"]["Test"] == ["CMD", "forkpolicy", "status"]
    with serving(podman, site) as name:
        eventually(lambda: podman.attempt("healthcheck", "run", name).returncode == 0, deadline_s=30)
        assert podman("exec", name, "id", "-u", "-n").strip() == "forkpolicy"
        assert "Read-only" in podman.attempt("exec", name, "touch", "/etc/x").stderr
        said = podman("exec", name, "/usr/lib/forkpolicy/bin/python3", "-c", CLIENT)
        assert said.startswith("action=REJECT 5.7.1 Authentication required to send as example.com")
        assert "generation 2" in podman("exec", name, "forkpolicy", "reload")
        podman("stop", name)
        assert podman("inspect", "--format={{.State.ExitCode}}", name).strip() == "0"


def test_the_sample_next_to_postfix_fits():
    """Postfix asks where the sample settings listen, from the network that they allow; no root can be written."""
    services = compose()["services"]
    address = services["forkpolicy"]["networks"]["policy"]["ipv4_address"]
    subnet = compose()["networks"]["policy"]["ipam"]["config"][0]["subnet"]
    settings = (SAMPLES / "forkpolicy.toml").read_text()
    assert f'"{subnet}"' in settings
    assert f"inet:{address}:10040" in (SAMPLES / "compose.yaml").read_text()
    assert "0.0.0.0:10040" in settings
    assert all(
        services[name]["read_only"] and services[name]["cap_drop"] == ["ALL"] for name in ("tables", "forkpolicy")
    )


def test_one_number_for_the_user():
    """The image, its build and the volume of the sample name the same user."""
    number = (ROOT / "packaging" / "build-image").read_text().partition("\nnumber=")[2].partition("\n")[0]
    assert f"USER {number}:{number}" in (SAMPLES / "Containerfile").read_text()
    assert f"uid={number},gid={number}," in compose()["volumes"]["run"]["driver_opts"]["o"]
