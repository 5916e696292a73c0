"""The stories of docs/where-is-my-mail.md, word for word: a real Postfix, a server, the ingester, and the commands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from loadtest.clients.smtp import SmtpClient
from tests.process.waiting import eventually

PAGE = (Path(__file__).parent.parent.parent / "docs" / "where-is-my-mail.md").read_text()
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BLOCKS = BLOCK.findall(PAGE)
# What differs each time: moments, ids of decisions, queue ids, what was in force, numbers of processes and ports.
DIFFERS = re.compile(
    r"(?P<time>\d{4}-\d\d-\d\dT[\d:.]+Z)|(?P<id>(?<![0-9A-Za-z])[0-9b-df-hj-np-tv-z]{12}(?![0-9A-Za-z]))|(?P<queue_id>\b[0-9A-F]{9,12}\b)"
    r"|(?P<in_force>(?<=with )[0-9a-z]{8}(?= in force))|(?P<path>/etc/forkpolicy)|(?P<host>\bmx1\b)"
    r"|(?<=instance=)(?P<instance>\S+)|(?<=client_port=)(?P<port>\d+)|(?<=server_port=)(?P<port2>\d+)"
)


def text_of(kind):
    """The only block of a kind."""
    (text,) = [text for each, text in BLOCKS if each == kind]
    return text


class Names:
    """What stands for what: the page's ids, and those of this run."""

    def __init__(self, directory):
        self.known = {"/etc/forkpolicy": str(directory)}

    def command(self, line):
        """A command of the page with the ids of this run."""
        return DIFFERS.sub(lambda found: self.known.get(found[0], found[0]), line)

    def compare(self, shown, printed):
        """Each line up to `...`, and what differs is the same wherever it is the same on the page."""
        shown, printed = shown.splitlines(), printed.splitlines()
        if shown[-1] == "...":
            shown, printed = shown[:-1], printed[: len(shown) - 1]
        assert len(shown) == len(printed), "\n".join(printed)
        for expected, line in zip(shown, printed, strict=True):
            parts, at = [], 0
            new = []
            for found in DIFFERS.finditer(expected):
                parts.append(re.escape(expected[at : found.start()]))
                known = None if found["time"] else self.known.get(found[0])
                parts.append(re.escape(known) if known else r"(\S+)")
                new += [] if known else [found[0]]
                at = found.end()
            pattern = "".join(parts) + re.escape(expected[at:])
            matched = re.fullmatch(pattern, line)
            assert matched, f"{expected}\n{line}"
            self.known |= dict(zip(new, matched.groups(), strict=True))


def send(postfix, client, sender):
    """A mail to Anna; the last reply."""
    with SmtpClient(postfix.port) as session:
        session.ehlo()
        session.xclient(client)
        session.ehlo()
        session.mail(sender)
        reply = session.rcpt("anna@example.com")
        return session.data() if reply.code == 250 else reply


def test_the_stories(postfix, serve):
    """Each command of the page prints what stands below it."""
    server = serve(text_of("policy"), {"blocked": text_of("table")})
    history = text_of("toml").replace("/var/log/forkpolicy", str(server.directory))
    history += f'path = "{server.directory}/history"\nmail_log = "{postfix.log}"\n'
    server.settings.write_text(f"{server.settings.read_text()}\n{history}")
    server.stop()
    server.start()
    assert send(postfix, "203.0.113.25", "bob@example.org").code == 450
    assert send(postfix, "198.51.100.7", "bob@example.org").code == 250
    refused = send(postfix, "192.0.2.66", "carl@example.net")
    assert refused.code == 554
    log = server.directory / "decisions.json"
    eventually(lambda: log.exists() and log.read_text().count('"event":"decision"') == 3)
    eventually(lambda: "status=sent" in postfix.log_text() and ": removed" in postfix.log_text())
    assert server.command("history", "ingest", "--once").returncode == 0
    names = Names(server.directory)
    # The bounce on the page has this reply.
    names.compare("We know you: see k2xg0y7qw3bd", refused.text.partition("rejected: ")[2])
    for kind, text in BLOCKS:
        if kind != "console":
            continue
        command, shown = text.split("\n", 1)
        program, verb, *words = shlex.split(names.command(command.removeprefix("$ ")))
        assert program == "forkpolicy"
        done = server.command(verb, *words)
        names.compare(shown, done.stdout)
        assert done.returncode == 0
