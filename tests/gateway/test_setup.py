"""`forkpolicy gateway setup`: what it shows, writes and refuses, with a real postconf(1)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from forkpolicy.errors import CannotWriteError, ConfigError
from forkpolicy.gateway.domains import parse_domains
from forkpolicy.gateway.setup.place import GatewayPlace
from forkpolicy.gateway.setup.policy_text import policy_files
from forkpolicy.replaced_files import write_files
from loadtest.servers.postfix import missing

DOMAINS = (
    "example.com relay:[192.0.2.5]:25 admins=Ann@example.com digest=daily\nexample.net smtp:[192.0.2.6] hold=8.5\n"
)
MAIN = "# by hand\nmyhostname = gateway.example.com\nmydestination = localhost\nsmtpd_helo_required = yes\n"
MASTER = "smtp inet n - y - - smtpd\ncleanup unix n - y - 0 cleanup\n"


def domains_of(text):
    """The domains of a file's text."""
    return parse_domains("domains", text)


def test_a_domains_file_has_a_domain_a_line():
    """Comments and blank lines are passed over; options have defaults."""
    first, second = domains_of(f"# served\n\n{DOMAINS}")
    assert (first.name, first.relay, first.admins) == ("example.com", "relay:[192.0.2.5]:25", ("ann@example.com",))
    assert (second.hold, second.verify, second.digest) == (8.5, True, "off")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("example.com", "expected the transport"),
        ("example.com 192.0.2.5", "expected the transport"),
        ("ann@example.com relay:[192.0.2.5]", "did you mean"),
        (".example.com relay:[192.0.2.5]", "a line of its own"),
        ("example.com relay:[192.0.2.5] digst=daily", "did you mean digest="),
        ("example.com relay:[192.0.2.5] digest=hourly", "off, daily, weekly"),
        ("example.com relay:[192.0.2.5] hold=much", "a score"),
        ("example.com relay:[192.0.2.5] verify=maybe", "yes or no"),
        ("example.com relay:[192.0.2.5] admins=ann", "addresses"),
        ("", "names no domain"),
    ],
)
def test_a_mistake_is_named_with_its_line(line, message):
    """What is wrong, where, and what was expected."""
    with pytest.raises(ConfigError) as caught:
        domains_of(f"# first\n{line}\n")
    assert message in str(caught.value)
    assert ("domains:2:" in str(caught.value)) is bool(line)


def test_all_mistakes_of_a_file_come_in_one_run():
    """Also a domain that is there twice, with the line of the first."""
    with pytest.raises(ConfigError) as caught:
        domains_of(f"{DOMAINS}example.com relay:[192.0.2.7]\nexample.org nowhere\n")
    assert "domains:3:" in str(caught.value)
    assert "line 1" in str(caught.value)
    assert "domains:4:" in str(caught.value)


def test_a_mistake_is_at_its_own_word():
    """Not at the first place with the same letters."""
    with pytest.raises(ConfigError) as caught:
        domains_of("digest.example relay:[192.0.2.5] digest\n")
    assert "domains:1:34:" in str(caught.value)


def test_another_file_is_not_a_thousand_messages():
    """Twenty mistakes, the number of the others, and what may be meant."""
    with pytest.raises(ConfigError) as caught:
        domains_of("all of this is prose, and so is the rest\n" * 500)
    assert len(str(caught.value).splitlines()) < 90
    assert "480 more mistakes" in str(caught.value)
    assert "is this the domains file?" in str(caught.value)


pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "Postfix is there")


@pytest.fixture
def site(tmp_path):
    """Directories as on a host that has a Postfix which somebody has configured."""
    for name in ("postfix", "rspamd", "forkpolicy"):
        (tmp_path / name).mkdir()
    (tmp_path / "postfix" / "main.cf").write_text(MAIN)
    (tmp_path / "postfix" / "master.cf").write_text(MASTER)
    (tmp_path / "forkpolicy" / "domains").write_text(DOMAINS)
    return tmp_path


def setup(site, *more):
    """Run the command there."""
    where = [f"--{name}={site / name}" for name in ("postfix", "rspamd", "forkpolicy")]
    command = [sys.executable, "-m", "forkpolicy", "gateway", "setup", *where, *more]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_without_write_it_shows_and_changes_nothing(site):
    """A difference of each file, and status 1."""
    done = setup(site)
    assert done.returncode == 1, done.stderr
    assert "+transport_maps = texthash:" in done.stdout
    assert "+quarantine" in done.stdout
    assert "gateway-transport" in done.stdout
    assert (site / "postfix" / "main.cf").read_text() == MAIN
    assert not (site / "rspamd" / "local.d").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="another user is needed: run as root")
def test_without_rights_it_says_who_has_them(site):
    """Nothing is written then."""
    os.seteuid(65534)
    try:
        with pytest.raises(CannotWriteError, match="cannot be written: permission denied: run this as root"):
            write_files(site / "postfix", {"main.cf": "", "other": ""}, {"main.cf": MAIN}, "gateway")
    finally:
        os.seteuid(0)
    assert (site / "postfix" / "main.cf").read_text() == MAIN


