"""What the lines of a text source may look like, and what is refused in which words."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from forkpolicy.compile.sorting.sort_records import RecordParser
from forkpolicy.compile.sources import registry
from tests.compiling import Compiler


@pytest.fixture
def compiler(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Compiler:
    return Compiler(tmp_path, capsys)


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("192.0.2.0/24", None),
        ("192.0.2.0/24 ", None),
        ("192.0.2.0/24 # office", None),
        ("192.0.2.0/24 ; SBL1", None),
        ("192.0.2.0/24\t;SBL1", None),
        ("192.0.2.0/24\tpermit", "permit"),
        ("192.0.2.0/24   REJECT 5.7.1 no, thank you", "REJECT 5.7.1 no, thank you"),
        ('192.0.2.0/24 "quoted text" # why', "quoted text"),
        ("192.0.2.0/24 Büro", "Büro"),
        ("  192.0.2.0/24", None),
        ("192.0.2.0/255.255.255.0", None),
        ("[::ffff:192.0.2.0]/120", None),
        ("mynetworks = 192.0.2.0/24", None),
        ("192.0.2.0-192.0.2.255", None),
        ("192.0.2.0/24,", None),
    ],
)
def test_accepted_lines(compiler: Compiler, line: str, value: str | None) -> None:
    """Comments, values, tabs, trailing blanks, masks, mapped networks and ranges are understood."""
    assert compiler.one("cidr", line + "\n").err == ""
    entry = compiler.found("cidr", "192.0.2.7")[0]
    assert entry is not None
    assert (entry.key, entry.value, entry.line) == ("192.0.2.0/24", value, 1)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_ends_last_lines_and_byte_order_marks(compiler: Compiler, end: str, last: bool, mark: str) -> None:
    """Any line end, a missing last one, and a byte order mark at the start change nothing."""
    text = mark + "example.com" + end + "example.net" + (end if last else "")
    assert compiler.one("domain", text).status == 0
    entries = compiler.found("domain", "example.com", "example.net")
    assert [entry and entry.line for entry in entries] == [1, 2]


def test_a_pasted_mynetworks(compiler: Compiler) -> None:
    """Commas, brackets and indented continuation as in main.cf."""
    text = "mynetworks = 127.0.0.0/8, [::1]/128,\n    [2001:db8::]/64,192.0.2.0/24\n"
    assert compiler.one("cidr", text, "--json").json[0]["entries"] == 4
    assert compiler.keys("cidr", "127.9.9.9", "::1", "2001:db8::9", "192.0.2.3") == [
        "127.0.0.0/8",
        "::1",
        "2001:db8::/64",
        "192.0.2.0/24",
    ]


def test_a_range_answers_with_its_networks(compiler: Compiler) -> None:
    """`a-b` becomes the networks that make it up, so that it nests as networks do."""
    compiler.one("cidr", "192.0.2.6-192.0.2.9 range\n192.0.2.8/32 one\n")
    found = compiler.found("cidr", "192.0.2.5", "192.0.2.6", "192.0.2.8", "192.0.2.9", "192.0.2.10")
    assert [entry and entry.value for entry in found] == [None, "range", "one", "range", None]


@pytest.mark.parametrize(
    ("kind", "line", "column", "message"),
    [
        ("cidr", "192.168.1.0/22", 1, "host bits set: did you mean 192.168.0.0/22"),
        ("cidr", "  198.51.100.0/16", 3, "host bits set: did you mean 198.51.0.0/16"),
        ("cidr", "300.1.1.1", 1, "a number is larger than 255"),
        ("cidr", "010.0.0.0/8", 1, "leading zeros"),
        ("cidr", "192.0.2.0/24 198.51.100.0/24", 1, "two entries on one line"),
        ("cidr", "192.0.2.0/24 [2001:db8::]/32", 1, "two entries on one line"),
        ("cidr", "192.0.2.3198.51.100.7", 1, "glued together"),
        ("cidr", "195.235.39", 1, "did you mean 195.235.39.0/24?"),
        ("cidr", "fe80::1%eth0", 1, "a zone (%eth0)"),
        ("cidr", "0.0.0.0/0", 1, "--allow-wide"),
        ("cidr", "!192.0.2.0/24", 1, "exclusions with !"),
        ("cidr", "if 192.0.2.0/24", 1, "if and endif"),
        ("cidr", "192.0.2.0/255.0.255.0", 1, "has holes"),
        ("cidr", "192.0.2.0/24\x00", 13, "a control character (0x00)"),
        ("domain", "example.com example.net", 1, "two entries on one line"),
        ("domain", "example.com\ufeffexample.net", 12, "a byte order mark in the middle"),
        ("domain", "*.example.com", 1, 'did you mean ".example.com"?'),
        ("domain", "@example.com", 1, 'did you mean "example.com"?'),
        ("domain", "user@example.com", 1, "is a mail address, no name"),
        ("domain", "404: not found", 1, "404:"),
        ("domain", "<!DOCTYPE html>", 1, "is not a name"),
        ("domain", "exa..mple.com", 1, "empty label"),
        ("domain", "192.0.2.1", 1, "go into a table of kind cidr"),
        ("domain", "192.0.2.0/24", 1, "go into a table of kind cidr"),
        ("domain", "2001:db8::/32", 1, "go into a table of kind cidr"),
        ("domain", "/^mail[0-9]+/", 1, "write them into an acl"),
        ("domain", "example.com".ljust(300, "m"), 1, "DNS allows 253"),
        ("address", "<user@example.com>", 1, "without angle brackets"),
        ("address", "user@", 0, ""),
        ("key", "k" * 600, 1, "511 are possible"),
    ],
)
def test_refused_lines(compiler: Compiler, kind: str, line: str, column: int, message: str) -> None:
    """A wrong line is refused with file, line, column and what was meant; nothing is written."""
    outcome = compiler.one(kind, f"{line}\n")
    if not message:
        assert outcome.status == 0
        return
    assert outcome.status == 78
    assert f"{compiler.directory / 'list'}:1:{column}: " in outcome.err
    assert message in outcome.err
    assert compiler.files() == set()


@pytest.mark.parametrize(
    ("line", "sent", "value"),
    [
        ('"john doe"@example.com', "john doe@example.com", None),
        ('"John  Doe"@EXAMPLE.com REJECT not him # why', "john  doe@example.com", "REJECT not him"),
        ('"john doe@example.com" OK', "john doe@example.com", "OK"),
        ('"a@b"@example.com', "a@b@example.com", None),
        ('"a # b, c"@example.com', "a # b, c@example.com", None),
        ('"plain"@example.com', "plain@example.com", None),
        ('"john doe"@ "quoted"', "john doe@elsewhere.example", "quoted"),
    ],
)
def test_a_local_part_in_quotes(compiler: Compiler, line: str, sent: str, value: str | None) -> None:
    """It is what Postfix sends for it, which is without quotes (tests/captures/11 to 14)."""
    assert compiler.one("address", f"other@example.com\n{line}\n").err == ""
    entry = compiler.found("address", sent)[0]
    assert entry is not None
    assert (entry.value, entry.line) == (value, 2)


def test_the_captured_address_with_a_blank(compiler: Compiler) -> None:
    """What Postfix was seen to send is found under the address as people write it."""
    captured = (Path(__file__).parents[1] / "captures" / "11-quoted-localpart-space.rcpt.txt").read_text()
    attributes = dict(line.split("=", 1) for line in captured.splitlines() if line)
    compiler.one("address", '"john doe"@example.com\n"jane roe"@example.org\n')
    assert None not in compiler.found("address", attributes["sender"], attributes["recipient"])


def test_bytes_that_are_no_utf8(compiler: Compiler) -> None:
    """A Latin-1 byte in an entry is an error with its place; in a comment it is nobody's business."""
    outcome = compiler.one("domain", b"# B\xfccher\nexample.com\nb\xfccher.example\n")
    assert outcome.status == 78
    assert "list:3:2: byte 0xfc is not UTF-8: save the file as UTF-8" in outcome.err
    assert compiler.one("domain", "example.com\n".encode("utf-16")).status == 78


