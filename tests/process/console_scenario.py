"""What happens inside the container of test_console_for_real.py: run by its systemd, as root, once.

The server is installed by docs/operations.md and the console by docs/console.md, word for word but for what needs a
network. Each step is tried whatever became of the ones before. Standard library only.
"""

from __future__ import annotations

import http.client
import json
import os
import pwd
import re
import sys
import traceback
from contextlib import closing
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import systemd_scenario as server
from systemd_scenario import ask, by_the_book, command, edit, processes, run, show, status_of, wait_for, write

HOME = Path("/var/lib/forkpolicy-console")
POLICY = "/etc/forkpolicy/policy.conf"
FORKPOLICY = "/opt/forkpolicy/bin/forkpolicy"
PASSWORD = "correct horse battery"
PARTNER = "acl partner client_address 203.0.113.5\naccess partner\n"
WELCOME = "acl welcomed sender table:welcome\naccess welcomed\n"
STEPS = {}


def step(function):
    STEPS[function.__name__] = function
    return function


class Browser:
    """Pages over HTTP, as one who signs in."""

    def __init__(self):
        self.cookie = self.token = ""

    def ask(self, address, form=None, accept="text/html"):
        headers = {"Cookie": self.cookie, "Accept": accept, "Host": "127.0.0.1:8025"}
        body = None
        if form is not None:
            headers |= {"Origin": "http://127.0.0.1:8025", "Content-Type": "application/x-www-form-urlencoded"}
            body = urlencode({"token": self.token, **form})
        connection = http.client.HTTPConnection("127.0.0.1", 8025, timeout=30)
        with closing(connection):
            connection.request("GET" if form is None else "POST", address, body, headers)
            response = connection.getresponse()
            text = response.read().decode()
        if cookie := response.headers.get("Set-Cookie"):
            self.cookie = cookie.partition(";")[0]
        if found := re.search(r'name="token" value="([^"]+)"', text):
            self.token = found[1]
        return response.status, text, response.headers.get("Location", "")

    def json(self, address):
        return json.loads(self.ask(address, accept="application/json")[1])

    def sign_in(self, link):
        path = urlsplit(link).path
        self.ask(path)
        return self.ask(path, {"password": PASSWORD, "again": PASSWORD})


ANNA = Browser()


def listens(*statuses):
    """Whether it answers, with one of these."""
    try:
        return Browser().ask("/sign-in")[0] in (statuses or (200,))
    except OSError:
        return False


@step
def install():
    """The server, then the console next to it."""
    by_the_book("First installation on Debian", 0)
    edit(POLICY, " postconf:mynetworks", "")
    write("/etc/forkpolicy/tables/local-networks.cidr", "192.0.2.0/24\n127.0.0.0/8\n")
    write("/etc/forkpolicy/tables/local-domains", "example.com\nexample.net\n")
    by_the_book("First installation on Debian", 1)
    before = ask()
    book = json.loads(Path("/report/console.json").read_text())
    environment = ("env", "--chdir", "/checkout", f"PATH=/usr/local/bin:{os.environ['PATH']}", "bash", "-euc")
    for text in book["Install"]:
        if "apt-get" in text:
            continue
        if text.startswith("# policy.conf"):
            lines = text.partition("\n")[2]
            edit(POLICY, "access !from_inside", f"{lines}{WELCOME}access !from_inside")
            continue
        run(*environment, text.replace("/opt/forkpolicy/bin/pip install '.[console]'\n", ""), check=True)
    wait_for(listens)
    return {
        "before": before,
        "after": ask(),
        "states": {each: show(each, "ActiveState") for each in ("forkpolicy.service", "forkpolicy-console.service")},
        "places": {
            str(each): server.owner_and_mode(each) for each in (HOME, HOME / "tables", "/run/forkpolicy/control")
        },
        "checked": run(FORKPOLICY, "check").stderr,
    }


@step
def confinement():
    """Its process, and what the user can open there."""
    (pid,) = processes("forkpolicy-console.service")
    seen = status_of(pid)
    user = pwd.getpwnam("fp-console")
    as_console = run("runuser", "-u", "fp-console", "--", sys.executable, "-c", OPENS, *SECRETS, check=True).stdout
    return {
        "is_user": set(seen["Uid"].split()) == {str(user.pw_uid)},
        **{name: seen[name] for name in ("CapEff", "CapPrm", "CapBnd", "NoNewPrivs", "Seccomp")},
        "opened": as_console.split(),
    }


OPENS = """
import os, sys
for path in sys.argv[1:]:
    try:
        os.close(os.open(path, os.O_RDONLY))
        print(path)
    except OSError:
        pass
"""
SECRETS = ("/etc/shadow", "/var/log/forkpolicy/decisions.json", "/var/lib/forkpolicy/state", "/root")


