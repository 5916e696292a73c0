"""`include FILE restricted`: what such a file may say, and what it may not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from forkpolicy.errors import ConfigError
from forkpolicy.files import Files
from forkpolicy.policy.load import declared_tables
from forkpolicy.policy.restricted import MAX_STATEMENTS
from forkpolicy.protocol.reply import VERBS
from forkpolicy.regular_files import MAX_BYTES_OF_OTHERS, read_of_others
from tests.fakes import TextFiles, decide, diagnostics_of, policy_of

OWN = """\
table ours domain ours
acl from_us sender table:ours
acl slow rate {sender} 5/1h
action prove_it REJECT 5.7.1 no
action elsewhere REDIRECT anna@example.com
include rules.conf restricted
acl partner client_address 192.0.2.7
access from_us prove_it
access !partner slow elsewhere
"""
SOMEBODY = 1234


def wrong(rules, own=OWN):
    """What is wrong with such rules."""
    return diagnostics_of(own, tables={"ours": {"example.com": ""}}, files={"rules.conf": rules})


@pytest.mark.parametrize(
    "rules",
    [
        "",
        "acl friend client_address 192.0.2.8\naction pass_on DUNNO\naccess from_us friend pass_on\n",
        "acl f sender table:ours\naccess f\n",
        "acl b size >10M\nacl a any from_us !b\naccess a prove_it\n",
        *(
            f"acl x helo_name x.example\naction y {reply}\naccess x y\n"
            for reply in ("REJECT a", "DEFER", "DEFER_IF_REJECT b", "DEFER_IF_PERMIT c", "450 d", "550 e", "WARN f")
        ),
        "acl x helo_name x.example\naction y log seen\naccess x y\n",
        "acl x sender /^a[0-9]+@/ table:ours\naction y REJECT {sender_domain} {match.x}\naccess x y\n",
    ],
)
def test_what_it_may_say(rules):
    """ACLs of its own, those and the tables of the policy, and replies that refuse or let others go on."""
    assert wrong(rules) == []


@pytest.mark.parametrize(
    ("rules", "line", "message"),
    [
        ("table t domain t\n", 1, "a restricted file declares no table"),
        ("include other.conf\n", 1, "a restricted file includes no other"),
        ("include other.conf restricted\n", 1, "a restricted file includes no other"),
        ("acl x sender /etc/shadow\naccess x\n", 1, "/etc/shadow: a restricted file names no other file"),
        ("acl x client_address 192.0.2.1,/etc/shadow\naccess x\n", 1, "a restricted file names no other file"),
        ("acl from_us sender @evil.example\n", 1, '"from_us" is a name of the policy (policy.conf:2)'),
        ("acl partner client_address 0.0.0.0/0\n", 1, '"partner" is a name of the policy (policy.conf:7)'),
        ("action prove_it DUNNO\n", 1, '"prove_it" is a name of the policy (policy.conf:4)'),
        ("acl ours sender @a.example\n", 1, '"ours" is a name of the policy'),
        ("action default REJECT no\n", 1, 'the action "default" is the policy\'s'),
        ("acl x service unix:/run/x REJECT\naccess x\n", 1, "no acl of type service"),
        ("acl x rbl bl.example.org\naccess x\n", 1, "no acl of type rbl"),
        ("acl x rate {sender} 1/1h\naccess x\n", 1, "no acl of type rate"),
        ("access slow elsewhere\n", 1, 'the action "elsewhere" of this rule: a restricted file has DUNNO, REJECT'),
        *(
            (f"acl x helo_name x.example\naction y {reply}\naccess x y\n", 2, 'action "y": a restricted file has DUNNO')
            for reply in (
                "OK",
                "RELAY",
                "DISCARD",
                "HOLD",
                "BCC a@example.com",
                "REDIRECT a@example.com",
                "FILTER smtp:[192.0.2.1]",
                "PREPEND X-Spam: no",
                "INFO a",
                "permit",
                "reject_unauth_destination",
                "score 5",
                "remember LIST {sender} 1h",
                "forget LIST {sender}",
            )
        ),
    ],
)
def test_what_it_may_not_say(rules, line, message):
    """Each is refused where it stands, with the reason."""
    first = wrong(rules)[0]
    assert first.startswith(f"rules.conf:{line}:")
    assert message in first


def test_every_verb_is_decided_upon():
    """A verb that access(5) gets must be put among those that are allowed, or tested as refused above."""
    assert set(VERBS) == {
        *("OK", "RELAY", "DUNNO", "REJECT", "DEFER", "DEFER_IF_REJECT", "DEFER_IF_PERMIT", "DISCARD", "HOLD", "WARN"),
        *("INFO", "BCC", "REDIRECT", "FILTER", "PREPEND"),
    }


@pytest.mark.parametrize(
    "relying", ["access theirs prove_it", "acl a any !theirs", "action a REJECT {match.theirs}", "access from_us reply"]
)
def test_the_policy_does_not_rely_on_it(relying):
    """What the other user declares decides in the rules of that user alone."""
    rules = "acl theirs sender @a.example\naction reply REJECT no\n"
    assert "is declared in a restricted file" in wrong(rules, f"{OWN}{relying}\n")[0]


def test_too_many_statements_are_refused():
    """Loading must stay quick whatever is in it."""
    rules = "".join(f"acl a{number} sender a{number}@example.com\n" for number in range(MAX_STATEMENTS + 1))
    (found,) = wrong(rules)
    assert f"rules.conf:{MAX_STATEMENTS + 1}:" in found


NAMES = [f"c{number}" for number in range(60)]
ACLS = "".join(f"acl {name} helo_name {name}.example\n" for name in NAMES)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        (f"acl {'x' * 65} sender a@example.com\n", "a name of a restricted file has 64 characters at most"),
        (f"{ACLS}access {' '.join(NAMES)}\n", "60 terms: a rule or an acl of type any"),
        (f"{ACLS}acl a any {' '.join(NAMES)}\n", "60 terms: a rule or an acl of type any"),
        (f"{ACLS}acl a any {' '.join(NAMES[:40])}\nacl a any {' '.join(NAMES[40:])}\n", "60 terms: a rule or an acl"),
        ("acl a any from_us\nacl b any partner !a\n", '"!a": an acl of type any of a restricted file names no other'),
        (f"{ACLS}acl a any {' '.join(NAMES[:50])}\n" + "access a\n" * 80, "more than 4000 terms of rules together"),
        ("access from_us !partner\n" * 1999 + "access partner\n", "more than 4000 terms of rules together"),
        ("acl a sender /a.{0,900}b/\n", "regular expressions of restricted files are too large together"),
        ("acl a sender /\\pL{900}/\n", "regular expressions of restricted files are too large together"),
        (f"acl a sender {' '.join(f'/((a|b){{20}}.{{{n}}}){{2}}/' for n in range(30))}\n", "too large together"),
        (f"acl a sender {' '.join(f'/a{n}/' for n in range(201))}\n", "201 regular expressions together: 200 at most"),
        ("acl a log\naction b log b\n" + "access from_us b\naccess a\n" * 6, "12 rules that log: 10 at most"),
    ],
)
def test_it_costs_little(rules, message):
    """Whoever writes it: what would take long to load or to ask is refused, and no word of it is looked into."""
    found = wrong(rules.replace("access from_us !partner", "access from_us !from_us prove_it"))
    assert message in found[0]
    assert len(found) == 1


def test_terms_of_the_policy_count_wherever_they_are_named():
    """An ACL of type any of the policy, which has no limit of its own."""
    own = OWN.replace("include", f"{ACLS}acl trusted any {' '.join(NAMES)}\ninclude")
    assert wrong("access trusted prove_it\n", own) == []
    assert "more than 4000 terms" in wrong("access trusted prove_it\n" * 70, own)[0]


@pytest.mark.parametrize(
    "rules", ["nonsense\n" * 5000, "acl x service unix:/x REJECT\n" * 1500, f"acl x sender {'!a ' * 5000}\n"]
)
def test_its_mistakes_fill_no_log(rules):
    """Some are shown, and the policy's own all."""
    found = wrong(rules, f"{OWN}nonsense\n")
    assert 10 < len(found) < 50
    assert any(each.startswith("policy.conf:") for each in found)


