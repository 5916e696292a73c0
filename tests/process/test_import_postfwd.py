"""Debian's postfwd and the policy that is imported from its rules reply the same to generated requests.

What the import leaves out is taken out of the file that postfwd gets, and what it reports as different is not asked:
everything else has to be equal, to the last word of each reply.
"""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from collections import Counter

import pytest

from forkpolicy.commands.main import main as forkpolicy
from forkpolicy.files import Files
from forkpolicy.importing.draft import Draft
from forkpolicy.importing.formats import Inputs
from forkpolicy.importing.postfwd import FORMAT
from forkpolicy.importing.postfwd.grammar import Grammar
from forkpolicy.importing.postfwd.program import Numbered, Program
from forkpolicy.importing.source import read_source
from forkpolicy.protocol.attributes import ATTRIBUTES
from tests import postfwd_rules
from tests.fakes import decide, policy_of
from tests.postfwd_sites import SITES

POSTFWD = shutil.which("postfwd1", path="/usr/sbin:/usr/bin") or ""
pytestmark = pytest.mark.skipif(not POSTFWD, reason="postfwd is not installed")
FILES, REQUESTS_A_FILE = 100, 40
STATES = ("RCPT",) * 8 + ("END-OF-MESSAGE", "DATA")
UNKNOWN = re.compile(r"(\w+) is empty to postfwd")


class Imported:
    """A rule file with its import; `kept` is what postfwd may be asked: all but what was left out."""

    def __init__(self, path, text):
        path.write_text(text)
        self.draft = Draft()
        FORMAT.read(Inputs((str(path),), Files()), self.draft)
        gone = {each.origin.line for each in self.draft.left_out}
        lines = enumerate(text.splitlines(), 1)
        path.write_text("\n".join(_without(line) if at in gone else line for at, line in lines) + "\n")
        self.inputs = Inputs((str(path),), Files())
        self.policy = policy_of(self.draft.policy_text())
        said = [each.text for each in self.draft.notes]
        self._unknown = [found[1] for each in said if (found := UNKNOWN.match(each))]
        self._v4_only = any("IPv6" in each for each in said)
        self._of_sender = any("that of the sender" in each for each in said)

    def is_reported(self, request):
        """Whether the import has said that this request may be decided in another way."""
        state = request["protocol_state"]
        unknown = any(not ATTRIBUTES[name].known(request.get(name), state) for name in self._unknown)
        v6 = self._v4_only and ":" in request["client_address"]
        return unknown or v6 or (self._of_sender and not request["recipient"])

    def different(self, requests):
        """Requests to which the replies differ, with both, and the number of those that were compared."""
        compared = [each for each in requests if not self.is_reported(each)]
        with FORMAT.original(self.inputs) as original:
            theirs = original.replies(compared)
        ours = [decide(self.policy, **each) for each in compared]
        found = [
            (request, their, our)
            for request, their, our in zip(compared, theirs, ours, strict=True)
            if not FORMAT.same_reply(their, our)
        ]
        return found, len(compared)


def _without(line):
    """A rule that does nothing, for jumps to it."""
    identifier = re.search(r"id\s*=\s*([\w-]+)", line)
    return f"id={identifier[1]}; action=note()" if identifier else "#"


def test_generated_rules_reply_as_postfwd_does(tmp_path):
    """More than 2,000 generated requests about generated rule files get equal replies."""
    compared, rules, left_out, replies = 0, 0, 0, Counter()
    for seed in range(FILES):
        rng = random.Random(seed)
        text = postfwd_rules.rules(rng)
        imported = Imported(tmp_path / f"{seed}.cf", text)
        requests = [postfwd_rules.request(rng, state=rng.choice(STATES)) for _ in range(REQUESTS_A_FILE)]
        different, asked = imported.different(requests)
        assert not different, f"seed {seed}: {different[0]}"
        compared += asked
        rules += imported.draft.rules
        left_out += len(imported.draft.left_out)
        replies.update(decide(imported.policy, **each).split()[0] for each in requests)
    assert compared >= 2000
    # It compares something: rules of every kind, and replies of every kind.
    assert rules > left_out
    assert {"DUNNO", "REJECT", "OK", "450", "554", "PREPEND", "WARN"} <= replies.keys()
    assert replies["DUNNO"] < 0.8 * replies.total()


