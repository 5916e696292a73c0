"""What the load tests rest on: an oracle that is right, days that repeat, latencies that add up, charts that draw."""

from __future__ import annotations

import contextlib
import ipaddress
import itertools
import os
import pathlib
import random
import re
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

from forkpolicy.tables.reader import open_table
from loadtest.__main__ import main
from loadtest.clients import generator
from loadtest.clients.rounds import Outcome
from loadtest.commands import latency, limit, policies, tables, workers
from loadtest.errors import SetupError
from loadtest.measure import flatness
from loadtest.measure.calls import ROUNDS, calls_us
from loadtest.measure.histogram import Histogram, write_log
from loadtest.measure.report import Run, charts, page, text
from loadtest.measure.results import Results, merged
from loadtest.measure.sampler import Sample
from loadtest.measure.svg import Line, chart
from loadtest.servers.earlier import CHECKOUT, earlier_build
from loadtest.servers.peers import PEERS
from loadtest.servers.server import Server
from loadtest.tables import pairs
from loadtest.tables.compiled import compile_sample
from loadtest.tables.lists import write_lines
from loadtest.traffic.mail import Transaction, policy_request, unquoted
from loadtest.traffic.oracle import Oracle, domain_of
from loadtest.traffic.policy_shapes import SHAPES
from loadtest.traffic.profile import load_profile, names
from loadtest.traffic.traffic import Day

ORACLE = Oracle(["192.0.2.0/24", "2001:db8:1::/48"], ["example.com", ".example.net"])
FORGED = Transaction("forged", "203.0.113.9", "alice@example.com", ("bob@x.example.net",))


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        ({}, True),
        ({"client": "2001:db8:2::1"}, True),
        ({"client": "192.0.2.255"}, False),
        ({"client": "::ffff:192.0.2.1"}, False),
        ({"client": "2001:db8:1:ffff::1"}, False),
        ({"sender": ""}, False),
        ({"sender": "alice@EXAMPLE.COM."}, True),
        ({"sender": '"a@example.com"@example.org'}, False),
        ({"sender": "alice@example.net"}, False),
        ({"login": "alice"}, False),
        ({"login": "alice", "wrong_password": True}, True),
    ],
)
def test_the_oracle_knows_the_founding_rule(change, refused):
    """From us to us, from outside, not signed in: and in no other case."""
    fields = {name: getattr(FORGED, name) for name in FORGED.__slots__} | change
    assert ORACLE.refuses(Transaction(**fields), "bob@x.example.net") is refused


def test_a_day_repeats_by_its_seed():
    """The same profile and seed give the same mails; another seed gives others."""
    days = [list(Day(load_profile("small", transactions=200, seed=seed)).mails()) for seed in (1, 1, 2)]
    assert days[0] == days[1]
    assert days[0] != days[2]


def test_a_part_of_a_day_is_the_same_as_in_the_whole():
    """Its mails are those of the day that come in that time, number by number, and no others."""
    profile = load_profile("founding", transactions=2400)
    part = list(Day(profile, "08:30-10:15").mails())
    whole = [mail for mail in Day(profile).mails() if 8.5 * 3600 <= mail.at_s < 10.25 * 3600]
    assert part == whole
    assert len(part) > 100


def test_a_part_of_a_large_day_ends_at_once():
    """The rest of the day is not made to find out that there is no more: users would wait for it."""
    part = Day(load_profile("provider", extra_domains=0, extra_networks=0), "09:00-09:01").mails()
    assert sum(1 for _ in itertools.takewhile(lambda mail: mail.at_s < 9 * 3600 + 59, part)) > 5000
    began_s = time.process_time()
    assert sum(1 for _ in part) < 200
    assert time.process_time() - began_s < 1


@pytest.mark.parametrize("words", ["9-10", "10:00-09:00", "09:00-24:01", "09:61-10:00", "morning"])
def test_what_is_not_a_part_of_a_day_is_refused(words):
    """With what was expected."""
    with pytest.raises(SetupError, match="is not a part of a day: expected"):
        Day(load_profile("small"), words)


