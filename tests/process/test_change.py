"""Changes under open connections: reload, new tables, scaling, rotation. Nobody is hung up on."""

from __future__ import annotations

import json
import os
import pathlib
import re
import resource
import signal
import socket
import subprocess

import pytest

from loadtest.clients.policy_client import PolicyClient
from loadtest.measure.processes import title
from loadtest.servers.pausing import pause
from loadtest.servers.server import FORKPOLICY
from tests.process.conftest import FINE, FORGED, POLICY, REJECT
from tests.process.waiting import eventually


def test_a_reload_serves_open_connections_with_the_new_policy(server, client):
    """`forkpolicy reload` answers when every worker serves the new one; the connection stays."""
    assert client.ask(FORGED) == REJECT
    server.write_policy(POLICY.replace("REJECT 5.7.1 authenticate first", "450 4.7.1 later"))
    done = server.reload()
    assert (done.returncode, done.stdout.strip()) == (0, "every worker uses generation 2")
    assert client.ask(FORGED) == "450 4.7.1 later"
    assert {worker["generation"] for worker in server.status()["workers"]} == {2}


@pytest.mark.parametrize(
    ("policy", "told"),
    [
        (POLICY + "acces from_us\n", 'policy.conf:8:1: unknown statement "acces"'),
        (POLICY.replace("!signed_in", "!signed"), 'did you mean "signed_in"?'),
        (POLICY.replace("table domains", "table missing").replace("table:domains", "table:missing"), "missing.lmdb"),
    ],
    ids=["syntax", "unknown-acl", "missing-table"],
)
def test_a_broken_policy_leaves_the_old_one_serving(server, client, policy, told):
    """Refused with the line and status 1; the old one serves on; `check` says the same beforehand."""
    server.write_policy(policy)
    checked = server.command("check")
    assert (checked.returncode, told in checked.stdout) == (1, True)
    done = server.reload()
    assert done.returncode == 1
    assert told in done.stderr
    assert "generation 1 stays in use" in done.stderr
    assert client.ask(FORGED) == REJECT
    server.write_policy(POLICY)
    assert server.reload().returncode == 0


def test_a_thousand_hups_are_a_few_reloads(server, client):
    """A storm of HUP, also to the workers, disturbs nobody; the last change counts."""
    server.write_policy(POLICY.replace("5.7.1", "5.7.99"))
    for _ in range(1000):
        server.process.send_signal(signal.SIGHUP)
    for pid in server.worker_pids():
        os.kill(pid, signal.SIGHUP)
    eventually(lambda: client.ask(FORGED) == "REJECT 5.7.99 authenticate first")
    assert server.command("status").returncode == 0
    assert 2 <= server.said().count("event=reloaded") + 1 < 1000


def test_settings_that_need_a_restart_are_named(server):
    """A reload applies the settings that it can and names those that it cannot."""
    text = server.settings.read_text()
    server.settings.write_text(text.replace("workers = 2", "workers = 3\nbacklog = 99"))
    done = server.reload()
    assert done.returncode == 0
    assert "server.backlog has changed: it takes effect with a restart" in done.stderr
    eventually(lambda: len(server.worker_pids()) == 3)


def test_warnings_are_told_with_the_reload(server):
    """As at the start: a shadow policy that does not load, with its mistake and its place, and that it is left out."""
    (server.directory / "candidate.conf").write_text("acces x\n")
    server.settings.write_text(f'shadow = "candidate.conf"\n{server.settings.read_text()}')
    done = server.reload()
    assert (done.returncode, done.stdout.strip()) == (0, "every worker uses generation 2")
    assert 'candidate.conf:1:1: warning: unknown statement "acces"' in done.stderr
    assert "candidate.conf: warning: the shadow policy is left out" in done.stderr


