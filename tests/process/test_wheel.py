"""The sdist, and the wheel that this machine makes of it: complete, and with or without a compiler it answers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
# What a build reads. A copy, because setuptools keeps what it has built beside it and would use that again.
SOURCES = ("conf", "contrib", "docs", "forkpolicy", "manual", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE")
SDIST = "import setuptools.build_meta as build, sys; print(build.build_sdist(sys.argv[1]))"
# Files of the checkout, and where they are below share/forkpolicy.
SHIPPED = {
    "conf/forkpolicy.toml": "conf",
    "conf/policy.conf": "conf",
    "conf/tables/*": "conf/tables",
    "contrib/systemd/*.*": "systemd",
    "contrib/systemd/*.d/*": "systemd",
    "contrib/apparmor/*": "apparmor",
    "contrib/console/*": "console",
    "contrib/gateway/*": "gateway",
    "contrib/grafana/*": "grafana",
}
ANSWER = """
import json, socket, sys
from forkpolicy.loading import load_everything
from forkpolicy.worker import implementation
from forkpolicy.worker.connection import Connection
from forkpolicy.worker.engine import Engine
from forkpolicy.worker.readiness import Readiness
ours, theirs = socket.socketpair()
theirs.setblocking(False)
engine = Engine(load_everything(sys.argv[1]), 1, None)
connection = Connection(theirs, engine, Readiness(), lambda _: None, idle_timeout_s=60, max_request_bytes=65536)
ours.sendall(b"request=smtpd_access_policy\\nsender=a@example.com\\n\\n")
connection.start()
replies = [ours.recv(100).decode()]
ours.sendall(b"request=smtpd_access_policy\\nsender=b@example.com\\n\\n")
connection._turn.readable()
replies.append(ours.recv(100).decode())
print(json.dumps([implementation.__file__, implementation.CHOSEN.name, replies]))
"""


def run(*words, **more):
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=120, **more)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def shipped(root):
    """Samples and units of the checkout: path below share/forkpolicy to bytes."""
    files = {}
    for pattern, directory in SHIPPED.items():
        for path in filter(Path.is_file, root.glob(pattern)):
            inner = path.parent.name if path.parent.suffix == ".d" else ""
            files[str(Path(directory, inner, path.name))] = path.read_bytes()
    return files


def installed_samples(directory):
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.mark.parametrize("compiler", ["cc", "false"])
def test_a_wheel_answers(tmp_path, compiler):
    """Built, installed into an environment of its own, imported from there, asked twice: exactly and by the layout."""
    if compiler == "cc" and not (shutil.which("cc") and Path(sysconfig.get_path("include"), "Python.h").exists()):
        pytest.skip("no C compiler, or no headers of Python: apt-get install gcc python3-dev")
    copy = tmp_path / "source"
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
        else:
            shutil.copy(ROOT / name, copy / name)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    sdist = tmp_path / run(sys.executable, "-c", SDIST, str(tmp_path), cwd=copy).splitlines()[-1]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(tmp_path), str(sdist)]
    run(*build, env={**os.environ, "CC": compiler})
    (wheel,) = tmp_path.glob("*.whl")
    venv.create(tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    run(*pip, "--python", str(python), "install", "--no-deps", "--no-index", str(wheel))
    # Beside the directory of its commands, where man(1) looks for the pages of what is in PATH.
    pages = {f"man{page.suffixes[-2][1:]}/{page.stem}" for page in (ROOT / "docs").glob("*.[1-8].md")}
    installed = tmp_path / "venv" / "share" / "man"
    assert {str(page.relative_to(installed)) for page in installed.glob("*/*")} == pages >= {"man8/forkpolicy.8"}
    assert shipped(ROOT) == installed_samples(tmp_path / "venv" / "share" / "forkpolicy")
    # Its dependencies are those that the tests run with.
    (packages,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    (tmp_path / "forkpolicy.toml").write_text('[log]\ndecisions = "none"\n')
    (tmp_path / "policy.conf").write_text("acl us sender a@example.com\naction no REJECT no\naccess us no\n")
    # Isolated: neither the checkout nor the environment may be what is imported.
    where, name, replies = json.loads(
        run(str(python), "-I", "-c", ANSWER, str(tmp_path / "forkpolicy.toml"), cwd=tmp_path)
    )
    assert Path(where).is_relative_to(packages)
    assert name == ("c" if compiler == "cc" else "python")
    assert replies == ["action=REJECT no\n\n", "action=DUNNO\n\n"]