@pytest.mark.parametrize("name", names())
def test_a_built_in_profile_holds_its_shares(name):
    """Every profile has as many mails as it says, in the order of the day, and its kinds in their shares."""
    profile = load_profile(name, transactions=3000)
    mails = list(Day(profile).mails())
    assert len(mails) == 3000
    assert [mail.at_s for mail in mails] == sorted(mail.at_s for mail in mails)
    assert 0 <= mails[0].at_s <= mails[-1].at_s < 86400
    forged = sum(mail.mail.kind == "forged" for mail in mails) / 3000
    assert forged == pytest.approx(profile.shares["forged"], abs=0.05)
    assert any(any(mail.refused) for mail in mails)
    assert any(not all(mail.refused) for mail in mails)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("transactions", "transaction", 'unknown setting "transaction"'),
        ("forged", "forgd", 'unknown kind of mail "forgd": did you mean "forged"?'),
        ("forged = 0.40", "forged = 0.90", "the shares add up to 1.5, expected 1"),
        ("192.0.2.0/24", "192.0.2.1/24", "has host bits set"),
        ("[1, 1,", "[1,", "hours: expected 24 values, got 23"),
        ("1, 1]", "1, -1]", "expected 24 numbers, none below 0"),
        ("hours = [", f"hours = [{'0, ' * 24}] # [", "hours: no mail comes in any hour"),
        ("transactions = 5000", 'transactions = "many"', 'transactions: expected a number of at least 1, got "many"'),
        ("transactions = 5000", "transactions = 0", "transactions: expected a number of at least 1, got 0"),
        (
            "transactions = 5000",
            "transactions = 9\nextra_domains = -1",
            "extra_domains: expected a number of at least 0, got -1",
        ),
        (
            '["example.com", "example.net", ".example.net"]',
            '"example.com"',
            'domains: expected a list of texts, got "example.com"',
        ),
        ('["198.18.0.0/15", ', "[5, ", "outside: expected a list of texts, got"),
        ("forged = 0.40", "forged = true", "'forged': True"),
        ("[shares]", "[shares", "not TOML: Expected"),
    ],
)
def test_a_mistake_in_a_profile_is_said(tmp_path, old, new, words):
    """Unknown keys, sums that are no sums, networks that are none: one line each, with what was meant."""
    from loadtest.traffic.profile import PROFILES

    path = tmp_path / "mine.toml"
    path.write_text((PROFILES / "small.toml").read_text().replace(old, new))
    with pytest.raises(SetupError, match=r"mine\.toml:\d+") as raised:
        load_profile(str(path))
    assert words in str(raised.value)


def test_a_hundred_thousand_networks_are_networks():
    """As many as a large provider has: each is one, none twice, and none has another inside."""
    day = Day(load_profile("bench", extra_networks=100_000, extra_domains=0))
    networks = [ipaddress.ip_network(network) for network in day.networks]
    assert len(set(networks)) == 100_003
    assert {(network.version, network.prefixlen) for network in networks[3:]} == {(4, 24), (6, 32)}


def test_what_is_right_for_a_peer():
    """Each has its own words, and postfwd knows no network of IPv6."""
    day = Day(load_profile("bench", transactions=1, extra_networks=0, extra_domains=0))
    right = {peer.name: peer.right(day) for peer in PEERS}
    inside_ipv6 = replace(FORGED, client="2001:db8:1::1", recipients=("bob@x.example.net",))
    elsewhere = replace(FORGED, sender="alice@example.org")
    answers = {
        name: [judge(mail, "bob@x.example.net") for mail in (FORGED, inside_ipv6, elsewhere)]
        for name, judge in right.items()
    }
    no, fine, later = b"action=REJECT no\n\n", b"action=DUNNO\n\n", b"action=DEFER_IF_PERMIT 4.2.0 Greylisted"
    assert answers["postfwd1"] == answers["postfwd2"] == [no, no, fine]
    assert answers["mtpolicyd"] == [no.replace(b"REJECT", b"reject"), *[fine.replace(b"DUNNO", b"dunno")] * 2]
    assert answers["postgrey"] == [later, fine, later]
    assert answers["policyd-rate-limit"] == [b"action=dunno\n\n"] * 3


def test_a_ratio_is_that_of_the_median_round():
    """One round in which the machine was busy does not move it."""
    mine, its = Outcome(cpu_us=[10.0, 30.0, 11.0]), Outcome(cpu_us=[5.0, 5.0, 5.0])
    assert mine.ratio_to(its) == 2.2


