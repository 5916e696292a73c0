"""Completion in real shells: bash, zsh and fish complete commands, options, choices, files and names of the policy."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("shtab", reason="completion scripts need forkpolicy[terminal]")
pyte = pytest.importorskip("pyte", reason="the terminal of zsh needs pyte")

PROGRAMS = Path(sys.executable).parent
DEADLINE_S = 60
POLICY = """
table local_domains domain domains
table local_networks cidr networks
acl busy rate {sender} 5/1h
acl known listed friends {sender}
action keep remember friends {sender} 1d
action no REJECT no
access busy keep
access known no
include more/*.conf
"""
MORE = "acl old listed enemies {sender}\naccess old no\n"
# Line -> some of what completes it, and what must not be offered. Each is asked of each shell.
LINES = {
    "forkpolicy look": ({"lookup"}, {"explain"}),
    "forkpolicy state ": ({"list", "show", "forget"}, {"lookup"}),
    "forkpolicy state list --": ({"--key", "--json"}, {"--hosts"}),
    "forkpolicy import apo": ({"apolicy"}, {"postgrey"}),
    "forkpolicy import --values searched": ({"searched", "searched-case"}, {"exact"}),
    "forkpolicy replay past": ({"past.log"}, set()),
    "forkpolicy lookup -c {settings} local_": ({"local_domains", "local_networks"}, {"busy"}),
    "forkpolicy state show -c {settings} ": ({"busy", "friends", "enemies"}, {"known", "local_domains"}),
    "forkpolicy state remember -c {settings} fr": ({"friends"}, {"enemies"}),
    "forkpolicy-compile -c {settings} local_": ({"local_domains", "local_networks"}, {"busy"}),
    "forkpolicy-compile --allow-": ({"--allow-wide", "--allow-own"}, {"--json"}),
}
RULES = "forkpolicy history find -c {settings} rule:policy.conf:"


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    """Each script under the name by which its shell finds it."""
    directory = tmp_path_factory.mktemp("scripts")
    for shell, name in (("bash", "{}"), ("zsh", "_{}"), ("fish", "{}.fish")):
        for program in ("forkpolicy", "forkpolicy-compile"):
            done = run(PROGRAMS / "forkpolicy", "completion", shell, program)
            (directory / shell).mkdir(exist_ok=True)
            (directory / shell / name.format(program)).write_text(done)
    return directory


@pytest.fixture
def site(tmp_path):
    """A directory with settings of another name, a policy with an included file, and a log."""
    (tmp_path / "other.toml").write_text('policy = "policy.conf"\n')
    (tmp_path / "policy.conf").write_text(POLICY)
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "old.conf").write_text(MORE)
    (tmp_path / "past.log").write_text("")
    return tmp_path


def run(*words, cwd=None):
    done = subprocess.run(
        words, cwd=cwd, env=environment(), capture_output=True, text=True, check=False, timeout=DEADLINE_S
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def environment():
    return {**os.environ, "PATH": f"{PROGRAMS}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8", "TERM": "xterm"}


def completed_by_bash(scripts, line, cwd):
    """What bash would offer for the line."""
    program = line.split(" ")[0]
    # bash splits words at colons, too.
    words = line.replace(":", " : ").split(" ")
    code = (
        'source "$1"; COMP_LINE=$2; COMP_POINT=${#COMP_LINE}; shift 2; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
        f"_shtab_{program.replace('-', '_')} 2>&1; "
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    return set(run("bash", "--norc", "-c", code, "bash", scripts / "bash" / program, line, *words, cwd=cwd).split())


def completed_by_fish(scripts, line, cwd):
    """What fish offers for the line; descriptions stand behind a tab."""
    script = scripts / "fish" / f"{line.split(' ')[0]}.fish"
    offered = run("fish", "--no-config", "-c", 'source $argv[1]; complete -C "$argv[2]"', script, line, cwd=cwd)
    return {each.partition("\t")[0] for each in offered.splitlines()}


def completed_by_zsh(scripts, line, cwd):
    """What zsh lists for the line when the key that lists is pressed (^D at its end), as a terminal shows it."""
    terminal = Terminal(["zsh", "-f", "-i"], cwd)
    try:
        terminal.type(
            f"PROMPT='ready> '; fpath=({scripts}/zsh $fpath); autoload -U compinit; compinit -u -D; "
            "LISTMAX=1000; zstyle ':completion:*' list-prompt ''\r"
        )
        terminal.until(lambda text: text.endswith("ready>"))
        terminal.type(line + "\x04")
        # The line is shown again when the list is complete; what it is completed to stands in it.
        return set(terminal.settled().split())
    finally:
        terminal.end()


class Terminal:
    """A program on a terminal of its own, and what its screen shows."""

    def __init__(self, command, cwd):
        self.screen = pyte.Screen(200, 60)
        self._stream = pyte.ByteStream(self.screen)
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.chdir(cwd)
            os.execvpe(command[0], command, environment())

    def type(self, keys):
        os.write(self._fd, keys.encode())

    def text(self):
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip()

    def until(self, is_there):
        """Read until the screen is so."""
        deadline = time.monotonic() + DEADLINE_S
        while not is_there(self.text()):
            left = deadline - time.monotonic()
            assert left > 0, self.text()
            if select.select([self._fd], [], [], left)[0]:
                self._stream.feed(os.read(self._fd, 65536))

    def settled(self):
        """What stands below the line once a mark that is typed behind it has been shown there."""
        self.type("\x05=done")
        self.until(lambda text: "=done" in text)
        return self.text().rpartition("ready>")[2].replace("=done", "")

    def end(self):
        os.close(self._fd)
        os.kill(self.pid, 9)
        os.waitpid(self.pid, 0)


SHELLS = {"bash": completed_by_bash, "zsh": completed_by_zsh, "fish": completed_by_fish}


def complete(shell, scripts, line, site):
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell}: apt-get install {shell}")
    return SHELLS[shell](scripts, line.format(settings="other.toml"), site)


@pytest.mark.parametrize("line", LINES)
@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_completes(shell, line, scripts, site):
    """Commands, options, choices, files, and the names of the settings that the line gives."""
    wanted, others = LINES[line]
    offered = complete(shell, scripts, line, site)
    assert wanted <= offered
    assert others & offered == set()


@pytest.mark.parametrize(("shell", "wanted"), [("bash", {"8", "9"}), ("fish", {"rule:policy.conf:8"})])
def test_rules_are_completed_by_their_line(shell, wanted, scripts, site):
    """As `history find` takes them; bash has split the word at its colons."""
    assert wanted <= complete(shell, scripts, RULES, site)


@pytest.mark.parametrize("shell", SHELLS)
def test_settings_that_are_wrong_complete_nothing(shell, scripts, site):
    """No message gets between the line and its cursor."""
    (site / "other.toml").write_text("polcy = 1\n")
    offered = complete(shell, scripts, "forkpolicy lookup -c {settings} local_", site)
    assert not {word for word in offered if word.startswith("local_d") or "polcy" in word or "Traceback" in word}


@pytest.mark.parametrize("shell", SHELLS)
def test_names_are_never_run(shell, scripts, site):
    """A policy may be anybody's: what a shell would expand is left out, and not expanded."""
    odd = (
        "acl odd listed $(touch${IFS}ran) {sender}\naction odd remember `touch${IFS}ran` {sender} 1h\naccess odd odd\n"
    )
    (site / "policy.conf").write_text(POLICY + odd)
    assert {"busy", "friends"} <= complete(shell, scripts, "forkpolicy state show -c {settings} ", site)
    assert not (site / "ran").exists()


def test_other_commands_of_the_line_are_not_run(scripts, site):
    """Names come from forkpolicy, with the settings of its own command."""
    (site / "danger").write_text("#!/bin/sh\ntouch ran\n")
    (site / "danger").chmod(0o755)
    line = "./danger -c else.toml; forkpolicy lookup -c {settings} local_"
    assert {"local_domains", "local_networks"} <= complete("zsh", scripts, line, site)
    assert not (site / "ran").exists()


@pytest.mark.parametrize("between", [";", "&&", "||", "|", "|&", "&"])
def test_settings_of_other_commands_do_not_count(between, scripts, site):
    """Only those of the command that is being written."""
    line = f"true -c {{settings}} {between} forkpolicy lookup local_"
    assert not {"local_domains", "local_networks"} & complete("zsh", scripts, line, site)
