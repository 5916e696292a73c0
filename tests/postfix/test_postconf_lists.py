"""What a table of `postconf:PARAMETER` matches, compared with what a real Postfix matches with the parameter.

Lists are drawn from plain members, exclusions, files, maps and files in files; Postfix is asked through SMTP, name by
name. Where no table can hold what Postfix means, the compile has to refuse; everywhere else the two must agree.
"""

from __future__ import annotations

import itertools
import random
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from loadtest.clients.smtp import SmtpClient
from loadtest.servers.postfix import PrivatePostfix
from tests.compiling import Compiler

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

NAMES = ["a.test", "b.a.test", "c.b.a.test", "x.test", "y.x.test", "m.test", "E.Test", "d.test."]
BELOW = [".a.test", ".b.a.test", ".x.test", ".m.test"]
ASKED_NAMES = [
    *("a.test", "b.a.test", "c.b.a.test", "z.c.b.a.test", "z.a.test", "za.test", "a.test.z.test", "test", "A.TEST"),
    *("x.test", "y.x.test", "z.y.x.test", "w.x.test", "m.test", "z.m.test", "e.test", "z.e.test", "d.test", "z.d.test"),
    *("a.test.", "m.test.", "n.test"),
]

NETWORKS = [
    *("192.0.2.0/24", "192.0.2.5", "[192.0.2.64]/26", "[192.0.2.128/25]", "[198.51.100.7]", "198.51.100.0/25"),
    *("10.0.0.0/8", "10.1.0.0/16", "[2001:db8::]/32", "[2001:DB8:0::1]", "[2001:db8:1::/48]", "[fd00::]/8"),
]
IN_CIDR = ["192.0.2.0/25", "198.51.100.128/26", "10.1.2.3", "2001:db8:2::/48", "[2001:db8:3::]/48", "10.128.0.0/9"]
IN_MAPS = ["192.0.2.200", "198.51.100.0/24", "10.200.0.1", "2001:db8::1", "2001:DB8:0::2", "203.0.113.9"]
ASKED_ADDRESSES = [
    *("192.0.2.0", "192.0.2.4", "192.0.2.5", "192.0.2.6", "192.0.2.63", "192.0.2.64", "192.0.2.127", "192.0.2.128"),
    *("192.0.2.200", "192.0.2.255", "198.51.100.0", "198.51.100.7", "198.51.100.128", "198.51.100.192", "10.0.0.0"),
    *("10.1.0.0", "10.1.2.3", "10.1.255.255", "10.2.0.0", "10.127.255.255", "10.128.0.0", "10.200.0.1", "11.0.0.0"),
    *("2001:db8::1", "2001:db8::2", "2001:db8:1::9", "2001:db8:2::9", "2001:db8:3::9", "2001:db9::1", "fd00::1"),
    *("203.0.113.9", "fe80::1"),
]

HAS_LMDB = Path("/usr/lib/postfix/postfix-lmdb.so").exists()
LISTS = ["mydestination", "relay_domains", "mynetworks", "virtual_alias_domains", "virtual_mailbox_domains"]
MAIN_CF = {
    **dict.fromkeys([*LISTS, "virtual_alias_maps"], ""),
    "local_transport": "discard:",
    "virtual_transport": "discard:",
    "smtpd_reject_unlisted_recipient": "no",
    "smtpd_recipient_restrictions": "",
}


@dataclass
class Drawing:
    """Draws lists of one sort, with their files and maps in a directory."""

    rng: random.Random
    directory: Path
    plain: list[str]
    in_maps: list[str]
    in_cidr: list[str]
    exclusions: bool
    files: Iterator[int]

    def list(self, depth: int = 0) -> str:
        """Some members, separated in one of Postfix's ways."""
        members = [self._member(depth) for _ in range(self.rng.randint(2, 5))]
        return self.rng.choice([" ", ", ", ","]).join(members)

    def _member(self, depth: int) -> str:
        sort = self.rng.choice(["plain", "plain", "plain", "file", "texthash", "lmdb", "inline", "cidr"])
        excluded = "!" if self.exclusions and not depth and self.rng.random() < 0.2 else ""
        if sort == "file" and depth < 2:
            self.exclusions, before = self.exclusions and not excluded, self.exclusions
            lines = [self.list(depth + 1) for _ in range(self.rng.randint(1, 2))]
            self.exclusions = before
            return excluded + self._file("# a comment\n" + "\n".join(lines) + "\n")
        if sort == "lmdb" and not HAS_LMDB:
            sort = "texthash"
        if sort in ("texthash", "lmdb"):
            path = self._file("".join(f"{key} OK\n" for key in self._some(self.in_maps)))
            if sort == "lmdb":
                subprocess.run(["/usr/sbin/postmap", "-c", self.directory / "empty", f"lmdb:{path}"], check=True)
            return f"{excluded}{sort}:{path}"
        if sort == "inline":
            return excluded + "inline:{" + " ".join(f"{key}=OK" for key in self._some(self.in_maps)) + "}"
        if sort == "cidr" and self.in_cidr:
            return excluded + "cidr:" + self._file("".join(f"{key} OK\n" for key in self._some(self.in_cidr)))
        return excluded + self.rng.choice(self.plain)

    def _some(self, keys: list[str]) -> list[str]:
        return self.rng.sample(keys, self.rng.randint(1, 3))

    def _file(self, content: str) -> str:
        path = self.directory / f"f{next(self.files)}"
        path.write_text(content)
        return str(path)


