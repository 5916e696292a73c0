"""The commands that `forkpolicy init` prints: they work in their order, next to what this machine has."""

from __future__ import annotations

import os
import subprocess

import pytest

from forkpolicy.commands import main
from forkpolicy.commands.init.place import Place
from forkpolicy.compile.command import compile_tables

MAIN = "compatibility_level = 3.6\nmyhostname = mail.example.com\nmydestination = example.com\nmynetworks = 127.0.0.1\n"
MASTER = "smtp inet n - y - - smtpd\n"
TAKEN = f"{MASTER}policy unix - n n - 0 spawn user=nobody argv=/usr/local/bin/policy\n"


@pytest.fixture
def draft(tmp_path, monkeypatch, capsys):
    """A function that runs init for a Postfix in a directory; its output."""
    ours = tmp_path / "forkpolicy"
    monkeypatch.setattr(Place, "compiled", str(tmp_path / "compiled"))
    monkeypatch.setattr("forkpolicy.commands.init.next_steps._UNITS", tmp_path / "units")
    monkeypatch.delenv("MAIL_CONFIG", raising=False)

    def run(*options, directory="etc", master=MASTER):
        etc = tmp_path / directory
        etc.mkdir(exist_ok=True)
        for name, text in (("main.cf", MAIN), ("master.cf", master)):
            (etc / name).write_text(text)
            os.utime(etc / name, (0, 0))
        status = main(["init", "--postfix", str(etc), "-c", str(ours / "forkpolicy.toml"), *options])
        said = capsys.readouterr()
        assert (status, said.err) == (0, "")
        return said.out

    return run


def commands_in(output):
    """The lines from "Next:" on that are for a shell."""
    return [line.strip() for line in output.partition("\nNext:\n")[2].splitlines() if line.startswith("  ")]


def test_larger_tables_in_use_are_replaced(draft, tmp_path, capsys):
    """As those of the sample may be: the printed command compiles, and says why it needs the option."""
    ours = tmp_path / "forkpolicy"
    (ours / "tables").mkdir(parents=True)
    settings, policy = ours / "forkpolicy.toml", ours / "policy.conf"
    settings.write_text(f'policy = "policy.conf"\ntables = "{tmp_path / "compiled"}"\n')
    policy.write_text("table local_networks cidr tables/sample\n")
    (ours / "tables" / "sample").write_text("".join(f"192.0.2.{number}\n" for number in range(9)))
    assert compile_tables(["-c", str(settings)]) == 0, capsys.readouterr()
    capsys.readouterr()
    compiling = next(
        line for line in commands_in(draft("--write", "--replace")) if line.startswith("forkpolicy-compile")
    )
    assert compiling.startswith(f"forkpolicy-compile -c {settings} --allow-shrink && ")
    assert compile_tables(["-c", str(settings)]) == 78
    assert compile_tables(["-c", str(settings), "--allow-shrink"]) == 0
    capsys.readouterr()
    assert "--allow-shrink" not in draft("--write")


def test_systemd_gets_another_socket_before_postfix_asks_it(draft, tmp_path):
    """As commands, which leave a drop-in that the next run knows."""
    commands = commands_in(draft("--write", master=TAKEN))
    words = ["printf", "systemctl daemon-reload && systemctl stop forkpolicy.service forkpolicy.socket"]
    words += ["systemctl enable --now forkpolicy.socket", "postconf"]
    found = [next(at for at, line in enumerate(commands) if line.startswith(word)) for word in words]
    assert found == sorted(found), commands
    for line in commands[: found[0] + 1]:
        if line.startswith(("mkdir", "printf")):
            subprocess.run(["/bin/sh", "-c", line], check=True)
    lines = (tmp_path / "units" / "forkpolicy.socket.d" / "listen.conf").read_text().splitlines()
    assert lines[-3:] == ["[Socket]", "ListenStream=", "ListenStream=/var/spool/postfix/private/forkpolicy"]
    assert not [line for line in commands_in(draft("--write", master=TAKEN)) if line.startswith(("printf", "mkdir"))]


def test_paths_are_quoted_for_the_shell(draft, tmp_path):
    """The copies and the undo line work for a directory whose name has blanks and quotes."""
    name = "it's etc; touch pwned"
    commands = commands_in(draft("--write", directory=name))
    copies = [line.removeprefix("# to undo it: ") for line in commands if " -p " in line]
    assert len(copies) == 2
    for line in copies:
        subprocess.run(["/bin/sh", "-c", line.partition(" && ")[0]], check=True, cwd=tmp_path)
    assert (tmp_path / name / "main.cf.before-forkpolicy").is_file()
    assert not (tmp_path / "pwned").exists()
