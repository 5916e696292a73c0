"""What a what-if finds by the history's indexes is what a replay of the whole log finds, whatever the policy, the
exception and the log.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
from collections import Counter

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from forkpolicy.commands.main import main
from forkpolicy.compile.command import main as compile_tables
from forkpolicy.errors import ConfigError
from forkpolicy.history.ingest import Ingester
from forkpolicy.history.search import History
from forkpolicy.history.store import Store
from forkpolicy.history.whatif.judging import what_if
from forkpolicy.history.whatif.policies import load_draft, load_now, load_tried
from forkpolicy.loading import load_everything
from tests.history_logs import NOON_S, begin, decision

DAYS = 3
DOMAINS = ["example.com", "a.example.com", "example.net", "xn--bcher-kva.example"]
PLAIN = [f"{local}@{domain}" for local in ("u", "U", "u+x", "abuse") for domain in DOMAINS]
ODD = [
    "u",
    "u%example.com@localhost",
    "example.com!u",
    "u@bücher.example",
    "u@localhost",
    "a@b@example.com",
    "u@EXAMPLE.com.",
]
REQUESTS = {
    "protocol_state": ["RCPT", "RCPT", "RCPT", "MAIL", "DATA", "END-OF-MESSAGE", "CONNECT", "VRFY"],
    "client_address": ["192.0.2.1", "192.0.2.200", "198.51.100.7", "2001:db8::1", "::ffff:192.0.2.1", "unknown", ""],
    "sender": [*PLAIN, "", "", *ODD, "\\xff@example.com"],
    "recipient": [*PLAIN, *ODD, ""],
    "sasl_username": ["", "", "u", "U", "u@example.com", "ü"],
    "helo_name": ["mail.example.com", "u", ""],
    "client_name": ["mail.example.com", "unknown"],
    "size": ["0", "100", "5000"],
}
ANSWERS = [
    {"holds": True, "value": "12"},
    {"holds": False},
    {"holds": None, "reason": "no answer"},
    {"failed": "the store does not answer"},
]
ADDRESSES = ["@example.com", "example.net", ".example.com", "u@", "u@example.com", "abuse@a.example.com", "(abuse|x)"]
ADDRESSES += ["u@bücher.example", "table:d", "table:a", "table:v=strict", "table:v!=strict", "table:v>5"]
ACLS = {
    "sender": [*ADDRESSES, "<>", "{recipient}", "{recipient_domain}"],
    "recipient": ADDRESSES,
    "client_address": ["192.0.2.0/24", "192.0.2.1", "192.0.2.1-198.51.100.7", "2001:db8::/32", "table:n"],
    "sasl_username": ["u", "u@example.com", "ü", "table:k", "table:a"],
    "helo_name": [".example.com", "u"],
    "size": [">50"],
    "protocol_state": ["RCPT", "MAIL DATA"],
    "table:p": ["{client_address} {sender}"],
    "table:k": ["{sasl_username}", "{recipient_domain}", "{sender} {recipient}"],
    "table:d": ["{sender_domain}", "{helo_domain}"],
    "time": ["08:00-12:30 tz=UTC"],
    "date": ["2026-11-27..2026-11-28 tz=UTC"],
    "authenticated": [""],
    "null_sender": [""],
    "rate": ["{client_address} 2/1h"],
    "listed": ["l {client_address}"],
    "score": [">=1"],
    "log": [""],
}
ACTIONS = {
    "no": "REJECT no",
    "later": "450 later",
    "pass": "DUNNO",
    "yes": "OK",
    "said": "REJECT {sender_domain} VALUE",
    "more": "score 1",
    "put": "remember l {client_address} 1d",
    "note": "log here",
}
TABLES = """\
table d domain d.txt
table a address a.txt
table v domain v.txt
table n cidr n.txt
table k key k.txt
table p pair:network,address p.txt
"""
SOURCES = {
    "d": "example.com\n.example.net\n",
    "a": "u@example.com\n@example.net\nabuse@\n<>\n",
    "v": "example.com strict\nexample.net 7\na.example.com soft\n",
    "n": "192.0.2.0/24\n192.0.2.200\n2001:db8::/48\n",
    "k": "u\nexample.com\nu@example.com u@example.net\n",
    "p": "192.0.2.0/24 example.com\n198.51.100.7 *\n* u@example.net\n",
}
SETTINGS = """\
policy = "{policy}"
tables = "tables"
[mail]
recipient_delimiter = "+"
myorigin = "example.com"
local_domains = ["example.com"]
[history]
log = "{log}"
path = "{log}.d"
decisions = "all"
"""
acls = st.sampled_from(sorted(ACLS)).flatmap(
    lambda kind: st.tuples(
        st.just(kind),
        st.lists(st.sampled_from(ACLS[kind]), min_size=1, max_size=1 if kind[:5] in ("table", "rate", "liste") else 3),
    )
)


def named(prefix, found):
    """ACLs with names."""
    return {f"{prefix}{number}": acl for number, acl in enumerate(found)}


@st.composite
def statements(draw, prefix, known, lines):
    """Statements with names of their own, which may ask ACLs that there are already."""
    own = named(prefix, draw(st.lists(acls, min_size=1, max_size=3)))
    text = [f"acl {name} {kind} {' '.join(values)}" for name, (kind, values) in own.items()]
    every = [*own, *known]
    for number in range(draw(st.integers(0, 1))):
        terms = st.tuples(st.sampled_from(["", "!"]), st.sampled_from(every)).map("".join)
        text.append(f"acl {prefix}any{number} any {' '.join(draw(st.lists(terms, min_size=1, max_size=3)))}")
        every.append(f"{prefix}any{number}")
    actions = draw(st.lists(st.sampled_from(sorted(ACTIONS)), min_size=1, max_size=3, unique=True))
    has_value = [name for name, (kind, _) in own.items() if kind in ("rate", "listed") or ":" in kind]
    value = f"{{match.{has_value[0]}}}" if has_value else ""
    text += [f"action {prefix}{name} {ACTIONS[name].replace('VALUE', value)}" for name in actions]
    clause = st.tuples(st.sampled_from(["", "", "!"]), st.sampled_from(every)).map("".join)
    for _ in range(draw(st.integers(1, lines))):
        terms = " ".join(draw(st.lists(clause, min_size=1, max_size=3)))
        text.append(f"access {terms} {prefix}{draw(st.sampled_from(actions))}")
    return every, text


@st.composite
def policies(draw):
    """A policy, and an exception that may ask its ACLs, or add values to one."""
    known, policy = draw(statements("p", [], 5))
    _, exception = draw(statements("e", known, 2))
    kind = next(line for line in policy if line.startswith("acl p0 ")).split()[2]
    if draw(st.integers(0, 3)) == 0:
        exception.insert(0, f"acl p0 {kind} {draw(st.sampled_from(ACLS[kind]))}")
    return policy, exception


def log_of(seed):
    """The lines of three days."""
    chance = random.Random(seed)
    lines = [begin()]
    for number in range(150):
        attributes = {name: chance.choice(values) for name, values in REQUESTS.items()}
        line = json.loads(decision(NOON_S - (DAYS - 1) * 86400 * (1 - number / 150), **attributes))
        names = ["p0", "p1", "p2", "e0", "e1", "e2"]
        line["answers"] = {name: chance.choice(ANSWERS) for name in names if chance.random() < 0.7}
        if chance.random() < 0.05:
            line["cut"] = "values at 300"
        lines.append(json.dumps(line).encode() + b"\n")
    return b"".join(lines)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Compiled tables, and several logs that were taken in."""
    directory = tmp_path_factory.mktemp("whatif")
    for name, source in SOURCES.items():
        (directory / f"{name}.txt").write_text(source)
    (directory / "tables.conf").write_text(f"{TABLES}acl x stress\naccess x\n")
    (directory / "tables.toml").write_text('policy = "tables.conf"\ntables = "tables"\n')
    assert compile_tables(["-c", str(directory / "tables.toml")]) == 0
    for seed in range(4):
        log = directory / f"{seed}.json"
        log.write_bytes(log_of(seed))
        ingester = Ingester(str(log), Store(f"{log}.d"), 3650, print, lambda: NOON_S)
        ingester.turn()
        ingester.close()
    return directory


