"""Settings of what is asked, after a reload: those that a server would show only to other engines, or after minutes."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from forkpolicy.loading import load_everything
from forkpolicy.master.zones import Zones
from forkpolicy.settings import load_settings
from forkpolicy.status import ZoneTest
from forkpolicy.worker.engine import Engine
from forkpolicy.worker.reload import WorkerReload
from tests.unit.test_connection import Log

POLICY = "acl busy rate {client_address} 2/1h\naction slow 450 4.7.1 slow\naccess busy slow\n"
# Nobody is there: a worker goes on trying.
TLS = 'url = "rediss://127.0.0.1:1"\npassword_file = "secret"\n'
SENTINEL = 'url = "redis+sentinel://127.0.0.1:1/mail"\n'


class Worker:
    """A worker whose policy asks an engine."""

    def __init__(self, folder, state):
        self.folder = folder
        (folder / "secret").write_text("s3cret\n")
        (folder / "policy.conf").write_text(POLICY)
        self.write(state)
        self.engine = Engine(load_everything(folder / "forkpolicy.toml"), 1, Log())

    def write(self, state):
        (self.folder / "forkpolicy.toml").write_text(f"[state]\n{state}")

    def reload(self, state):
        self.write(state)
        names = (self.folder / "policy.conf", self.folder / "forkpolicy.toml")
        reload = WorkerReload(self.engine)
        assert not reload.prepare({str(name): name.read_bytes() for name in names})
        reload.commit(self.engine.serving.number + 1)

    @property
    def access(self):
        """How it reaches the engine."""
        return self.engine.serving.store.remote.access


@pytest.mark.parametrize(
    ("state", "changed", "field", "value"),
    [
        (TLS, "timeout = 0.25", "timeout_s", 0.25),
        (TLS, 'user = "mail"', "user", "mail"),
        (TLS.replace("secret", "other"), 'password_file = "secret"', "password_file", "secret"),
        (SENTINEL, 'sentinel_password_file = "secret"', "sentinel_password_file", "secret"),
        (TLS, 'ca_file = "ca.pem"', "ca_file", "ca.pem"),
        (TLS, 'cert_file = "c.pem"\nkey_file = "k.pem"', "cert_file", "c.pem"),
        (TLS, 'cert_file = "c.pem"\nkey_file = "k.pem"', "key_file", "k.pem"),
    ],
    ids=lambda value: value if isinstance(value, str) and value.isidentifier() else "",
)
def test_a_worker_reaches_the_engine_as_the_new_settings_say(tmp_path, state, changed, field, value):
    """By a connection of its own, and the previous one is closed; without a change it is kept."""
    (tmp_path / "other").write_text("s3cret\n")
    worker = Worker(tmp_path, state)
    before = worker.engine.serving.store.remote
    worker.reload(state)
    assert worker.engine.serving.store.remote is before
    names = [line.partition(" ")[0] for line in changed.splitlines()]
    kept = "".join(f"{line}\n" for line in state.splitlines() if line.partition(" ")[0] not in names)
    worker.reload(f"{kept}{changed}\n")
    expected = str(tmp_path / value) if field.endswith("_file") else value
    assert getattr(worker.access, field) == expected
    assert worker.engine.serving.store.remote is not before
    worker.engine.serving.store.remote.close()


def test_as_many_may_wait_as_the_new_settings_say(tmp_path):
    """Of the generation that begins a request."""
    worker = Worker(tmp_path, TLS)
    worker.reload(f"{TLS}max_waiting = 2\n")
    assert worker.engine.serving.loaded.settings.state.max_waiting == 2
    worker.engine.serving.store.remote.close()


def test_lists_are_tested_as_often_as_the_new_settings_say(tmp_path):
    """From the next test on."""
    sent, tester = [], SimpleNamespace(pid=7)
    workers = SimpleNamespace(alive={7: tester}, ready=[tester], send=lambda *message: sent.append(message))
    path = tmp_path / "forkpolicy.toml"
    generation = SimpleNamespace(number=1, loaded=SimpleNamespace(zones=("list.example",)))
    zones = Zones(generation, workers, SimpleNamespace(event=lambda *_, **__: None))
    due = []
    for every in ("1h", "2h"):
        path.write_text(f'[dns]\ntest_every = "{every}"\n')
        generation.settings = load_settings(path)
        zones._tester = tester
        zones.tested(tester, [ZoneTest("list.example", "", "", "")])
        due.append(zones._due_s - time.monotonic())
    assert [round(each) for each in due] == [3600, 7200]