def test_all_mistakes_in_one_run(compiler: Compiler) -> None:
    """Every wrong line of every source and table is reported at once."""
    compiler.policy("table a cidr one two", "table b domain three", "table c key missing")
    compiler.source("one", "192.0.2.0/24\n300.1.1.1\n192.0.2.5/24\n")
    compiler.source("two", "10.0.0.0/33\n")
    compiler.source("three", "example.com\nexa..mple.com\n")
    outcome = compiler.run()
    assert outcome.status == 78
    for place in ("one:2:1: ", "one:3:1: ", "two:1:1: ", "three:2:1: ", "policy.conf:3:13: missing: cannot be read"):
        assert place in outcome.err
    assert compiler.files() == set()


def test_a_thousand_mistakes_are_counted_not_listed(compiler: Compiler) -> None:
    """Past 200 wrong lines the rest is a number."""
    outcome = compiler.one("cidr", "x\n" * 1000, "--json")
    assert outcome.err.count("neither an address nor a network") == 200
    assert "table t: 1000 errors (above, the first 200); the table in use is unchanged" in outcome.err
    assert outcome.json[0]["errors"] == 1000


def test_the_first_mistakes_of_a_big_file_are_shown(compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
    """By line, though its pieces are parsed on several cores, and the later ones may be done first."""
    monkeypatch.setattr(registry, "BLOCK_BYTES", 2000)
    lines = [f"10.0.{n // 256}.{n % 256}" if n % 3 else "x" for n in range(3000)]
    lines[:600] = ["192.0.2.1"] * 600
    outcome = compiler.one("cidr", "\n".join(lines) + "\n", "--json")
    diagnostics = outcome.json[0]["diagnostics"]
    assert [each["line"] for each in diagnostics] == [601 + 3 * n for n in range(200)]
    assert outcome.json[0]["errors"] == 800


def test_the_first_conflicts_of_a_big_file_are_shown(compiler: Compiler) -> None:
    """By line, not by key, in which order they are found."""
    numbers = range(500)
    lines = [f"n{n:03}.example a" for n in numbers] + [f"n{499 - n:03}.example b" for n in numbers]
    outcome = compiler.one("domain", "\n".join(lines) + "\n", "--json")
    assert [each["line"] for each in outcome.json[0]["diagnostics"]] == [501 + n for n in range(200)]
    assert "table t: 500 errors (above, the first 200)" in outcome.err


@pytest.mark.parametrize("flags", [(), ("--skip-bad",)])
@pytest.mark.parametrize(
    "text", ['["192.0.2.0/24"]', '\ufeff [\n  "192.0.2.0/24"\n]\n', '{"prefixes": []}', "[{}]", "{}", "[]", "[\n[1]]"]
)
def test_json_is_reported_as_json(compiler: Compiler, text: str, flags: tuple[str, ...]) -> None:
    """One sentence, not one for each line of it, and nothing of it is an entry."""
    outcome = compiler.one("cidr", text, *flags)
    assert outcome.status == 78
    assert "list:1: this is JSON: a source has one entry a line" in outcome.err
    assert "table t: 1 error;" in outcome.err


def test_brackets_and_braces_that_are_no_json(compiler: Compiler) -> None:
    """An IPv6 network may begin a file, and a key may be any text."""
    assert compiler.one("cidr", "[2001:db8::]/32\n").status == 0
    assert compiler.one("key", "{name} x\n", "--allow-shrink").status == 0


@pytest.mark.parametrize(
    ("kind", "line", "meant"),
    [
        ("domain", "example .com", "did you mean example.com?"),
        ("domain", "mail.example .co.uk REJECT", "did you mean mail.example.co.uk?"),
        ("address", "example .com", "did you mean example.com?"),
        ("address", "user @example.com", "did you mean user@example.com?"),
        ("address", "user@example .com", "did you mean user@example.com?"),
    ],
)
def test_blanks_within_a_name(compiler: Compiler, kind: str, line: str, meant: str) -> None:
    """The rest of a name is no value of its beginning."""
    outcome = compiler.one(kind, f"{line}\n")
    assert outcome.status == 78
    assert meant in outcome.err


@pytest.mark.parametrize("line", ['example.com ".com"', "example.com ...", "example.com @", "example.com . x"])
def test_values_that_are_no_rest_of_a_name(compiler: Compiler, line: str) -> None:
    """What is in quotes is meant, and what no name goes on with is a value."""
    assert compiler.one("domain", f"{line}\n").status == 0


def test_skip_bad_leaves_lines_out_and_counts_them(compiler: Compiler) -> None:
    """With --skip-bad only the wrong lines are missing, and the first of them is named."""
    outcome = compiler.one("cidr", "192.0.2.0/24\n300.1.1.1\n198.51.100.0/24\n1.2.3.4/8\n", "--skip-bad", "--json")
    assert outcome.status == 0
    assert outcome.json[0]["counts"]["skipped"] == 2
    assert "2 lines were left out, first" in outcome.err
    assert compiler.keys("cidr", "192.0.2.1", "198.51.100.1") == ["192.0.2.0/24", "198.51.100.0/24"]


def test_a_continuation_line_is_refused_not_guessed(compiler: Compiler) -> None:
    """Below an entry with a value an indented line could be either; an indented list is a list."""
    outcome = compiler.one("domain", "example.com REJECT no\n  such.example\n")
    assert "continues it in Postfix's files" in outcome.err
    assert compiler.one("domain", "  example.com a\n  example.net b\n").status == 0
    assert compiler.one("domain", "example.com\n  example.net\n").status == 0


def test_equal_keys_with_unequal_values_are_an_error(compiler: Compiler) -> None:
    """Both lines are named; --skip-bad keeps the first."""
    outcome = compiler.one("cidr", "148.185.0.0/16 EU\n192.0.2.0/24 x\n148.185.0.0/16 GB\n")
    assert outcome.status == 78
    source = compiler.directory / "list"
    assert f'{source}:3: 148.185.0.0/16 has the value "GB" here and "EU" at {source}:1' in outcome.err
    assert compiler.one("domain", "a.example x\nA.example. y\n").status == 78
    assert compiler.one("domain", "a.example x\nA.example. y\n", "--skip-bad").status == 0
    assert [entry and entry.value for entry in compiler.found("domain", "a.example")] == ["x"]


def test_a_conflict_below_a_network_of_the_same_value_is_still_one(compiler: Compiler) -> None:
    """That the first of two equal networks says nothing new does not hide that the second contradicts it."""
    outcome = compiler.one("cidr", "10.0.0.0/8 a\n10.1.0.0/16 a\n10.1.0.0/16 b\n")
    assert outcome.status == 78


def test_file_order_against_most_specific_is_said(compiler: Compiler) -> None:
    """In cidr_table(5) the first match wins; where that differs, the compile warns and names both lines."""
    outcome = compiler.one("cidr", "10.0.0.0/8 permit\n10.1.0.0/16 reject\n")
    assert outcome.status == 0
    assert 'list:2: warning: 10.1.0.0/16 ("reject") stands below 10.0.0.0/8 ("permit", line 1)' in outcome.err
    assert compiler.one("cidr", "10.1.0.0/16 reject\n10.0.0.0/8 permit\n").err == ""
    assert compiler.one("cidr", "10.0.0.0/8\n10.1.0.0/16\n").err == ""


def test_duplicates_and_nesting_are_counted(compiler: Compiler) -> None:
    """Equal networks merge, a nested one with the same value says nothing new; verdicts stay."""
    outcome = compiler.one("cidr", "192.0.2.0/24\n192.0.2.0/24\n192.0.2.34/32\n", "--json")
    assert outcome.json[0]["entries"] == 1
    assert outcome.json[0]["counts"] == {"parsed": 3, "merged": 1, "nested": 1, "skipped": 0, "ranges": 1, "expired": 0}


def test_an_empty_source_is_refused(compiler: Compiler) -> None:
    """An empty list is most often a failed download."""
    outcome = compiler.one("domain", "# nothing\n\n")
    assert outcome.status == 78
    assert "policy.conf:1:16: list: the source is empty" in outcome.err
    assert compiler.one("domain", "", "--allow-shrink").status == 0
    assert compiler.keys("domain", "example.com") == [None]


def test_a_table_that_halves_is_refused(compiler: Compiler) -> None:
    """Less than half of what it was needs --allow-shrink; the table in use stays."""
    compiler.one("domain", "".join(f"d{n}.example\n" for n in range(10)))
    outcome = compiler.one("domain", "".join(f"d{n}.example\n" for n in range(4)))
    assert outcome.status == 78
    assert "4 entries, and the table in use has 10" in outcome.err
    assert compiler.keys("domain", "d9.example") == ["d9.example"]
    assert compiler.one("domain", "d1.example\n", "--allow-shrink").status == 0
    assert compiler.keys("domain", "d9.example") == [None]


def test_a_list_that_people_edit_may_shrink(compiler: Compiler) -> None:
    """`may-shrink` behind the kind: it may halve and become empty, and a table without the word next to it may not."""
    compiler.policy("table edited domain May-Shrink list\ntable other domain list")
    compiler.source("list", "".join(f"d{n}.example\n" for n in range(10)))
    assert compiler.run().status == 0
    compiler.source("list", "d1.example\n")
    outcome = compiler.run()
    assert outcome.status == 78
    assert "edited: compiled, 1 entr" in outcome.out
    assert '"may-shrink" behind the kind' in outcome.err
    assert outcome.err.count("the table in use has 10") == 1
    compiler.source("list", "# nobody now\n")
    outcome = compiler.run("edited")
    assert (outcome.status, outcome.err) == (0, "")
    assert "0 entries" in outcome.out


def test_a_list_that_may_shrink_is_not_another_file(compiler: Compiler) -> None:
    """With --skip-bad, a file with nothing but wrong lines is not a list that somebody emptied."""
    compiler.policy("table t domain may-shrink list")
    compiler.source("list", "example.com\n")
    assert compiler.run().status == 0
    compiler.source("list", "<html>\n<body>Not here</body>\n")
    outcome = compiler.run("--skip-bad")
    assert outcome.status == 78
    assert "no line of the source is an entry" in outcome.err


def test_names_without_a_dot_are_worth_a_warning(compiler: Compiler) -> None:
    """`localhost` is a name; a list full of such names is not what it seems."""
    outcome = compiler.one("domain", "example.com\nlocalhost\nsomething\n")
    assert outcome.status == 0
    assert "list:2: warning: a name without a dot (2 times, here first)" in outcome.err


def test_what_an_address_table_takes_for_a_domain_is_said(compiler: Compiler) -> None:
    """access(5) has domains without `@`; a local part or an address of a machine was hardly meant as one."""
    outcome = compiler.one("address", "postmaster\n192.0.2.1\n<>\n.example.com\nroot@\nexample.com\nlocalhost\n")
    assert outcome.status == 0
    assert (
        'list:1: warning: a name without a dot is a domain here (a local part in every domain is written "name@")'
        in (outcome.err)
    )
    assert "list:2: warning: an address of a machine" in outcome.err
    assert outcome.err.count("warning") == 2


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [("domain", "example.com", "example.net"), ("cidr", "10.0.0.0/8", "192.0.2.1"), ("cidr", "10.0.0.0/8", "-5")],
)
def test_a_value_that_looks_like_an_entry(compiler: Compiler, kind: str, key: str, value: str) -> None:
    """In quotes, or in a column of its own, it can be nothing else than the value."""
    assert compiler.one(kind, f"{key} {value}\n").status == 78
    asked = key.partition("/")[0]
    assert compiler.one(kind, f'{key} "{value}"\n').status == 0
    assert compiler.found(kind, asked)[0].value == value
    compiler.source("list.csv", f"{key},{value}\n")
    compiler.policy(f"table t {kind} csv:list.csv:1:2")
    assert compiler.run().status == 0
    assert compiler.found(kind, asked)[0].value == value