def test_a_new_table_is_taken_up_within_a_second(server, client):
    """Compile and nothing else: every worker serves it, status shows its version; a damaged one is refused."""
    assert client.ask(FINE) == "DUNNO"
    before = table_versions(server)
    server.write_source("domains", "elsewhere.example\nexample.com\n")
    server.compile()
    eventually(lambda: table_versions(server) != before and len(table_versions(server)) == 1, 3)
    both = [PolicyClient(server.socket_path) for _ in range(4)]
    assert {each.ask(FORGED.replace(b"a@example.com", b"a@elsewhere.example")) for each in both} == {REJECT}
    for each in both:
        each.close()
    table = server.directory / "compiled" / "domains.lmdb"
    damaged = bytearray(table.read_bytes())
    damaged[5000] ^= 1
    table.with_suffix(".new").write_bytes(damaged)
    table.with_suffix(".new").replace(table)
    eventually(lambda: all(table["refused"] for worker in server.status()["workers"] for table in worker["tables"]))
    assert client.ask(FORGED) == REJECT


def table_versions(server):
    return {table["version"] for worker in server.status()["workers"] for table in worker["tables"]}


def test_workers_come_and_go_without_anybody_noticing(server):
    """Scale down to one and up again under open connections, also in the middle of a request: none is closed."""
    clients = [PolicyClient(server.socket_path) for _ in range(20)]
    for client in clients:
        assert client.ask(FORGED) == REJECT
    half = PolicyClient(server.socket_path)
    assert half.ask(FINE) == "DUNNO"
    half._socket.sendall(FORGED[:60])
    for count in (1, 3, 1, 2):
        assert server.command("scale", str(count)).returncode == 0
        eventually(lambda count=count: [w["ready"] for w in server.status()["workers"]] == [True] * count)
        assert [client.ask(FORGED) for client in clients] == [REJECT] * 20
    assert half.ask(FORGED[60:]) == REJECT
    for client in (*clients, half):
        client.close()


def test_ttin_and_ttou_are_one_worker_more_or_less(server, client):
    """The signals of the terminal scale, as in unicorn."""
    server.process.send_signal(signal.SIGTTIN)
    eventually(lambda: len(server.worker_pids()) == 3)
    server.process.send_signal(signal.SIGTTOU)
    server.process.send_signal(signal.SIGTTOU)
    eventually(lambda: 1 <= len(server.worker_pids()) <= 2)
    assert client.ask(FORGED) == REJECT


def test_a_term_to_a_worker_retires_it(server):
    """Its connections go to a sibling, another worker takes its place."""
    clients = [PolicyClient(server.socket_path) for _ in range(6)]
    assert [client.ask(FINE) for client in clients] == ["DUNNO"] * 6
    before = server.worker_pids()
    os.kill(before[0], signal.SIGTERM)
    eventually(lambda: before[0] not in server.worker_pids() and len(server.worker_pids()) == 2)
    assert [client.ask(FORGED) for client in clients] == [REJECT] * 6
    for client in clients:
        client.close()


def test_usr1_reopens_the_log(server, client):
    """After rotation the next line goes to the new file, whichever process writes it."""
    assert client.ask(FORGED) == REJECT
    eventually(lambda: "event=decision" in server.log.read_text())
    rotated = server.log.with_suffix(".1")
    server.log.rename(rotated)
    server.process.send_signal(signal.SIGUSR1)
    eventually(lambda: server.log.exists() and "log target reopened" in server.log.read_text())
    assert client.ask(FORGED) == REJECT
    eventually(lambda: "event=decision" in server.log.read_text())
    assert rotated.read_text().count("event=decision") == 1


def test_each_file_of_the_log_says_what_was_in_force(server, client):
    """A decision names what it was made with, and a line of the same file explains that, also after a rotation."""
    assert client.ask(FORGED) == REJECT
    eventually(lambda: "event=decision" in server.log.read_text())
    rotated = server.log.with_suffix(".1")
    server.log.rename(rotated)
    server.process.send_signal(signal.SIGUSR1)
    eventually(lambda: server.log.exists() and "log target reopened" in server.log.read_text())
    assert client.ask(FORGED) == REJECT
    eventually(lambda: "event=decision" in server.log.read_text())
    ids = []
    for log in (rotated, server.log):
        text = log.read_text()
        ((decision, in_force),) = re.findall(r"event=decision .* id=([0-9a-z]{12}) host=\S+ in_force=(\w+)", text)
        assert re.search(
            rf'event="in force" .*in_force={in_force} host=\S+ generation=1 policy=\w{{12}} settings=\w{{12}} tables=',
            text,
        )
        ids.append(decision)
    assert ids[0] != ids[1]


