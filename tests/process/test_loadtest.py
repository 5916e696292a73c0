"""`python -m loadtest` as its users run it: right verdicts pass, wrong ones fail, wrong set-ups say what is wrong."""

from __future__ import annotations

import csv
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import urllib.parse
import urllib.request

import pytest

from loadtest.clients import generator
from loadtest.measure.processes import command_line, descendants, descriptors
from loadtest.servers.echo import echo_server
from loadtest.servers.ports import free_port
from loadtest.servers.server import Server
from loadtest.traffic.profile import load_profile
from loadtest.traffic.traffic import PASSED, POLICY, REFUSED, Day
from tests.process.waiting import eventually

ROOT = pathlib.Path(__file__).parent.parent.parent
pytestmark = pytest.mark.timeout(120)


def loadtest(*words):
    """Run one command in the checkout."""
    return subprocess.run(
        [sys.executable, "-m", "loadtest", *map(str, words)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_small_day_at_the_protocol(tmp_path):
    """Every verdict of a day is right, from two processes of locust, and the report says so."""
    words = ("--through", "protocol", "--transactions", 400, "--processes", 2, "--users", 4)
    done = loadtest("day", *words, "--report", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Every verdict came, and every one was right." in done.stdout
    assert "Every verdict came, and every one was right." in (tmp_path / "report.html").read_text()


def test_a_wrong_verdict_fails_the_run(tmp_path):
    """A server that lets everything pass is found out, mail by mail."""
    with echo_server(tmp_path / "socket", native=False):
        done = loadtest("day", "--socket", tmp_path / "socket", "--transactions", 50, "--report", tmp_path / "report")
    assert done.returncode == 1, done.stdout + done.stderr
    assert " wrong verdicts, 0 lost replies, 0 never asked for." in done.stdout
    assert "wrong: forged: " in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("day", "--profile", "nonsense"), "no profile 'nonsense': built in are "),
        (("day", "--socket", "/nonexistent/socket"), "no server listens on /nonexistent/socket (No such file"),
        (("day", "--through", "protocol", "--users", 1, "--processes", 2), "2 processes need at least as many --users"),
        (("day", "--users", 0), "argument --users: expected a whole number, at least 1, and not 0"),
        (("day", "--transactions", -3), "argument --transactions: expected a whole number, at least 1, and not -3"),
        (("day", "--between", "9-10"), "9-10 is not a part of a day: expected two times such as 09:00-09:05"),
        (
            ("day", "--report", "/proc/nothing"),
            "argument --report: cannot make the directory /proc/nothing: No such file",
        ),
        (("soak", "--minutes", "long"), "argument --minutes: expected a number above 0, and not long"),
        (("soak", "--rate", -1), "argument --rate: expected a number, at least 0, and not -1"),
        (("saturate", "--workers", 0), "argument --workers: expected a whole number, at least 1"),
        (("chaos", "--seconds", 0), "argument --seconds: expected a number above 0, and not 0"),
        (("chaos", "--rough", "--only", "kill,flood"), "argument --only: expected some of kill, pause, "),
        (("chaos", "--only", "kill"), "--only chooses among the faults of --rough: give both"),
        (("balance", "--settle", -1), "argument --settle: expected a number, at least 0, and not -1"),
        (("chaos", "--longest-wait", 0), "argument --longest-wait: expected a number above 0, and not 0"),
        (("arrivals", "--new", 0), "argument --new: expected a whole number, at least 1, and not 0"),
        (("verify-advise", "--loads", "0.5,all"), "argument --loads: expected a number above 0, and not all"),
        (("tables", 0), "argument sizes: expected a whole number, at least 1, and not 0"),
        (("policies", "--rounds", "0"), "argument --rounds: expected a whole number, at least 1, and not 0"),
        (("policies", "--against", "no-such"), "loadtest policies: no-such is not a commit of the checkout"),
        (("bench", "--against", "no-such-commit"), "loadtest bench: no-such-commit is not a commit of the checkout"),
        (("bench", "--connections", "1,x"), "argument --connections: expected a whole number, at least 1, and not x"),
        (("latency", "--parts", "0.5,-1"), "argument --parts: expected a number above 0, and not -1"),
        (("latency", "--connections", 0), "argument --connections: expected a whole number, at least 1, and not 0"),
        (("workers", "--workers", "1,0"), "argument --workers: expected a whole number, at least 1, and not 0"),
        (("workers", "--seconds", 0), "argument --seconds: expected a number above 0, and not 0"),
        (("compare", "--only", "nothing"), "argument --only: invalid choice: 'nothing' (choose from 'postfwd1',"),
        (("nonsense",), ""),
    ],
)
def test_a_wrong_set_up_is_said_in_one_line(words, said):
    """What is missing or wrong is named, without a traceback."""
    done = loadtest(*words)
    assert done.returncode == 2, done
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def locust(*words, **environment):
    """Locust by hand, as the README has it."""
    return subprocess.run(
        [sys.executable, "-m", "locust", "-f", "loadtest/locustfile.py", *map(str, words)],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def test_locust_by_hand_in_two_processes(tmp_path):
    """However short the run, its master has every figure of every process at the end, and wrong verdicts fail it."""
    with echo_server(tmp_path / "socket", native=False):
        words = ("PolicyUser", "--headless", "-u", 4, "-r", 4, "--processes", 2, "--csv", tmp_path / "day")
        done = locust(*words, "--policy-socket", tmp_path / "socket", "--day-transactions", 60)
    assert done.returncode == 1, done.stdout + done.stderr
    with (tmp_path / "day_stats.csv").open() as lines:
        total = list(csv.DictReader(lines))[-1]
    requests = Day(load_profile("small", transactions=60)).requests()
    assert int(total["Request Count"]) == len(requests)
    assert int(total["Failure Count"]) == sum(right == REFUSED for _, right in requests)


def test_a_load_shape_and_reports_of_locust(folder, tmp_path):
    """A shape decides how many users there are and when it is over; CSV and HTML are written; right verdicts pass."""
    day = Day(load_profile("small"))
    with Server(folder, POLICY, sources=day.sources) as server:
        words = ("PolicyUser", "--headless", "--csv", tmp_path / "day", "--html", tmp_path / "day.html")
        shape = {"FORKPOLICY_SHAPE": "spike", "FORKPOLICY_SHAPE_USERS": "3", "FORKPOLICY_SHAPE_S": "3"}
        done = locust(*words, "--policy-socket", server.socket_path, "--day-transactions", 1_000_000, **shape)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Aggregated" in (tmp_path / "day_stats.csv").read_text()
    assert (tmp_path / "day.html").exists()


def test_the_web_interface_outlives_the_day(folder):
    """A day that was started in the browser ends, its figures stay, and another one can be started."""
    day = Day(load_profile("small"))
    port = free_port()
    words = [
        "-m",
        "locust",
        "-f",
        "loadtest/locustfile.py",
        "PolicyUser",
        "--web-host",
        "127.0.0.1",
        "--web-port",
        port,
    ]

    def asked(path, **form):
        data = urllib.parse.urlencode(form).encode() if form else None
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", data, timeout=10) as answer:
            return json.load(answer)

    def figures():
        found = asked("/stats/requests")
        return found["state"], sum(each["num_requests"] for each in found["stats"] if each["name"] == "Aggregated")

    with Server(folder, POLICY, sources=day.sources) as server:
        words += ["--policy-socket", server.socket_path]
        with subprocess.Popen([sys.executable, *map(str, words)], cwd=ROOT, stderr=subprocess.DEVNULL) as process:
            try:
                eventually(lambda: _answers(port), 30)
                for mails in (100, 150):
                    asked("/swarm", user_count=2, spawn_rate=2, day_transactions=mails)
                    expected = "stopped", len(Day(load_profile("small", transactions=mails)).requests())
                    eventually(lambda expected=expected: figures() == expected, 30)
            finally:
                process.terminate()


def _answers(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize(
    ("words", "shape", "said"),
    [
        (
            ("--policy-socket", "/nonexistent"),
            "",
            "no server listens on /nonexistent (No such file or directory): start it",
        ),
        ((), "", "--policy-socket is missing"),
        (("--processes", 2, "-u", 2, "--policy-socket", "/nonexistent"), "", "no server listens on /nonexistent"),
        (("--policy-socket", "/nonexistent"), "nonsense", "expected one of curve, ramp, spike, soak"),
    ],
)
def test_a_wrong_set_up_of_locust_is_said(words, shape, said):
    """Before a mail is sent, with the exit status of a wrong set-up and not of a wrong verdict."""
    done = locust("PolicyUser", "--headless", *words, FORKPOLICY_SHAPE=shape)
    assert done.returncode == (1 if shape else 2), done.stdout + done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_processes_end_for_a_wrong_profile(tmp_path):
    """The master does not wait for ever for processes that cannot begin."""
    with echo_server(tmp_path / "socket", native=False):
        words = ("--processes", 2, "-u", 2, "--policy-socket", tmp_path / "socket", "--day-profile", "nonsense")
        done = locust("PolicyUser", "--headless", *words)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "no profile 'nonsense': built in are" in done.stderr


def test_a_short_soak_with_everything_that_may_happen(tmp_path):
    """Reload, tables, scaling and a killed worker under mail: no wrong verdict, no lost reply."""
    words = ("--profile", "small", "--minutes", 0.15, "--every", 0.3, "--users", 4, "--rate", 300)
    done = loadtest("soak", *words, "--report", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    for what in ("reload: done", "table of domains compiled anew", "log rotated", "scale N: done", "worker N killed"):
        assert what in done.stdout
    # 300 mails a second, most of them to one recipient, for nine seconds.
    verdicts = int(re.search(r"verdicts +([\d,]+) of", done.stdout)[1].replace(",", ""))
    assert 1000 < verdicts < 9 * 300 * 2


def test_saturation_is_measured_beside_an_echo(tmp_path):
    """The command runs, and its table has an echo server and forkpolicy."""
    done = loadtest("saturate", "--seconds", 0.1, "--workers", 1, "--report", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "echo" in done.stdout
    assert "forkpolicy, 1 worker" in done.stdout
    assert "<svg" in (tmp_path / "saturate.html").read_text()
    figures = json.loads((tmp_path / "saturate.json").read_text())
    echo, highest = (point for point in figures["points"] if not point["offered"])
    assert (echo["server"].endswith("echo"), highest["server"]) == (True, "forkpolicy, 1 worker")
    offered = [point["offered"] for point in figures["points"] if point["server"] == highest["server"]][1:]
    assert offered == [highest["answered"] * part for part in (0.1, 0.25, 0.5, 0.75, 0.9, 1.0)]
    assert all(point["cpu_us"] > 0 and point["p99_us"] <= point["longest_us"] for point in figures["points"])


def test_the_bench_compares_servers_and_builds():
    """The command of the README runs, next to echo servers and to the build of a commit, in the same rounds."""
    done = loadtest("bench", "--seconds", 0.1, "--rounds", 2, "--connections", 4, "--against", "HEAD", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout)
    rows = {row["server"]: row for row in result["rows"]}
    today, earlier = rows["forkpolicy"], rows[f"forkpolicy, at {result['earlier']}"]
    assert today["to_earlier"] > 0
    assert earlier["to_earlier"] is None
    assert min(today["to_python_echo"], earlier["to_python_echo"]) > 0
    assert 0 < today["cpu_us"] <= today["cpu_us_median"]
    assert today["to_unlogged"] is None
    logging = [rows[f"forkpolicy, logging refusals{build}"] for build in ("", f", at {result['earlier']}")]
    assert all(row["to_unlogged"] > 0 for row in logging)
    assert "Python echo" in rows


def test_policies_are_measured_and_compared():
    """The command of docs/performance.md runs, next to the build of a commit, in the same rounds."""
    done = loadtest("policies", "--rounds", 1, "--only", "7 networks", "--against", "HEAD", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = json.loads(done.stdout)
    assert row["shape"] == "7 networks"
    assert min(row["decide_us"], row["against_us"], row["ratio"]) > 0
    done = loadtest("policies", "--rounds", 1, "--only", "7 networks")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith("7 networks ")


def test_the_growth_of_a_policy_is_measured_in_the_same_rounds():
    """Ten thousand rules next to ten: a ratio for the larger one."""
    done = loadtest("policies", "--rounds", 1, "--only", "rules of two ACLs", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    few, many = json.loads(done.stdout)
    assert (few["shape"], few["growth"]) == ("10 rules of two ACLs", None)
    assert many["growth"] == pytest.approx(many["decide_us"] / few["decide_us"])


def test_the_bench_is_a_table_for_people():
    """The heading says on what it was measured; what was not compared has a dash."""
    done = loadtest("bench", "--seconds", 0.1, "--rounds", 1, "--connections", 4)
    assert done.returncode == 0, done.stdout + done.stderr
    heading, *table = done.stdout.split("\n\n")
    assert re.search(r"cores, Linux .*; load average before: \d", heading)
    assert re.search(r"^Python 3\.\d+\.\d+\S*, /\S+, (the distribution's build|built with)", heading, re.MULTILINE)
    forkpolicy = next(line for line in table[0].splitlines() if line.startswith("forkpolicy  "))
    assert forkpolicy.split()[6] == "-"


def test_starts_are_measured_next_to_a_bare_python():
    """A start takes longer than Python alone, and both are in the table."""
    done = loadtest("start", "--rounds", 2, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    python, ours = json.loads(done.stdout)["rows"]
    assert (python["what"], ours["what"]) == ("python -c pass", "forkpolicy serve")
    assert python["least_s"] <= python["median_s"] < ours["least_s"] <= ours["median_s"]


def test_latency_is_measured_at_parts_of_the_highest_rate():
    """Both variants, each next to an echo server at the same rate, which is a part of what that variant can do."""
    done = loadtest("latency", "--seconds", 0.1, "--rounds", 2, "--connections", 8, "--parts", "0.1,0.2", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(done.stdout)["rows"]
    variants = ("forkpolicy", "forkpolicy, logging refusals")
    assert [(row["of"], row["part"]) for row in rows[::2]] == [(of, part) for of in variants for part in (0.1, 0.2)]
    for echo, ours in zip(rows[::2], rows[1::2], strict=True):
        assert echo["server"].endswith("echo")
        assert ours["server"] == ours["of"]
        assert echo["offered"] == ours["offered"] > 0
        assert ours["least_p99_us"] <= ours["median_p99_us"]
    assert rows[3]["offered"] == pytest.approx(2 * rows[1]["offered"])
    assert all(row["p50_us"] <= row["p99_us"] <= row["p999_us"] and row["cpu_us"] > 0 for row in rows)


def test_several_workers_are_measured_next_to_as_many_echo_processes():
    """Each variant with each number of workers; the time of the cores is accounted for, whole."""
    done = loadtest("workers", "--workers", "1,2", "--seconds", 0.2, "--rounds", 2, "--connections", 8, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {(row["server"], row["workers"]): row for row in json.loads(done.stdout)["rows"]}
    ours = [("forkpolicy", 1), ("forkpolicy", 2), ("forkpolicy, logging refusals", 1)]
    assert rows.keys() >= {*ours, ("forkpolicy, logging refusals", 2)}
    if ("C echo", 1) in rows:
        assert all(rows[each]["to_c_echo"] > 1 for each in ours)
    for row in rows.values():
        assert row["to_first"] == 1 or row["workers"] == 2
        assert min(row["rate"], row["cpu_us"], row["generator_us"], row["cores"]["workers"]) > 0
        assert 1 <= row["busiest"] <= row["workers"]
    assert rows["forkpolicy, logging refusals", 1]["cores"]["log"] > rows["forkpolicy", 1]["cores"]["log"]


def test_echo_processes_have_as_many_connections_each(tmp_path):
    """They accept in turn, and all of them end with the first."""
    with echo_server(tmp_path / "echo", native=True, processes=4) as pid:
        if pid is None:
            pytest.skip("needs a compiler")
        pids = [pid, *descendants(pid)]
        one = [(Day(load_profile("bench", transactions=1)).requests()[0][0], PASSED)]
        with generator.connected(tmp_path / "echo", one, connections=40) as source:
            assert not source.round(0.1).trouble(one)
            # The listener is watched by one of them, and that takes no descriptor.
            held = [descriptors(each) for each in pids]
        left = [count - 10 for count in held]
        eventually(lambda: [descriptors(each) for each in pids] == left)
    assert len(pids) == 4
    eventually(lambda: not any(map(command_line, pids)))


def test_what_tables_cost_is_a_row_for_each_kind_and_size():
    """Compiled by the real command, asked, opened by workers; then how much dearer the larger one is."""
    done = loadtest("tables", 400, 200, 400, "--alone")
    assert done.returncode == 0, done.stdout + done.stderr
    head, _, *rows = done.stdout.partition("\n\n")[0].splitlines()
    cells = [row.strip("| ").split(" | ") for row in rows]
    assert [row[:2] for row in cells] == [["cidr", "200"], ["cidr", "400"], ["domain", "200"], ["domain", "400"]]
    assert {len(row) for row in cells} == {len(head.strip("| ").split(" | "))}
    assert "domain from 200 to 400 entries: look-up x" in done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start the other servers")
def test_other_servers_are_measured_or_named_as_missing():
    """Each peer is in the table, or is said not to be installed."""
    done = loadtest("compare", "--seconds", 0.1, "--connections", 2, "--entries", 50)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "forkpolicy" in done.stdout
    for name in ("postfwd1", "postfwd2", "mtpolicyd", "postgrey", "policyd-rate-limit"):
        assert f"\n{name} " in done.stdout or f"{name} is not installed" in done.stderr


def test_a_day_that_is_remembered(tmp_path):
    """Strangers come again, logins reach their limit: two workers give two locust processes no reply that is wrong."""
    words = ("--profile", "remembering", "--through", "protocol", "--transactions", 1200, "--processes", 2)
    done = loadtest("day", *words, "--users", 6, "--report", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Every verdict came, and every one was right." in done.stdout
    again = re.search(r"^verdicts +([0-9,]+) of \1 ", done.stdout, re.MULTILINE)
    assert again, done.stdout
    assert int(again[1].replace(",", "")) > 1400


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("5/4s", "6/4s", "6 passed within 4 s, and 5 may"),
        ("delay=3s", "delay=10s", "s before at least"),
        ("access trap catch\n", "", "it was on the list"),
    ],
)
def test_a_server_that_remembers_something_else_is_found_out(tmp_path, right, wrong, said):
    """A limit of one more, a longer delay, a list that stays empty."""
    day = Day(load_profile("remembering"))
    assert right in day.policy
    with Server(tmp_path / "server", day.policy.replace(right, wrong), sources=day.sources) as server:
        words = ("--profile", "remembering", "--socket", server.socket_path, "--transactions", 1200)
        done = loadtest("day", *words, "--report", tmp_path / "report")
    assert done.returncode == 1, done.stdout + done.stderr
    assert said in done.stdout


@pytest.mark.timeout(180)
def test_a_limit_is_exact_whatever_happens():
    """Two workers count together; one is killed and one stopped while it holds the lock."""
    words = ("--requests", 60000, "--limit", 21000, "--workers", 2, "--runs", 1, "--only", "kill,stop", "--json")
    done = loadtest("limit", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    (run,) = json.loads(done.stdout)
    assert (run["passed"], run["refused"]) == (21000, 39000)
    assert run["actions"]["kill"] >= 1


def test_what_is_remembered_is_measured_with_and_without():
    """Each policy next to the one without its ACL; one limit by one worker and by two."""
    words = ("--connections", 4, "--workers", "1,2", "--rounds", 2, "--seconds", 0.1, "--json")
    done = loadtest("bench-state", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert [row["policy"] for row in found["rows"] if row["added"] is not None] == [
        "rate of two windows",
        "greylisting, new triplets",
    ]
    assert [row["workers"] for row in found["shared"]] == [1, 2]


@pytest.mark.timeout(180)
def test_a_fire_drill_judges_every_reply():
    """A name server that lies, for clients that ask at the same time as others that need nothing."""
    words = ("--only", "lies", "--rounds", 2, "--seconds", 0.3, "--waiting", 10, "--rate", 200, "--json")
    done = loadtest("drills", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    (drill,) = json.loads(done.stdout)["drills"]
    assert drill["broken"] == []
    assert drill["replies"] == {"DUNNO": drill["asked"]}
    assert drill["asked"] >= 20


@pytest.mark.skipif(not shutil.which("redis-server"), reason="redis-server is not installed (tests/servers.sh)")
@pytest.mark.timeout(180)
def test_a_fire_drill_of_an_engine_counts_every_message_once():
    """It stops, and it dies and comes back empty."""
    words = ("--only", "stop,die", "--rounds", 1, "--seconds", 0.5, "--waiting", 10, "--rate", 200, "--json")
    done = loadtest("drills", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    stop, die = json.loads(done.stdout)["drills"]
    assert (stop["broken"], die["broken"]) == ([], [])
    assert stop["replies"] == {"DUNNO": stop["asked"]}
    assert "DEFER_IF_PERMIT 4.3.0 Policy temporarily unavailable" in die["replies"]


@pytest.mark.skipif(not shutil.which("redis-server"), reason="redis-server is not installed (tests/servers.sh)")
@pytest.mark.timeout(180)
def test_what_asks_the_world_is_measured_with_and_without():
    """Each policy next to the one without its ACL; one engine for two workers."""
    words = ("--connections", 4, "--workers", 2, "--rounds", 2, "--seconds", 0.1, "--json")
    done = loadtest("bench-world", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert [row["policy"] for row in found["rows"] if row["added"] is not None] == [
        "rate of two windows in the engine",
        "DNS list, cached: in no list",
        "DNS list, cached: listed",
        "DNS list, asked for each request",
        "SPF pass, cached DNS answers",
    ]
    assert [row["connections"] for row in found["shared"]] == [2, 64]


@pytest.mark.skipif(not shutil.which("postfwd1", path="/usr/sbin:/usr/bin"), reason="postfwd is not installed")
def test_what_an_import_costs_is_measured_next_to_postfwd():
    """Few and many imported rules decide in turn, and postfwd replies the same to the same requests."""
    done = loadtest("bench-import", "--rules", 500, "--rounds", 2, "--postfwd", 3, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["import of 500 rules, s"] > 0
    assert found["growth, median of rounds"] > 0
    assert found["times"] > 1


def test_what_a_history_costs_is_measured(tmp_path):
    """It is filled and searched while it grows, kept, and searched again; the ingester keeps up; the server logs."""
    words = ("--decisions", 1000, "--questions", 2, "--keep-up-seconds", 0.5, "--connections", 2, "--rounds", 2)
    done = loadtest("history", *words, "--seconds", 0.1, "--keep", tmp_path, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    filled = [row for row in found["fill"] if "ingest_us" in row]
    assert [row["decisions"] for row in filled] == [50, 100, 250, 500, 1000]
    assert 0 < filled[-1]["disk_bytes"] < filled[-1]["log_bytes"]
    assert found["what if"][0]["looked_at"] >= 1
    assert found["keep-up"][0]["caught_up_s"] < 30
    assert [row["server"] for row in found["server"]] == ["JSON log of all", "history of all", "both"]
    again = loadtest("history", "--again", tmp_path, "--parts", "fill", "--questions", 2, "--json")
    assert again.returncode == 0, again.stdout + again.stderr
    assert [row["by"] for row in json.loads(again.stdout)["again"]][:3] == ["recipient", "client", "sender"]
    refused = loadtest("history", "--keep", tmp_path, "--parts", "fill")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "has a history" in refused.stderr


def test_peers_that_remember_are_measured_or_named_as_missing():
    """A login's limit is tried on each server that has one."""
    done = loadtest("peers", "--connections", 2, "--rounds", 1, "--seconds", 0.3, "--json")
    if os.geteuid() != 0:
        assert done.returncode == 2
        assert done.stderr == "loadtest peers: only root can start the other servers as they are meant to run\n"
        return
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert {row["passed"] for row in rows if "limit per login" in row["job"]} == {"5 of 8"}
    assert not [row for row in rows if not row["cpu_us"] > 0]
