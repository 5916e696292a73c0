"""What `forkpolicy init` says where it cannot draft or write, and what it keeps."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from forkpolicy.commands import main
from forkpolicy.postfix import postconf

MAIN = "compatibility_level = 3.6\nmyhostname = mail.example.com\nmydestination = example.com\n"
MASTER = "smtp inet n - y - - smtpd\n"


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A function that writes main.cf, and returns options for init."""
    etc = tmp_path / "etc"
    etc.mkdir()

    def configure(text=MAIN, master=MASTER):
        for name, content in (("main.cf", text), ("master.cf", master)):
            (etc / name).write_text(content)
            os.utime(etc / name, (0, 0))
        return ["--postfix", str(etc), "-c", str(tmp_path / "forkpolicy" / "forkpolicy.toml")]

    monkeypatch.delenv("MAIL_CONFIG", raising=False)
    return configure


def init(capsys, *options):
    """Exit status, standard output, standard error."""
    status = main(["init", *options])
    said = capsys.readouterr()
    return status, said.out, said.err


TROUBLE = [
    (
        "mydestination =\nrelayhost = [smtp.example.net]\n",
        [],
        78,
        "a host that receives no mail needs no policy server",
    ),
    ("mydestination =\nrelay_domains = example.org\n", [], 78, "it relays example.org: if no other host receives mail"),
    ("mydestination =\nvirtual_mailbox_domains = static:all\n", [], 78, "name your domains: --domain example.com"),
    ("mydestination = hash:/nowhere/map\n", [], 78, "/nowhere/map"),
    ("mydestination =\n", ["--domain", ".example.com"], 78, "name its domains: --domain example.com"),
    (f"{MAIN}\n  = what\nno equals sign\n", [], 2, "main.cf"),
    (MAIN, ["--domain", "not a name"], 2, "--domain not a name: "),
]


@pytest.mark.parametrize(("text", "options", "status", "said"), TROUBLE, ids=lambda value: str(value)[-30:])
def test_why_there_is_no_draft(site, capsys, text, options, status, said):
    """Where, what, and what to do; no output, no files."""
    found, out, err = init(capsys, *site(text), *options, "--write")
    assert found == status, err
    assert said in err
    assert "Traceback" not in err
    assert out == ""


def test_no_postfix_is_there(capsys, tmp_path, monkeypatch):
    """Neither a configuration nor postconf itself."""
    options = ["-c", str(tmp_path / "forkpolicy.toml")]
    status, _, err = init(capsys, *options, "--postfix", str(tmp_path / "nowhere"))
    assert status == 2
    assert "main.cf" in err
    monkeypatch.setattr(postconf, "_SBIN", "")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert init(capsys, *options) == (2, "", "postconf is not installed: is there a Postfix on this machine?\n")


def test_nothing_is_written_without_being_asked(site, capsys, tmp_path):
    """The draft is shown, and the next command is the one that writes it."""
    options = site()
    status, out, _ = init(capsys, *options)
    assert status == 0
    assert [path.name for path in tmp_path.iterdir()] == ["etc"]
    assert f"forkpolicy init -c {options[3]} --postfix {options[1]} --write" in out


def test_another_postfix_is_copied_from(site, capsys, tmp_path):
    """`postconf:` sources would read the system's Postfix, so its lists go into files."""
    _, out, _ = init(capsys, *site(), "--write")
    policy = (tmp_path / "forkpolicy" / "policy.conf").read_text()
    assert "postconf:" not in next(line for line in policy.splitlines() if line.startswith("table"))
    assert "example.com" in (tmp_path / "forkpolicy" / "tables" / "local-domains").read_text().splitlines()
    assert "its lists were copied into" in out