def test_rules_before_it_decide_first_and_those_behind_it_later():
    """It stands where its include stands."""
    request = {"sender": "a@example.com", "client_address": "192.0.2.7", "protocol_state": "RCPT"}
    let_in = "acl they client_address 192.0.2.7\naction pass_on DUNNO\naccess they pass_on\n"
    include = "include rules.conf restricted\n"
    own = OWN.replace(include, "")
    for text, reply in ((OWN, "DUNNO"), (own + include, "REJECT 5.7.1 no")):
        policy = policy_of(text, {"ours": {"example.com": ""}}, files={"rules.conf": let_in})
        assert decide(policy, **request) == reply


def test_its_mistakes_stop_no_compile():
    """Tables are the administrator's, and what the other user asks of them changes none."""
    files = TextFiles({"policy.conf": OWN, "rules.conf": "table x domain y\nacl z sender table:ours>5\nnonsense\n"})
    (table,) = declared_tables("policy.conf", files=files)
    assert (table.name, table.values_as) == ("ours", ())


@pytest.mark.parametrize("statement", ["include a.conf b.conf", "include", "include a.conf restricted now"])
def test_a_wrong_include(statement):
    """The message has both forms."""
    (found,) = diagnostics_of(f"{statement}\n")
    assert "include PATH-OR-GLOB, or include PATH restricted" in found