@pytest.mark.parametrize("name", SITES)
def test_rules_of_sites_reply_as_postfwd_does(name, tmp_path):
    """Rule files that sites have published, with documentation names, decide as they did."""
    text, expected = SITES[name]
    imported = Imported(tmp_path / f"{name}.cf", text)
    assert {each.origin.line for each in imported.draft.left_out} == expected
    rng = random.Random(name)
    requests = [postfwd_rules.request(rng, state=rng.choice(STATES)) for _ in range(300)]
    different, compared = imported.different(requests)
    assert not different, different[0]
    assert compared > 100


def test_the_grammar_reads_what_postfwd_reads(tmp_path):
    """`postfwd --showconfig` has the same rules with the same values."""
    for seed in range(40):
        rng = random.Random(seed)
        text = odd_layout(rng, postfwd_rules.rules(rng))
        path = tmp_path / "rules.cf"
        path.write_text(text)
        command = [POSTFWD, "-C", "-f", str(path)]
        shown = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout
        theirs = [line for line in shown.splitlines() if line.startswith("Rule ")]
        nodes = Program(Grammar().nodes(read_source(str(path), Files()))).nodes
        ours = [shown_as_postfwd_does(each) for each in nodes if isinstance(each, Numbered)]
        assert ours == theirs, f"seed {seed}"


def odd_layout(rng, text):
    """The same rules over several lines, with quotes, comments and blanks."""
    lines = []
    for line in text.splitlines():
        if line.startswith("id="):
            parts = line.rstrip("; ").split("; ")
            joint = rng.choice(("; ", " ;  ", "\n\t", "; \\\n   ", '"; "', " # x\n  "))
            line = joint.join(parts)  # noqa: PLW2901
        lines += [rng.choice(("", "# comment; action=REJECT", "\n")), line]
    return "\n".join(lines) + "\n"


def shown_as_postfwd_does(rule):
    """A rule as --showconfig prints it."""
    words = [f'Rule {rule.number:3}: id->"{rule.identifier}"; action->"{rule.action}"']
    for key in sorted(rule.items, reverse=True):
        values = [f"{item.operator};{_kept(item, text)}" for item in rule.items[key] for text in _split(item)]
        words.append(f'{key}->"{", ".join(values)}"')
    return "; ".join(words)


def _split(item):
    return (
        re.split(r"\s*,\s*", item.value)
        if item.key in ("client_address", "days", "months", "date", "time")
        else [item.value]
    )


def _kept(item, text):
    """Expressions lose their slashes when they are read, and a negation gets brackets."""
    if item.operator not in ("=~", "!~"):
        return text
    plain = re.fullmatch(r"!!\s*\(?\s*(.+?)\s*\)?", text)
    bare = re.sub(r"^/?(.*?)/?$", r"\1", plain[1] if plain else text)
    return f"!!({bare})" if plain else bare


def test_compare_lists_what_differs(tmp_path, capsys):
    """`--compare` asks postfwd: equal replies end with 0, and what differs is listed with both."""
    rules = tmp_path / "rules.cf"
    rules.write_text("id=A; sender==anna@example.com; action=REJECT no\nid=B; sender=(?=b)bob; action=REJECT b\n")
    requests = tmp_path / "requests"
    asked = [postfwd_rules.request(random.Random(1)) | {"sender": f"{name}@example.com"} for name in ("anna", "bob")]
    requests.write_text("".join("".join(f"{k}={v}\n" for k, v in each.items()) + "\n" for each in asked))
    status = forkpolicy(["import", "postfwd", str(rules), "--compare", str(requests)])
    said = capsys.readouterr()
    assert status == 1
    assert "original: REJECT b" in said.out
    assert "1 equal, 1 different" in said.out
    assert "look-around" in said.err