@pytest.fixture
def compiler(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Compiler:
    return Compiler(tmp_path, capsys)


@pytest.fixture
def drawn(directory: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that Postfix can read."""
    drawn = directory / tmp_path_factory.mktemp("drawn").name
    (drawn / "empty").mkdir(parents=True)
    (drawn / "empty" / "main.cf").write_text("compatibility_level = 3.6\n")
    return drawn


def matched(compiler: Compiler, kind: str, asked: list[str]) -> set[str]:
    entries = compiler.found(kind, *asked)  # type: ignore[arg-type]
    return {text for text, entry in zip(asked, entries, strict=True) if entry}


def names_that_postfix_matches(directory: Path, main: Mapping[str, str]) -> set[str]:
    """Of a recipient's domain: `permit_auth_destination` says whether it is in the one list that is not empty."""
    permit = {"smtpd_relay_restrictions": "permit_auth_destination, reject"}
    private = PrivatePostfix(directory / "postfix", main={**MAIN_CF, **permit, **main})
    with private as postfix, SmtpClient(postfix.port) as session:
        session.ehlo()
        session.mail("sender@outside.test")
        codes = {name: session.rcpt(f"someone@{name}").code for name in ASKED_NAMES}
    assert set(codes.values()) <= {250, 554}, codes
    return {name for name, code in codes.items() if code == 250}


def addresses_that_postfix_matches(directory: Path, mynetworks: str) -> set[str]:
    """Of clients, forged with XCLIENT."""
    permit = {"smtpd_relay_restrictions": "permit_mynetworks, reject", "mynetworks": mynetworks}
    codes = {}
    private = PrivatePostfix(directory / "postfix", main={**MAIN_CF, **permit})
    with private as postfix, SmtpClient(postfix.port) as session:
        session.ehlo()
        for address in ASKED_ADDRESSES:
            session.xclient(address)
            session.ehlo()
            session.mail("sender@outside.test")
            codes[address] = session.rcpt("someone@elsewhere.test").code
            session.command("RSET")
    assert set(codes.values()) <= {250, 554}, codes
    return {address for address, code in codes.items() if code == 250}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("parameter", "parents"),
    [
        ("mydestination", "relay_domains, mydestination"),
        ("virtual_mailbox_domains", "virtual_mailbox_domains"),
        ("virtual_alias_domains", ""),
        ("relay_domains", "mynetworks, relay_domains"),
        ("relay_domains", ""),
    ],
)
def test_lists_of_names(
    compiler: Compiler, drawn: Path, monkeypatch: pytest.MonkeyPatch, parameter: str, parents: str, seed: int
) -> None:
    """Names, names with dots around them, files, maps, exclusions: our table matches what Postfix does."""
    rng = random.Random(f"{parameter} {parents} {seed}")
    # "Everything below, but for" is what a table of names cannot say.
    has_below = parameter == "relay_domains"
    drawing = Drawing(rng, drawn, [*NAMES, *BELOW], [*NAMES, *BELOW], [], not has_below, itertools.count())
    value = drawing.list()
    monkeypatch.setenv("MAIL_CONFIG", str(drawn / "postfix" / "etc"))
    theirs = names_that_postfix_matches(drawn, {parameter: value, "parent_domain_matches_subdomains": parents})
    compiler.policy(f"table t domain postconf:{parameter}")
    outcome = compiler.run("--allow-shrink")
    assert outcome.status == 0, outcome.err
    assert matched(compiler, "domain", ASKED_NAMES) == theirs, (value, outcome.err)


@pytest.mark.parametrize("seed", range(10))
def test_lists_of_networks(compiler: Compiler, drawn: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Networks in all of Postfix's spellings, files, maps, exclusions: our table matches what Postfix does."""
    drawing = Drawing(random.Random(seed), drawn, NETWORKS, IN_MAPS, IN_CIDR, True, itertools.count())
    value = drawing.list()
    monkeypatch.setenv("MAIL_CONFIG", str(drawn / "postfix" / "etc"))
    theirs = addresses_that_postfix_matches(drawn, value)
    compiler.policy("table t cidr postconf:mynetworks")
    outcome = compiler.run("--allow-shrink")
    assert outcome.status == 0, outcome.err
    assert matched(compiler, "cidr", ASKED_ADDRESSES) == theirs, (value, outcome.err)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("192.0.2.0/255.255.255.0", "192.0.2.0/255.255.255.0 is refused by Postfix"),
        ("192.0.2.5/24", "host bits set: did you mean 192.0.2.0/24"),
        ("2001:db8::/32", "did you mean [2001:db8::]/32?"),
        ("fd::/8", "did you mean [fd::]/8?"),
    ],
)
def test_what_postfix_fails_at_is_refused(
    compiler: Compiler, drawn: Path, monkeypatch: pytest.MonkeyPatch, value: str, said: str
) -> None:
    """With such a member Postfix answers 451 to every client: the compile says what is meant."""
    with pytest.raises(AssertionError, match="451"):
        addresses_that_postfix_matches(drawn, value)
    monkeypatch.setenv("MAIL_CONFIG", str(drawn / "postfix" / "etc"))
    compiler.policy("table t cidr postconf:mynetworks")
    outcome = compiler.run()
    assert outcome.status == 78
    assert said in outcome.err


def test_an_exclusion_below_a_name_is_refused(compiler: Compiler, drawn: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Postfix takes everything below but one name; a table cannot say it, so the compile does."""
    parents = {"parent_domain_matches_subdomains": "relay_domains"}
    theirs = names_that_postfix_matches(drawn, {"relay_domains": "!b.a.test, a.test", **parents})
    assert theirs == {"a.test", "A.TEST", "a.test.", "z.a.test"}
    monkeypatch.setenv("MAIL_CONFIG", str(drawn / "postfix" / "etc"))
    compiler.policy("table t domain postconf:relay_domains")
    outcome = compiler.run()
    assert outcome.status == 78
    assert "b.a.test is excluded from the names below a.test: list the names that are meant" in outcome.err