def test_it_is_included_once():
    """Twice would be two places in the order of rules."""
    assert "rules.conf is included already" in wrong("", f"{OWN}include rules.conf restricted\n")[0]


# The file


@pytest.fixture
def theirs(tmp_path):
    """A directory of another user, as root makes it."""
    directory = tmp_path / "theirs"
    directory.mkdir()
    (directory / "rules.conf").write_text("theirs\n")
    if os.geteuid() != 0:
        pytest.skip("needs root, to be two users")
    for path in (directory, directory / "rules.conf"):
        os.chown(path, SOMEBODY, SOMEBODY)
    return directory


def refused(path):
    """Why a file is not read."""
    with pytest.raises(ConfigError) as error:
        Files().read_of_others(path)
    (diagnostic,) = error.value.diagnostics
    return diagnostic.message


def test_a_file_of_another_user_is_read(theirs):
    """And one that is not there is empty, also where its directory is missing."""
    assert Files().read_of_others(theirs / "rules.conf") == b"theirs\n"
    assert Files().read_of_others(theirs / "none.conf") == b""
    assert Files().read_of_others(theirs / "none" / "rules.conf") == b""


def test_a_file_that_root_has_edited_is_read(theirs):
    """An editor writes a new file, with the owner of who ran it."""
    (theirs / "rules.conf").unlink()
    (theirs / "rules.conf").write_text("root's\n")
    assert read_of_others(str(theirs / "rules.conf")) == b"root's\n"


def test_no_link_leads_elsewhere(theirs, tmp_path):
    """Neither the file itself, nor a directory of that user."""
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "rules.conf").write_text("secret\n")
    (theirs / "link.conf").symlink_to(secret / "rules.conf")
    (theirs / "down").symlink_to(secret)
    os.lchown(theirs / "down", SOMEBODY, SOMEBODY)
    assert refused(theirs / "link.conf") == "is a symbolic link: only regular files are read"
    assert refused(theirs / "down" / "rules.conf") == "is below down, a symbolic link that others than root may change"


def test_another_name_of_a_secret_is_not_read(theirs, tmp_path):
    """A hard link to a file of root's, where the kernel lets one make it."""
    secret = tmp_path / "secret"
    secret.write_text("secret\n")
    os.link(secret, theirs / "hard.conf")
    assert refused(theirs / "hard.conf").startswith(f"is a file of user 0 in a directory of user {SOMEBODY}: ")


def test_a_pipe_or_a_directory_does_not_stop_the_reader(theirs):
    """Opening a pipe would wait for a writer."""
    os.mkfifo(theirs / "pipe")
    (theirs / "directory").mkdir()
    assert refused(theirs / "pipe") == "is a pipe (FIFO): only regular files are read"
    assert refused(theirs / "directory") == "is a directory: only regular files are read"


def test_a_large_file_is_not_read(theirs):
    """Nor one that says it is large and is not."""
    with (theirs / "rules.conf").open("r+") as file:
        file.truncate(MAX_BYTES_OF_OTHERS + 1)
    assert refused(theirs / "rules.conf") == f"is larger than {MAX_BYTES_OF_OTHERS >> 10} KiB"


def test_links_of_the_administrator_are_followed(theirs, tmp_path):
    """/var/run and the like, and `..` in a path."""
    (tmp_path / "run").symlink_to("theirs")
    (tmp_path / "deep").mkdir()
    assert read_of_others(str(tmp_path / "run" / "rules.conf")) == b"theirs\n"
    assert read_of_others(str(tmp_path / "deep" / ".." / "theirs" / "rules.conf")) == b"theirs\n"
    (tmp_path / "loop").symlink_to("loop")
    assert "too many levels of symbolic links" in refused(tmp_path / "loop" / "rules.conf")


def test_a_relative_path_begins_here(theirs, tmp_path, monkeypatch):
    """As every path that a command was given."""
    monkeypatch.chdir(tmp_path)
    assert read_of_others("theirs/rules.conf") == b"theirs\n"
    assert Path("theirs/rules.conf").read_text() == "theirs\n"