@step
def sign_in():
    """A one-time link, and the first page."""
    said = command(FORKPOLICY, "console", "user", "add", "anna", "--role", "admin")
    link = re.search(r"\S+/first/\S+", said)[0]
    status, text, location = ANNA.sign_in(link)
    accounts = [f"{each.name} {server.owner_and_mode(each)}" for each in sorted(HOME.glob("*.sqlite"))]
    return {"status": [status, location], "text": text[-2000:], "now": ANNA.ask("/now")[:2], "accounts": accounts}


@step
def exception():
    """The forged mail is refused, an exception lets it pass, its undo refuses it again."""
    found = {"before": ask(), "page": ANNA.ask("/change")[0]}
    seen = ANNA.json("/change")["seen"]
    status, text, location = ANNA.ask("/change", {"do": "apply", "seen": seen, "text": PARTNER, "note": "a partner"})
    found |= {"applied": [status, location], "said": re.sub(r"<[^>]*>|\s+", " ", text)[:3000], "during": ask()}
    found["rules"] = server.owner_and_mode(HOME / "rules.conf")
    status, _, location = ANNA.ask(location.partition("?")[0], {"note": "was wrong"})
    return {**found, "undone": [status, location], "after": ask()}


@step
def control():
    """What fp-console may ask the server."""
    as_console = ("runuser", "-u", "fp-console", "--", FORKPOLICY)
    found = {word: run(*as_console, word) for word in ("status", "reload", "stop")}
    return {word: [done.returncode, done.stderr] for word, done in found.items()} | {"answer": ask()}


@step
def table():
    """A source that the console writes is compiled by the path unit, and a link to a secret gives nothing away."""
    source = HOME / "tables" / "welcome"
    as_console = ("runuser", "-u", "fp-console", "--", "sh", "-c")
    before = ask()
    command(*as_console, f"echo somebody@example.com > {source}.new && mv {source}.new {source}")
    wait_for(lambda: ask() == "action=DUNNO")
    command(*as_console, f"ln -s /etc/shadow {source}.new && mv {source}.new {source}")
    wait_for(lambda: show("forkpolicy-console-tables.service", "Result") != "success")
    journal = run("journalctl", "-b", "-o", "cat", "-u", "forkpolicy-console-tables.service").stdout
    found = {"before": before, "linked": ask(), "journal": journal[-3000:], "shadow": "root:" in journal}
    command(*as_console, f"rm {source} && echo > {source}")
    wait_for(lambda: ask() == before)
    return found


def pages():
    """What they answer, and what they say that they cannot know."""
    found = {}
    for address in ("/now", "/change"):
        twin = ANNA.json(address)
        found[address] = [ANNA.ask(address)[0], " ".join(each["text"] for each in twin["notices"])]
    return found


@step
def server_away():
    """The console goes on and says so; then the server is back."""
    command("systemctl", "stop", "forkpolicy.service")
    found = pages()
    command("systemctl", "start", "forkpolicy.service")
    return {**found, "answer": ask(), "again": ANNA.ask("/now")[0]}


@step
def history_damaged():
    """The ingester stands still and today's file is nonsense: mail as before, a page that says so."""
    command("systemctl", "stop", "forkpolicy-history.service")
    days = sorted(Path("/var/lib/forkpolicy/history").glob("2*.sqlite"))
    for day in days:
        with day.open("r+b") as file:
            file.truncate(3000)
            file.write(b"nonsense" * 400)
    return {"days": len(days), **pages(), "answer": ask()}


@step
def console_killed():
    """It comes again by itself; a session goes on; mail does not notice."""
    (before,) = processes("forkpolicy-console.service")
    command("systemctl", "kill", "-s", "KILL", "forkpolicy-console.service")
    answer = ask()
    wait_for(lambda: listens() and list(processes("forkpolicy-console.service")) != [before], 40)
    return {"answer": answer, "again": ANNA.ask("/change")[0]}


@step
def console_damaged():
    """Rules that are nonsense and accounts that are no database: mail is decided by the rules that serve."""
    command("systemctl", "stop", "forkpolicy-console.service")
    write(HOME / "rules.conf", "access no_such_acl\n")
    write(HOME / "accounts.sqlite", "nonsense" * 1000)
    reload = run("systemctl", "reload", "forkpolicy.service")
    found = {"reload": reload.returncode, "answer": ask()}
    command("systemctl", "start", "forkpolicy-console.service")
    wait_for(lambda: listens(200, 500, 503))
    found["sign_in"] = Browser().ask("/sign-in", {"name": "anna", "password": PASSWORD})[:2]
    command("systemctl", "restart", "forkpolicy.service")
    return {**found, "restarted": ask(), "state": show("forkpolicy.service", "ActiveState")}


def main():
    report = {}
    for name, function in STEPS.items():
        try:
            report[name] = function()
        except Exception:  # noqa: BLE001 - the report says what, the test judges
            report[name] = {"failed": traceback.format_exc()}
            if name == "install":
                break
    report["journal"] = run("journalctl", "-b", "-o", "cat", "-u", "forkpolicy*", "--no-pager").stdout[-60000:]
    Path("/report/report.json").write_text(json.dumps(report))


if __name__ == "__main__":
    sys.exit(main())