def test_a_logger_that_is_replaced_writes_to_the_log_of_today(server, client):
    """The master opened the file at its start; after a rotation that is the wrong one."""
    rotated = server.log.with_suffix(".1")
    server.log.rename(rotated)
    server.process.send_signal(signal.SIGUSR1)
    eventually(server.log.exists)
    (logger,) = [pid for pid in server.process_ids() if title(pid) == "log"]
    os.kill(logger, signal.SIGKILL)
    eventually(lambda: 'event="logger replaced"' in server.log.read_text())
    assert client.ask(FORGED) == REJECT
    eventually(lambda: "event=decision" in server.log.read_text())


def test_a_blocked_log_target_delays_nobody(make_server):
    """A FIFO that nobody reads: 20,000 decisions are answered as ever, and the master obeys."""
    server = make_server()
    os.mkfifo(server.log)
    reader = os.open(server.log, os.O_RDONLY | os.O_NONBLOCK)
    server.start()
    with PolicyClient(server.socket_path) as client:
        for _ in range(20_000):
            assert client.ask(FORGED) == REJECT
        eventually(lambda: counters_of(server)["requests"] >= 20_000)
    # Nobody reads the log to the end: the master ends all the same.
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(10) == 0
    server.process = None
    os.close(reader)


def test_a_fifo_without_a_reader_is_refused_at_once(make_server):
    """The start says what is missing, where it hung without a word."""
    server = make_server()
    os.mkfifo(server.log)
    with subprocess.Popen(
        [*FORKPOLICY, "serve", "-c", str(server.settings)], stderr=subprocess.PIPE, text=True
    ) as start:
        said = start.communicate(timeout=30)[1]
    assert start.returncode == 73
    assert said == f"log target {server.log}: no process reads this FIFO: start its reader first\n"


def stderr_of(server):
    return (server.directory / "stderr").read_text()


def test_lines_that_a_blocked_target_costs_are_counted_and_reported(make_server):
    """A FIFO whose reader has stopped reading: standard error says so when it begins, once; `status` and the metrics
    have the number; at the end it is said what was left.
    """
    server = make_server()
    server.settings.write_text(server.settings.read_text() + '[metrics]\nlisten = "unix:metrics"\n')
    os.mkfifo(server.log)
    reader = os.open(server.log, os.O_RDONLY | os.O_NONBLOCK)
    server.start()
    assert server.status()["log"]["lost"] == {"pipe": 0, "target": 0}
    with PolicyClient(server.socket_path) as client:

        def lost():
            for _ in range(2000):
                client.ask(FORGED)
            return server.obey("status")["log"]["lost"]["pipe"]

        eventually(lost, 60)
        seen = eventually(lost, 60)
    found = server.status()["log"]
    assert found["lost"]["pipe"] >= seen
    assert found["target"] == str(server.log)
    assert found["waiting_bytes"] > 500_000
    reported = f"forkpolicy: log lines are lost: {server.log} does not keep up; forkpolicy status shows how many\n"
    assert stderr_of(server).count(reported) == 1
    assert f"{found['lost']['pipe']} log lines lost" in server.command("status").stdout
    assert f'forkpolicy_log_dropped_total{{where="pipe"}} {found["lost"]["pipe"]}\n' in metrics_of(server)
    server.stop()
    assert f" log lines or more are lost at the end: {server.log} has not taken them" in stderr_of(server)
    os.close(reader)


def test_lines_that_a_full_target_costs_are_counted_and_reported(make_server):
    """A disk without space: the reason on standard error when it begins, once; the number in `status`."""
    server = make_server(log=pathlib.Path("/dev/full"))
    server.start()
    with PolicyClient(server.socket_path) as client:
        for count in range(1, 4):
            client.ask(FORGED)
            eventually(lambda count=count: server.obey("status")["log"]["lost"]["target"] > count)
    assert stderr_of(server).count("forkpolicy: log lines are lost: /dev/full: No space left on device\n") == 1
    assert server.status()["log"]["lost"]["pipe"] == 0


def metrics_of(server):
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(server.directory / "metrics"))
        client.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        return b"".join(iter(lambda: client.recv(65536), b"")).decode()


def counters_of(server):
    return server.status()["workers"][0]["counters"]