def test_latency_is_a_table_for_people():
    """One line says of which rate a part is offered; below it the servers at that rate."""
    rows = [
        latency.Row(name, part, "forkpolicy", 100_000 * part, 49_900, 5.25, 28, 1_100, 2_200, 900, 1_000, 7, 8, 0.25)
        for part in (0.5, 0.8)
        for name in ("C echo", "forkpolicy")
    ]
    head = {"machine": "m", "load_average": 0.1, "python": "p", "optimised": True, "rounds": "2 rounds"}
    said = latency.table(head, rows)
    assert said.startswith("m; load average before: 0.1\np\n2 rounds\n\n")
    assert re.findall(r"^at .*", said, re.MULTILINE) == [
        f"at {part} of what forkpolicy can do, 100,000 requests/s" for part in ("50%", "80%")
    ]
    assert said.count("C echo") == 2
    assert ["forkpolicy", "50,000", "49,900", "5.25", "28", "1,100", "2,200", "900", "1,000", "7", "8"] in [
        line.split() for line in said.splitlines()
    ]
    assert said.endswith("Other processes kept up to 0.2 cores busy.")


TITLES = {1: "master", 2: "log", 3: "worker 0", 4: "worker 1"}


def test_the_time_of_all_cores_is_accounted_for():
    """What the machine did and we did not is others', what nobody used is idle, an echo server's is a worker's."""
    outcome = Outcome(process_us={1: 0.0, 2: 1e5, 3: 6e5, 4: 3e5}, generator_us=5e5, machine_us=2e6, seconds=2.0)
    found = workers.spent(outcome, TITLES, cores=2)
    assert found == pytest.approx(
        {"workers": 0.45, "log": 0.05, "master": 0.0, "generator": 0.25, "others": 0.25, "idle": 1.0}
    )
    assert workers.busiest(outcome, TITLES) == pytest.approx(4 / 3)
    # A clock in steps of 10 ms may count less than the processes do.
    outcome = Outcome(process_us={9: 1e6}, generator_us=1e6, machine_us=1.99e6, seconds=1.0)
    found = workers.spent(outcome, {9: "9"}, cores=2)
    assert (found["workers"], found["others"], found["idle"]) == (1.0, 0.0, 0.0)


def test_policies_of_one_kind_take_turns():
    """What differs in the number of rules alone is measured in the same rounds, the fewest first."""
    together = policies.kinds("")
    assert [f"{count} rules of one ACL" for count in (10, 100, 1000, 10_000)] in together
    assert ["10 rules of two ACLs", "10000 rules of two ACLs"] in together
    assert ["the founding rule"] in together
    assert sorted(shape for shapes in together for shape in shapes) == sorted(SHAPES)
    assert policies.kinds("networks") == [["7 networks"]]


def test_a_full_disk_is_said_in_one_line():
    """Lists of millions need hundreds of megabytes: where they do not fit, the place and what to do."""
    with pytest.raises(SetupError, match=r"^cannot write /dev/full: No space left on device: .* TMPDIR"):
        write_lines(pathlib.Path("/dev/full"), ["192.0.2.0/24\n"])


def test_look_ups_in_several_tables_take_turns():
    """Other work on the machine meets all of them: each is asked once in each round."""
    asked = []
    found = calls_us([(lambda text: asked.append(f"small {text}"), ["a"]), (asked.append, ["b", "c"])])
    assert asked == ["small a", "b", "c"] * ROUNDS
    assert [len(rounds) for rounds in found] == [ROUNDS] * 2


@pytest.mark.parametrize("shape", pairs.SHAPES)
def test_shapes_of_pairs_compile_and_half_of_the_questions_find_an_entry(tmp_path, monkeypatch, shape):
    """pair-forms was written as another kind than its lines are, and the command ended."""
    monkeypatch.setattr(pairs, "QUESTIONS", 200)
    sample = pairs.generate_pairs(shape, 200, tmp_path)
    compile_sample(sample, tmp_path)
    table = open_table(str(tmp_path / "tables" / "t.lmdb"), "t", sample.kind)
    try:
        find = sample.asking(table.find)
        found = sum(find(question) is not None for question in sample.questions)
        assert sum(not question[1].startswith("x") for question in sample.questions) <= found < len(sample.questions)
    finally:
        table.close()


def test_growth_of_tables_is_ours_in_the_median_round_and_the_others_as_measured():
    """A machine that was busy for one of the two sizes does not make our tables look better or worse."""
    titles = ["kind", "entries", "look-up us", "dict us", "postmap -q us"]
    rows = ["cidr", "1,000", 0.5, 1.0, 2.0], ["cidr", "5,000,000", 2.0, 4.0, "more than 60 s to load"]
    said = tables.growth(titles, *rows, {"look-up us": 2.25})
    assert said == "cidr from 1,000 to 5,000,000 entries: look-up x 2.2, dict x 4.0"
    assert tables.growth(titles, rows[0], rows[0], {}) == ""