def replayed(directory, log):
    """How often which reply becomes which, by `forkpolicy replay`."""
    out = io.StringIO()
    words = ["replay", "--json", "--recorded", "-c", str(directory / "now.toml")]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        main([*words, "--against", str(directory / "then.toml"), str(log)])
    found = json.loads(out.getvalue())
    return found["changed"], Counter(
        {(each["before"]["text"], each["after"]["text"]): each["requests"] for each in found["changes"]}
    )


often = settings(
    max_examples=max(1, int(os.environ.get("FORKPOLICY_EXAMPLES", "1000")) // 5),
    deadline=None,
    # Smaller ones take minutes to find.
    phases=(Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@often
@given(policies(), st.integers(0, 3))
def test_a_what_if_is_a_replay_of_the_whole_log(place, drawn, seed):
    """The same decisions change, by the same rules."""
    policy, exception = drawn
    log = place / f"{seed}.json"
    at = next(at for at, line in enumerate(policy) if line.startswith("access"))
    for name, lines in (("now", policy), ("then", [*policy[:at], *exception, *policy[at:]])):
        (place / f"{name}.conf").write_text(TABLES + "\n".join(lines) + "\n")
        (place / f"{name}.toml").write_text(SETTINGS.format(policy=f"{name}.conf", log=log))
    try:
        now = load_now(str(place / "now.toml"))
        tried = load_tried(now, "\n".join(exception) + "\n")
    except ConfigError:
        # Two values that are one, a table of the wrong kind: the policy in a file is as wrong.
        with pytest.raises(ConfigError):
            load_everything(place / "then.toml")
        return
    try:
        found = what_if(History(f"{log}.d"), now, tried)
    finally:
        for table in now.tables.values():
            table.close()
    changed, pairs = replayed(place, log)
    by_rules = Counter((_text(now, each.before), _text(tried.loaded, each.after)) for each in found.changed)
    assert (len(found.changed), by_rules) == (changed, pairs)


@st.composite
def drafts(draw):
    """A policy in two parts, and two texts of a file that it includes between them: they have lines in common."""
    known, policy = draw(statements("p", [], 5))
    _, before = draw(statements("e", known, 3))
    _, other = draw(statements("d", known, 2))
    kept = [line for line in before if not line.startswith("access") or draw(st.booleans())]
    after = draw(st.sampled_from([[*kept, *other], [*other, *kept], kept, before[: before.index(before[-1])]]))
    firsts = [at for at, line in enumerate(policy) if line.startswith("access")]
    return policy, draw(st.sampled_from([*firsts, len(policy)])), before, after


@often
@given(drafts(), st.integers(0, 3))
def test_what_a_draft_changes_is_a_replay_of_the_whole_log(place, drawn, seed):
    """Lines that are added, removed and moved within one file that the policy includes."""
    policy, at, before, after = drawn
    log = place / f"{seed}.json"
    for name, lines in (("now", before), ("then", after)):
        whole = [*policy[:at], f"include {name}.rules", *policy[at:]]
        (place / f"{name}.conf").write_text(TABLES + "\n".join(whole) + "\n")
        (place / f"{name}.rules").write_text("\n".join(lines) + "\n")
        (place / f"{name}.toml").write_text(SETTINGS.format(policy=f"{name}.conf", log=log))
    try:
        now = load_now(str(place / "now.toml"))
        tried = load_draft(now, str(place / "now.rules"), "\n".join(after) + "\n")
    except ConfigError:
        return
    try:
        found = what_if(History(f"{log}.d"), now, tried)
    finally:
        for table in now.tables.values():
            table.close()
    changed, pairs = replayed(place, log)
    by_rules = Counter((_text(now, each.before), _text(tried.loaded, each.after)) for each in found.changed)
    assert (len(found.changed), by_rules) == (changed, pairs)


def _text(loaded, reply):
    """The rule of a reply, as `replay` shows it."""
    rules = loaded.policy.model.all_rules
    return next(each.text for each in rules if each.where == reply.rule and not each.is_note)