def test_a_page_is_no_list_though_bad_lines_are_skipped(compiler: Compiler) -> None:
    """Of a page of errors --skip-bad would leave nothing, and that is an empty source."""
    compiler.source("page", "<html>\n<body>Not here</body>\n</html>\n")
    compiler.source("list", "example.com\n")
    compiler.policy("table t domain list page")
    outcome = compiler.run("--skip-bad")
    assert outcome.status == 78
    assert "no line of the source is an entry" in outcome.err
    assert compiler.run("--skip-bad", "--allow-shrink").status == 0
    assert compiler.keys("domain", "example.com") == ["example.com"]


def test_a_parameter_of_main_cf_over_several_lines(compiler: Compiler) -> None:
    """As it stands in main.cf: the name with nothing behind it, then the value, indented."""
    outcome = compiler.one("cidr", "mynetworks =\n    127.0.0.0/8,\n    [::1]/128\n  192.0.2.0/24\n")
    assert outcome.status == 0, outcome.err
    assert compiler.keys("cidr", "127.0.0.1", "::1", "192.0.2.9") == ["127.0.0.0/8", "::1", "192.0.2.0/24"]


@pytest.mark.parametrize("line", ["if x", "if a-b", "IF", "endif"])
def test_words_of_cidr_table_in_a_key_table(compiler: Compiler, line: str) -> None:
    """Refused whatever stands behind them; in quotes they are keys like others."""
    assert "if and endif of cidr_table(5) are not supported" in compiler.one("key", f"{line}\n").err
    word, _, value = line.partition(" ")
    assert compiler.one("key", f'"{word}" {value}\niffy\n').status == 0
    assert compiler.keys("key", word, "iffy") == [word.lower(), "iffy"]