def test_several_workers_are_two_tables_for_people():
    """Rates and costs, then cores; without an echo server there is a dash."""
    cores = {"workers": 1.25, "log": 0.05, "master": 0.0, "generator": 0.45, "others": 0.05, "idle": 0.2}
    rows = [
        workers.Row("forkpolicy", number, 50_000 * number, number, 9, 10, ratio, 3.25, 9_700, 1.02, cores)
        for number, ratio in ((1, None), (2, 3.5))
    ]
    head = {"machine": "m", "load_average": 0.1, "python": "p", "optimised": True, "rounds": "2 rounds"}
    said = [line.split() for line in workers.table(head, rows).splitlines()]
    assert ["forkpolicy", "1", "50,000", "1.00", "9.00", "10.00", "-", "3.25", "9,700"] in said
    assert ["forkpolicy", "2", "100,000", "2.00", "9.00", "10.00", "3.50", "3.25", "9,700"] in said
    assert ["forkpolicy", "2", "1.02", "1.25", "0.05", "0.00", "0.45", "0.05", "0.20"] in said


def test_an_earlier_build_is_that_commit(tmp_path):
    """Also when it runs in the checkout of today, whose files it does not read."""
    earlier = earlier_build("HEAD", tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", "import forkpolicy.settings as it; print(it.__file__)"],
        env={**os.environ, **earlier.environment},
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == str(tmp_path / "forkpolicy" / "settings.py")


def test_without_postfix_a_day_says_what_to_install_and_how_to_do_without(monkeypatch, capsys):
    """One line with the package and the way to leave it out, and the exit status of a wrong set-up."""
    monkeypatch.setattr("loadtest.servers.postfix.shutil.which", lambda *_, **__: None)
    assert main(["day"]) == 2
    said = capsys.readouterr().err
    assert (
        "loadtest day: Postfix is not installed: apt-get install postfix; or leave it out: --through protocol" in said
    )


def test_an_unknown_profile_names_the_known_ones():
    """A misspelt name is answered with the list."""
    with pytest.raises(SetupError, match="built in are attack, bench, founding, provider, remembering, small"):
        load_profile("foundling")


def test_a_request_is_what_postfix_sends():
    """The same attributes in the same order as a captured request, and addresses in Postfix's internal form."""
    import pathlib

    captured = (pathlib.Path(__file__).parent.parent / "captures" / "70-sasl-plain.rcpt.txt").read_text()
    made = policy_request(FORGED, '"a@b"@example.com').decode()
    assert [line.partition("=")[0] for line in made.rstrip("\n").split("\n")] == [
        line.partition("=")[0] for line in captured.rstrip("\n").split("\n")
    ]
    assert "\nrecipient=a@b@example.com\n" in made
    assert made.endswith("\n\n")
    assert unquoted(r'"a\"b"@example.com') == 'a"b@example.com'
    assert domain_of("postmaster") == ""


def test_a_histogram_is_right_within_two_percent():
    """Percentiles of random latencies are those of the sorted list, but for the width of a bucket."""
    rng = random.Random(1)
    latencies = sorted(int(rng.lognormvariate(6, 2)) for _ in range(5000))
    first, second = Histogram(), Histogram()
    for index, latency_us in enumerate(latencies):
        (first if index % 2 else second).record(latency_us)
    first.add(second)
    assert first.total == 5000
    for percent in (50, 90, 99, 99.9):
        exact = latencies[int(len(latencies) * percent / 100) - 1]
        assert first.percentile(percent) == pytest.approx(exact, rel=0.02, abs=1)
    assert Histogram(first.encoded()).encoded() == first.encoded()


def test_a_latency_beyond_all_bounds_is_counted():
    """An hour and more is an hour; what a clock gives below nothing is nothing."""
    histogram = Histogram()
    histogram.record(10**12)
    histogram.record(-5)
    assert histogram.total == 2
    assert histogram.highest() == pytest.approx(3.6e9, rel=0.01)


def test_latencies_are_written_for_the_tools_of_hdrhistogram(tmp_path):
    """A line for each second, with its time, which their reader gives back."""
    seconds = [Histogram(), Histogram()]
    seconds[0].record(100, 3)
    seconds[1].record(20_000)
    write_log(tmp_path / "latency.hlog", zip((1_000_000_000.0, 1_000_000_001.0), seconds, strict=True))
    with contextlib.closing(HistogramLogReader(str(tmp_path / "latency.hlog"), HdrHistogram(1, 10**10, 2))) as reader:
        first, second = iter(reader.get_next_interval_histogram, None)
    assert (first.get_total_count(), first.get_max_value(), second.get_total_count()) == (3, 100, 1)
    assert second.get_max_value() == pytest.approx(20_000, rel=0.01)
    assert second.get_start_time_stamp() - first.get_start_time_stamp() == 1000


def a_run(results, expected):
    """A run with one sample and one event."""
    return Run("A <day>", "python -m loadtest day", results, expected, events=[(1.0, "reload: done")])


def test_results_of_processes_add_up(tmp_path):
    """The results of several processes add up: every wrong verdict and lost reply is counted."""
    for number in range(3):
        results = Results()
        results.verdict("forged", refused=True, right=True, latency_us=100, words="")
        results.verdict("bounce", refused=True, right=False, latency_us=300, words=f"wrong {number}")
        results.loss(f"lost {number}")
        results.write(tmp_path / f"{number}.json")
    total = merged(tmp_path.glob("*.json"))
    assert (total.replies, total.wrong_count, total.lost_count) == (6, 3, 3)
    assert total.latency().total == 6
    assert sorted(total.wrong) == ["wrong 0", "wrong 1", "wrong 2"]


def test_the_slowest_replies_are_kept_with_their_second(tmp_path):
    """Of all processes together, the five slowest, the worst one last; each with when it came and what it was about."""
    for number in range(2):
        results = Results()
        for latency_us in range(100 * number, 100 * number + 20):
            results.verdict("forged", refused=True, right=True, latency_us=latency_us, words=f"mail {latency_us}")
        results.write(tmp_path / f"{number}.json")
    slowest = merged(tmp_path.glob("*.json")).slowest
    assert [(us, words) for us, _, words in slowest] == [(us, f"mail {us}") for us in range(115, 120)]
    assert all(0 <= at_s < 5 for _, at_s, _ in slowest)
    run = a_run(Results(), 0)
    run.results.slowest = slowest
    assert "119 us, at 0.0 s: mail 119" in text(run)


def a_sample(at_s, anonymous_kib, descriptors):
    """A look at processes by their ids."""
    return Sample(at_s, dict.fromkeys(anonymous_kib, 0.0), anonymous_kib, anonymous_kib, descriptors)


def test_what_grows_through_a_run_is_found():
    """Memory by a fifth, descriptors by more than what is chance; a worker that was born later is not looked at."""
    samples = []
    for at_s in range(100):
        memory = {1: 1000, 2: 1000 + 5 * at_s, 3: 1000}
        descriptors = {1: 20 + at_s % 8, 2: 10, 3: 10 + at_s // 5}
        if at_s > 50:
            memory[4], descriptors[4] = 10 * at_s, at_s
        samples.append(a_sample(at_s, memory, descriptors))
    found = flatness.lives(samples, {1: "master", 2: "worker 0", 3: "worker 1", 4: "worker 2"})
    assert [(life.title, life.grown(spare_descriptors=8)) for life in found] == [
        ("master", False),
        ("worker 0", True),
        ("worker 1", True),
    ]
    assert not flatness.lives(samples[:20], {})
    assert flatness.table([]) == ["Too short to say whether memory and descriptors are flat."]


def test_a_run_fails_for_what_else_went_wrong():
    """A reload that was refused, a process that grew: as bad as a wrong verdict, and named."""
    results = Results()
    results.verdict("forged", refused=True, right=True, latency_us=100, words="")
    run = a_run(results, 1)
    run.failures = ["worker 0 has grown"]
    assert not run.good
    assert "1 other failures.\n  failed: worker 0 has grown" in text(run)
    assert "<pre>worker 0 has grown</pre>" in page(run)


def test_a_long_run_is_drawn_with_as_many_points_as_there_is_room_for():
    """An hour's charts are no larger than those of ten minutes, and a second that was slow can still be seen."""
    results = Results()
    for second in range(3600):
        results.start_s = time.time() - second
        results.verdict("forged", refused=True, right=True, latency_us=90_000 if second == 1800 else 100, words="")
    drawn = charts(a_run(results, 3600))
    assert all(len(points.split()) <= 600 for chart in drawn for points in re.findall(r'points="([^"]*)"', chart))
    assert "100,000" in drawn[2]


def test_a_report_says_what_was_wrong():
    """Page and text name each wrong verdict, escape what came from outside, and load nothing from anywhere."""
    results = Results()
    results.verdict("forged", refused=False, right=False, latency_us=100, words="forged: <script>")
    run = a_run(results, 2)
    assert not run.good
    assert run.missing == 1
    assert "1 wrong verdicts, 0 lost replies, 1 never asked for." in text(run)
    html = page(run)
    assert "forged: &lt;script&gt;" in html
    assert "<script>" not in html
    assert "src=" not in html
    assert "href=" not in html


def test_a_report_of_nothing_is_one():
    """Nobody asked anything: no charts, and no error."""
    assert "Verdicts: nothing was measured." in page(a_run(Results(), 0))
    assert "0 of 1" in text(a_run(Results(), 1))


def test_a_report_of_a_good_run_says_so():
    """Everything came and was right."""
    results = Results()
    results.verdict("forged", refused=True, right=True, latency_us=100, words="")
    assert "Every verdict came, and every one was right." in text(a_run(results, 1))


@pytest.mark.parametrize("points", [[], [(0, 0)], [(0, 0), (1, 0)], [(5, 3), (9, 2_000_000)]])
@pytest.mark.parametrize("logarithmic", [True, False])
def test_a_chart_draws_whatever_there_is(points, logarithmic):
    """No points, one point, only zeros, a wide range: a drawing or a sentence, never an error."""
    assert chart("Rate", "a second", [Line("all", points)], logarithmic=logarithmic).startswith(("<svg", "<p>"))


@pytest.mark.parametrize("is_native", [True, False])
def test_a_generator_numbers_its_requests(tmp_path, monkeypatch, is_native):
    """Each SERIAL becomes what no other request has, also after a start; the length stays."""
    if not is_native:
        monkeypatch.setattr(generator, "program", lambda _: None)
    elif generator.program("generate") is None:
        pytest.skip("no C compiler")
    text = b"instance=[SERIAL].1\nsender=a[SERIAL]@example.com\n\n"
    seen = []
    for _ in range(2):
        with echoing(tmp_path / "echo", seen):
            load = generator.run(tmp_path / "echo", [(text, b"action=DUNNO\n\n")], connections=3, seconds=0.05)
            assert load.replies > 3
            assert not load.wrong
    found = [re.fullmatch(rb"instance=([0-9a-v]{8})\.1\nsender=a([0-9a-v]{8})@example\.com\n\n", each) for each in seen]
    assert all(each and each[1] == each[2] for each in found)
    assert len({each[1] for each in found}) == len(seen)


@contextlib.contextmanager
def echoing(path, seen):
    """A server that notes each request."""
    path.unlink(missing_ok=True)

    def handle(connection):
        with connection:
            while request := connection.recv(4096):
                seen.append(request)
                connection.send(b"action=DUNNO\n\n")

    def accept():
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=handle, args=[listener.accept()[0]], daemon=True).start()

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize(
    ("changes", "is_broken"),
    [
        ({}, False),
        ({"passed": 8}, True),
        ({"passed": 6}, True),
        ({"passed": 7, "asked_again": 1}, True),  # nobody was killed
        ({"passed": 7, "asked_again": 1, "actions": {"kill": 1}}, False),
        ({"passed": 8, "asked_again": 1, "actions": {"kill": 1}}, True),
    ],
)
def test_a_limit_lets_exactly_as_many_pass(changes, is_broken):
    """More or fewer fail the run; lost connections are for killed workers only."""
    outcome = limit.Outcome(7, 10, **{"passed": 7, **changes})
    outcome.refused = 10 - outcome.passed
    assert any(limit.broken(outcome, limit.Clients("", "", 10, 1))) is is_broken


@pytest.mark.parametrize("size", ["16M", ""])
def test_settings_for_an_earlier_build_have_no_section_that_it_does_not_know(tmp_path, size):
    """What the policy remembers has a section only where it is wanted."""
    server = Server(tmp_path, "acl a size 1\naccess a\n", map_size=size)
    assert ("[state]" in server.settings.read_text()) is bool(size)