def test_what_it_writes_postfix_can_read(site):
    """postconf knows every parameter, what stood there by hand is still there, and a second run has nothing to do."""
    done = setup(site, "--write")
    assert "/dev/null /var/lib/forkpolicy-console/tables/user-block" in done.stdout
    assert done.returncode == 0, done.stderr
    assert "postfix reload" in done.stdout
    listed = subprocess.run(
        ["postconf", "-c", str(site / "postfix"), "-n"], capture_output=True, text=True, timeout=20, check=True
    )
    assert listed.stderr == ""
    assert "smtpd_helo_required = yes" in listed.stdout
    assert "policy_context=front" in listed.stdout
    assert (site / "postfix" / "main.cf").read_text().startswith("# by hand\n")
    assert (site / "postfix" / "main.cf.before-gateway").read_text() == MAIN
    # The command that it prints is about the same places.
    printed = done.stdout.splitlines()[-1].partition("#")[0].split()
    assert printed[:3] == ["forkpolicy", "gateway", "setup"]
    again = subprocess.run([sys.executable, "-m", *printed], capture_output=True, text=True, timeout=60, check=False)
    assert (again.returncode, "nothing to do" in again.stdout) == (0, True)


def test_it_says_what_to_run_next(site):
    """The first time the sockets of the store and its unit; later a reload."""
    first = setup(site, "--write").stdout.partition("next:")[2]
    assert f'policy = "gateway.conf",\' {site}/forkpolicy/forkpolicy.toml' in first
    assert "enable --now forkpolicy-store-policy.socket forkpolicy-store.socket" in first
    assert first.index("stop forkpolicy.service") < first.index("forkpolicy-store-policy.socket")
    with (site / "forkpolicy" / "domains").open("a") as file:
        file.write("example.org relay:[192.0.2.7]\n")
    later = setup(site, "--write").stdout.partition("next:")[2]
    assert "forkpolicy check && forkpolicy reload" in later
    assert "forkpolicy-store" not in later


def test_header_checks_of_the_administrator_stay(site):
    """Ours stand in front of them, once."""
    with (site / "postfix" / "main.cf").open("a") as main:
        main.write("header_checks = pcre:/etc/postfix/mine\n")
    for _ in range(2):
        assert setup(site, "--write").returncode == 0
    text = (site / "postfix" / "main.cf").read_text()
    assert f"header_checks = regexp:{site}/postfix/gateway-headers, pcre:/etc/postfix/mine\n" in text


def test_a_changed_domains_file_changes_maps_alone(site):
    """Postfix's parameters stay."""
    setup(site, "--write")
    before = (site / "postfix" / "main.cf").read_text()
    with (site / "forkpolicy" / "domains").open("a") as file:
        file.write("xn--bcher-kva.example relay:[192.0.2.7]\n")
    done = setup(site, "--write")
    assert done.returncode == 0, done.stderr
    assert (site / "postfix" / "main.cf").read_text() == before
    transports = (site / "postfix" / "gateway-transport").read_text()
    assert "xn--bcher-kva.example  relay:[192.0.2.7]\n" in transports
    assert "bücher.example  relay:[192.0.2.7]\n" in transports


def test_the_policy_is_the_administrators(site):
    """Once it is there it is not written again."""
    setup(site, "--write")
    (site / "forkpolicy" / "gateway.conf").write_text("# mine\n")
    assert setup(site).returncode == 0


def test_a_domain_that_postfix_delivers_itself_is_a_warning(site):
    """A domain in mydestination is never relayed."""
    (site / "postfix" / "main.cf").write_text(MAIN.replace("localhost", "localhost, example.com"))
    done = setup(site)
    assert "mydestination has example.com" in done.stdout


def test_a_host_without_main_cf_learns_what_to_do(site):
    """A fresh Debian has none."""
    (site / "postfix" / "main.cf").unlink()
    done = setup(site)
    assert done.returncode == 78
    assert "dpkg-reconfigure postfix" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def explain(tmp_path):
    """The action that the shipped policy gives."""
    place = GatewayPlace(forkpolicy=str(tmp_path), console_tables=str(tmp_path / "lists"))
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "user-welcome").write_text("alice@example.com news@shop.example\n")
    (lists / "user-block").write_text("bob@example.com loud.example\n")
    for name, text in policy_files(domains_of(DOMAINS), place).items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text.replace(" postconf:mynetworks", ""))
    settings = tmp_path / "forkpolicy.toml"
    settings.write_text('policy = "gateway.conf"\ntables = "compiled"\n')
    (tmp_path / "compiled").mkdir()
    compiler = shutil.which("forkpolicy-compile", path=f"{sys.prefix}/bin")
    subprocess.run([compiler, "-c", settings], check=True, timeout=60, capture_output=True)

    def ask(**attributes):
        words = [f"{name}={value}" for name, value in attributes.items()]
        command = [sys.executable, "-m", "forkpolicy", "explain", "-c", str(settings), "--json", *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert '"action"' in done.stdout, done.stderr
        return done.stdout.partition('"action": "')[2].partition('"')[0]

    return ask


FORGED = {"sender": "boss@example.com", "recipient": "alice@example.com", "client_address": "203.0.113.9"}
SPAM = {"policy_context": "held-spam", "client_address": "203.0.113.9", "sender": "news@shop.example"}


@pytest.mark.parametrize(
    ("attributes", "action"),
    [
        ({**FORGED, "policy_context": "front"}, "REJECT"),
        ({**FORGED, "policy_context": "late"}, "DUNNO"),
        ({**FORGED, "policy_context": "front", "sender": "x@loud.example", "recipient": "bob@example.com"}, "REJECT"),
        ({**SPAM, "recipient": "alice@example.com", "spam_auth": "pass"}, "OK"),
        ({**SPAM, "recipient": "alice@example.com", "spam_auth": ""}, "HOLD"),
        ({**SPAM, "recipient": "bob@example.com", "spam_auth": "pass"}, "HOLD"),
        ({**SPAM, "policy_context": "held-policy", "recipient": "bob@example.com"}, "HOLD"),
    ],
)
def test_the_shipped_policy_decides(explain, attributes, action):
    """Forged mail is refused in front, a block refuses, a welcome needs to be vouched for, and held mail stays."""
    assert explain(**attributes).startswith(action)