@pytest.mark.parametrize("line", ["abcd =", "plain =", "relay_domains ="])
def test_a_key_whose_value_is_an_equals_sign(compiler: Compiler, line: str) -> None:
    """In a table of any texts it is an entry like others."""
    assert compiler.one("key", f"{line}\nxyz yes\n", "--json").json[0]["entries"] == 2


class Watched(list[str]):
    """Lines, and how many of them were taken one by one or in slices."""

    taken = 0

    def __getitem__(self, at):  # type: ignore[no-untyped-def]
        found = super().__getitem__(at)
        self.taken += len(found) if isinstance(at, slice) else 1
        return found


def test_many_indented_lines_below_comments() -> None:
    """Each looks at the line above it alone, so that a large list takes no longer for each line than a small one."""
    lines = Watched(["# a list", *(f"  n{number}.example.com" for number in range(1000))])
    parsed = RecordParser("domain", 0, "list", date(2026, 12, 24)).parse_lines(lines, 1)
    assert len(parsed.records) == 1000
    assert lines.taken < 3 * len(lines)


def test_a_continuation_far_below_its_entry(compiler: Compiler, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hundreds of lines of comment between them, and the end of a block, do not hide what it continues."""
    text = "host.example.com REJECT\n" + "# reason\n" * 120 + "   more.example.com\n" + "a.example\n" * 400
    before = "b.example\n" * 200
    for block_bytes in range(len(before) + 30, len(before) + 1200, 300):
        monkeypatch.setattr("forkpolicy.compile.sources.registry.BLOCK_BYTES", block_bytes)
        assert "indented below an entry with a value" in compiler.one("domain", before + text).err, block_bytes


def test_wide_networks_with_permission(compiler: Compiler) -> None:
    """--allow-wide takes 0.0.0.0/0, and what is more specific still wins."""
    compiler.one("cidr", "0.0.0.0/0 all\n::/0 all6\n192.0.2.0/24 doc\n", "--allow-wide")
    found = compiler.found("cidr", "0.0.0.0", "192.0.2.1", "255.255.255.255", "::", "ffff::1", "::ffff:1.2.3.4")
    assert [entry and entry.value for entry in found] == ["all", "doc", "all", "all6", "all6", "all"]