def test_replaced_files_are_kept(site, capsys, tmp_path):
    """Each time under a free name, with owner and mode; the new file has the mode of the old one."""
    options = site()
    ours = tmp_path / "forkpolicy"
    ours.mkdir()
    policy = ours / "policy.conf"
    for number, name in enumerate(("policy.conf.before-init", "policy.conf.before-init.2")):
        policy.write_text(f"# mine {number}\n")
        policy.chmod(0o640)
        _, out, _ = init(capsys, *options)
        assert f"-# mine {number}" in out
        assert "--replace --write" in out
        status, _, err = init(capsys, *options, "--write")
        assert (status, f"{policy}: has rules or settings that init did not write" in err) == (78, True)
        assert f"That replaces {policy}, each of which is kept as NAME.before-init." in out
        assert policy.read_text() == f"# mine {number}\n"
        _, out, _ = init(capsys, *options, "--write", "--replace")
        assert f"wrote {policy}, the previous one is {ours / name}" in out
        assert (ours / name).read_text() == f"# mine {number}\n"
        assert [path.stat().st_mode & 0o777 for path in (policy, ours / name)] == [0o640, 0o640]
    assert not list(ours.glob(".*"))


def test_entries_that_people_add_stay(site, capsys, tmp_path):
    """A second run adds what is new in Postfix, and a file that is not a draft is replaced."""
    options = site()
    init(capsys, *options, "--write")
    table = tmp_path / "forkpolicy" / "tables" / "local-domains"
    table.write_text(table.read_text() + "# by hand\nexample.net\n")
    site(MAIN.replace("mydestination = example.com", "mydestination = example.com example.org"))
    assert init(capsys, *options, "--write")[0] == 0
    lines = table.read_text().splitlines()
    assert lines[-4:] == ["example.com", "# by hand", "example.net", "example.org"]


def test_samples_and_drafts_are_replaced_as_they_are(site, capsys, tmp_path):
    """The digest in the samples is right, and an edited draft is not replaced."""
    options, ours = site(), tmp_path / "forkpolicy"
    shutil.copytree(Path(__file__).parents[2] / "conf", ours)
    assert init(capsys, *options, "--write")[0] == 0
    site(MAIN.replace("mail.example.com", "mx.example.com"))
    assert init(capsys, *options, "--write")[0] == 0
    settings = ours / "forkpolicy.toml"
    settings.write_text(settings.read_text().replace("mx.example", "smtp.example"))
    before = settings.read_text()
    status, _, err = init(capsys, *options, "--write")
    assert (status, settings.read_text()) == (78, before), err


def test_an_instance_has_everything_of_its_own(site, capsys, tmp_path):
    """By the name of its directory, as the template units have it."""
    settings = tmp_path / "forkpolicy-outbound" / "forkpolicy.toml"
    _, out, _ = init(capsys, *site()[:2], "-c", str(settings), "--write")
    text = settings.read_text()
    for expected in (
        'tables = "/var/lib/forkpolicy-outbound/tables"',
        'private/policy-outbound"]',
        'control = "unix:/run/forkpolicy-outbound/control"',
        'kept = "/var/lib/forkpolicy-outbound/state"',
    ):
        assert expected in text
    assert "systemctl enable --now forkpolicy@outbound.socket forkpolicy@outbound.service" in out
    assert "check_policy_service { unix:private/policy-outbound, " in out


def test_places_that_cannot_be_read_or_written(site, capsys, tmp_path):
    """The file, and the reason."""
    options = site()
    status, _, err = init(capsys, *options[:2], "-c", "/proc/forkpolicy/forkpolicy.toml", "--write")
    assert status == 73
    assert "/proc/forkpolicy" in err
    (tmp_path / "forkpolicy" / "policy.conf").mkdir(parents=True)
    status, _, err = init(capsys, *options)
    assert status == 78
    assert "policy.conf: cannot be read: is a directory" in err