def test_a_thousand_idle_connections_are_spread_and_served(make_server):
    """A burst of a thousand: both workers have about half, each one is answered, and idle ones cost nothing."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    server = make_server(workers=2)
    server.start()
    clients = [PolicyClient(server.socket_path) for _ in range(1000)]
    assert {client.ask(FINE) for client in clients} == {"DUNNO"}
    # On a busy machine one worker accepts more than its share; the next beats even that out.
    eventually(
        lambda: (c := [w["connections"] for w in server.status()["workers"]]) and sum(c) == 1000 and max(c) <= 1.2 * 500
    )
    assert {client.ask(FORGED) for client in clients} == {REJECT}
    for client in clients:
        client.close()
    eventually(lambda: sum(worker["connections"] for worker in server.status()["workers"]) == 0)


def test_out_of_descriptors_is_a_pause_and_no_death(make_server, monkeypatch):
    """With descriptors for few connections the rest waits in the queue, the log says so once, and it recovers
    alone.
    """
    monkeypatch.setattr("loadtest.servers.server.FORKPOLICY", ("prlimit", "--nofile=60:60", *FORKPOLICY))
    server = make_server()
    server.start()
    worker = server.status()["workers"][0]["pid"]
    clients = [PolicyClient(server.socket_path) for _ in range(60)]
    answered = []
    for client in clients:
        client._socket.sendall(FORGED)
        client._socket.settimeout(0.05)
    eventually(lambda: "cannot accept" in server.said())
    for client in clients:
        try:
            answered.append(client._socket.recv(1000))
        except TimeoutError:
            break
    assert 5 < len(answered) < 60
    for client in clients[: len(answered)]:
        client.close()
    clients[-1]._socket.settimeout(10)
    assert clients[-1]._socket.recv(1000) == f"action={REJECT}\n\n".encode()
    assert server.said().count("cannot accept") == 1
    assert server.worker_pids() == [worker]
    for client in clients:
        client.close()


def test_connects_wait_in_the_queue_while_no_worker_accepts(make_server):
    """All workers stopped, two hundred smtpd processes connect: the backlog takes them, none is refused."""
    server = make_server()
    server.start()
    (worker,) = server.worker_pids()
    pause(worker)
    clients = [PolicyClient(server.socket_path) for _ in range(200)]
    os.kill(worker, signal.SIGCONT)
    assert {client.ask(FORGED) for client in clients} == {REJECT}
    for client in clients:
        client.close()


def test_fifty_reloads_leave_memory_and_descriptors_as_they_were(server, client):
    """Nothing of a generation stays when the next one serves."""
    pids = server.worker_pids()
    server.reload()
    before = [(open_fds(pid), resident_kb(pid)) for pid in pids]
    for _ in range(50):
        server.process.send_signal(signal.SIGHUP)
        assert server.obey("reload", 60)["ok"]
        assert client.ask(FORGED) == REJECT
    after = [(open_fds(pid), resident_kb(pid)) for pid in pids]
    for (fds_then, kb_then), (fds_now, kb_now) in zip(before, after, strict=True):
        assert fds_now == fds_then
        assert kb_now < kb_then + 4096


def resident_kb(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def open_fds(pid):
    return len(list(pathlib.Path(f"/proc/{pid}/fd").iterdir()))


def test_top_shows_the_same_live(server, client):
    """Into a pipe: one look after the other, with rates from the second on."""
    client.ask(FORGED)
    done = subprocess.run(
        [*FORKPOLICY, "top", "-c", str(server.settings), "-n", "2", "-d", "0.1"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.count("master ") == 2
    assert "requests/s" in done.stdout


def test_a_refused_reload_shows_no_password(server):
    """Neither to who asked, nor in `status`, nor in the log: the line of the mistake has a URL with one."""
    server.write_policy("table t kye sql:postgresql://mail:s3cret@127.0.0.1:1/mail:SELECT 1\n")
    reloaded = server.reload()
    assert reloaded.returncode == 1
    assert "sql:postgresql://mail:***@127.0.0.1:1/mail" in reloaded.stderr
    eventually(lambda: "reload refused" in server.said())
    said = reloaded.stdout + reloaded.stderr + server.said() + json.dumps(server.status())
    assert "s3cret" not in said