def test_a_proxy_in_front_names_the_clients(site, capsys):
    """A service on 127.0.0.1 is for this machine's programs, but not behind HAProxy."""
    near = "127.0.0.1:10025 inet n - n - - smtpd\n"
    _, out, _ = init(capsys, *site(master=near))
    assert "nobody would ask the policy" in out
    _, out, _ = init(capsys, *site(master=near + "  -o smtpd_upstream_proxy_protocol=haproxy\n"))
    assert "127.0.0.1:10025/inet    mail from outside" in out


def test_a_python_that_cannot_be_run_again(site, capsys, monkeypatch, tmp_path):
    """The trial runs commands; why it cannot is said, without a traceback."""
    options = site()
    monkeypatch.setattr("sys.executable", str(tmp_path / "nowhere"))
    status, _, err = init(capsys, *options)
    assert status == 78
    assert "the draft cannot be tried: [Errno 2]" in err


def test_no_place_for_a_trial(site, capsys, monkeypatch, tmp_path):
    """The directory for temporary files is full, or not there."""
    options = site()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    status, _, err = init(capsys, *options)
    assert status == 73
    assert f"the draft cannot be tried: {tmp_path / 'nowhere'}" in err


def test_the_trial_is_for_nobody_else_and_leaves_nothing(site, tmp_path):
    """main.cf may be for root alone; TERM during the trial removes what is there."""
    temporary, options = tmp_path / "temporary", site()
    temporary.mkdir()
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from forkpolicy.commands import main\n"
        "from forkpolicy.commands.init import trial\n"
        "def ended(self):\n"
        "    print(oct(self.postfix.stat().st_mode & 0o077), flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    signal.pause()\n"
        "trial.Trial.compile = ended\n"
        f"sys.exit(main(['init', *{options!r}]))\n"
    )
    environment = {**os.environ, "TMPDIR": str(temporary)}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 143, done.stderr
    assert done.stdout.splitlines()[-1] == "0o0"
    assert list(temporary.iterdir()) == []


def test_odd_files(site, capsys, tmp_path):
    """A FIFO, a dangling link of a copy, a link as the file, leftovers, indented comments."""
    ours, real = tmp_path / "forkpolicy", tmp_path / "real.conf"
    options = site()
    (ours / "tables").mkdir(parents=True)
    (ours / "tables" / "local-domains").write_text("# Drafted by `forkpolicy init`.\n  # indented\nexample.org\n")
    real.write_text("")
    policy, dangling = ours / "policy.conf", ours / "policy.conf.before-init"
    policy.symlink_to(real)
    dangling.symlink_to(tmp_path / "nowhere")
    (tmp_path / ".real.conf.init").write_text("left")
    _, out, err = init(capsys, *options, "--write")
    assert f"wrote {policy} ({real}), the previous one is {dangling}.2" in out, err
    assert "is not /etc/forkpolicy or /etc/forkpolicy-NAME" in out
    assert not (tmp_path / "nowhere").exists()
    assert not (tmp_path / ".real.conf.init").exists()
    domains = (ours / "tables" / "local-domains").read_text().splitlines()
    assert domains == ["# Drafted by `forkpolicy init`.", "  # indented", "example.org", "example.com"]
    policy.unlink()
    os.mkfifo(policy)
    status, _, err = init(capsys, *options)
    assert (status, "it is not a regular file" in err) == (78, True)


def test_domains_that_are_ours_are_not_left_out(site, capsys):
    """relay_domains = $mydestination, the default of Postfix before 3.0."""
    _, out, _ = init(capsys, *site(f"{MAIN}relay_domains = $mydestination\n"))
    assert "is left out" not in out


def test_control_characters_of_a_value(site, capsys):
    """DEL and ESC are escaped in TOML, refused with the setting, and never printed as they are."""
    status, out, err = init(capsys, *site(f"{MAIN}recipient_delimiter = \x7f\x1b\n"), "--write")
    assert (status, "recipient_delimiter: control characters are not allowed" in err) == (78, True)
    assert not {"\x1b", "\x7f"} & {*out, *err}
