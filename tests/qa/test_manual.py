"""Manual pages, code and samples agree, in both directions: settings, commands, the words of the policy language."""

from __future__ import annotations

import argparse
import re
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from forkpolicy import errors
from forkpolicy.commands.main import make_parser
from forkpolicy.compile import command as compile_command
from forkpolicy.compile.ldap_file import LdapFile
from forkpolicy.compile.sources.registry import _ROW_SOURCES
from forkpolicy.master.generation import FIXED, FIXED_STATE
from forkpolicy.policy.matchers import types
from forkpolicy.policy.matchers.expression_signs import REGEX_CHARS
from forkpolicy.policy.parser import KEYWORDS
from forkpolicy.policy.parts import PARTS
from forkpolicy.policy.template import CODE, MATCH_PREFIX, TEXT_PREFIX
from forkpolicy.protocol.attributes import ATTRIBUTES, STATES
from forkpolicy.protocol.reply import MAX_TEXT_BYTES, VERBS
from forkpolicy.settings import SECTIONS, Settings, declared
from forkpolicy.tables.kinds import KINDS
from tests.fakes import diagnostics_of

ROOT = Path(__file__).parent.parent.parent
LANGUAGE = (ROOT / "docs" / "policy.conf.5.md").read_text()
SETTINGS = (ROOT / "docs" / "forkpolicy.toml.5.md").read_text()
COMMANDS = (ROOT / "docs" / "forkpolicy.8.md").read_text()
COMPILE = (ROOT / "docs" / "forkpolicy-compile.1.md").read_text()
# The log's target and the metrics' socket are opened before anything else; what the master cannot open again.
FIXED_ELSEWHERE = {
    ("log", "format"),
    ("log", "target"),
    ("history", "log"),
    ("history", "path"),
    ("history", "keep_days"),
    ("history", "mail_log"),
    ("history", "versions_bytes"),
    ("history", "audit_days"),
    ("server", "control_group"),
    ("console", "listen"),
    ("console", "url"),
    ("console", "path"),
    ("console", "gateway"),
    ("console", "sign_in"),
    ("console", "imap"),
    ("console", "ldap"),
    ("console", "ldap_base"),
    ("console", "ldap_user"),
    ("console", "ldap_bind_name"),
    ("console", "ldap_password_file"),
    ("console", "ldap_address_attribute"),
    ("console", "ldap_alias_attribute"),
    ("console", "oidc_issuer"),
    ("console", "oidc_client"),
    ("console", "oidc_secret_file"),
    ("console", "ca_file"),
    ("console", "trusted_proxies"),
    ("console", "admin_networks"),
    ("console", "session_hours"),
    ("console", "postfix"),
    ("console", "gateway"),
    ("history", "url"),
    ("history", "password_file"),
    ("metrics", "listen"),
    ("", "watch_interfaces"),
}


def rows_of(text, title, number=0):
    """The rows of the first (or a later) table below a heading, as lists of cells."""
    section = re.split(rf"^#+ {re.escape(title)}$", text, maxsplit=1, flags=re.MULTILINE)[1]
    lines = re.findall(r"(?:^\|.*\n)+", section, re.MULTILINE)[number].splitlines()
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip()[1:-1])] for line in lines[2:]]


def code_in(text):
    """Everything that stands between backquotes."""
    return re.findall(r"`([^`]+)`", text)


def names_in(rows, column=0):
    """All code in one column."""
    return [name for row in rows for name in code_in(row[column])]


# Settings


def documented_settings():
    """(section, name) -> the cells of its row."""
    sections = {"": "Top of the file", **{name: f"[{name}]" for name in SECTIONS}}
    return {
        (section, names_in([row])[0]): row[1:]
        for section, title in sections.items()
        for row in rows_of(SETTINGS, title)
    }


def checks_of(section, name):
    """The bounds that the code declares."""
    kind = SECTIONS.get(section, Settings)
    return next(each.metadata for each in fields(kind) if each.name == name)


def test_every_setting_is_in_the_manual_and_the_other_way_round():
    """Sections, names and defaults of the manual are those of the code."""
    found = {key: tomllib.loads(f"x = {code_in(row[1])[0]}")["x"] for key, row in documented_settings().items()}
    expected = {
        (section, name): list(default) if isinstance(default, tuple) else default
        for section, name, default, _ in declared()
    }
    assert found == expected


def test_the_manual_has_the_bounds_of_numbers_and_choices():
    """Where the code has bounds or choices, the manual has the same; where it has none, the manual has no numbers."""
    for key, row in documented_settings().items():
        checks = checks_of(*key)
        found = re.search(r"([\d.]+) to (\d+)", row[2])
        bounds = (float(found[1]), int(found[2])) if found else (None, None)
        assert bounds == (checks.get("ge"), checks.get("le")), key
        assert {word.strip('"') for word in code_in(row[2]) if word[0] == '"'} == set(checks.get("choices", ())), key


def test_the_manual_knows_what_a_reload_takes_up():
    """What the master calls fixed, and what is opened once, says "no"; everything else says "yes"."""
    fixed = {("server", name) for name in FIXED} | {("state", name) for name in FIXED_STATE} | FIXED_ELSEWHERE
    documented = documented_settings()
    assert {row[3] for row in documented.values()} == {"yes", "no"}
    assert {key for key, row in documented.items() if row[3] == "no"} == fixed


# Commands


def subcommands():
    """Name -> parser of every command."""
    actions = make_parser()._actions
    return next(action.choices for action in actions if isinstance(action, argparse._SubParsersAction))


def options_of(parser):
    """Every option of a parser and of its own commands, and the names of their other arguments."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for own in action.choices.values():
                yield from options_of(own)
            continue
        yield from action.option_strings or re.findall(r"[A-Z]+", str(action.metavar))


def section_of(text, title):
    """What stands below a heading, up to the next of any level."""
    return re.split(r"^#+ ", re.split(rf"^#+ {title}\b", text, flags=re.MULTILINE)[1], flags=re.MULTILINE)[0]


def options_in(text):
    """Every option that a text names in code."""
    return set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", " ".join(re.findall(r"`[^`]+`|^    .*$", text, re.MULTILINE))))


def test_every_command_has_its_section_and_the_other_way_round():
    """The manual page has a heading for each command, and none for another one."""
    headings = set(re.findall(r"^### forkpolicy (\w+)", COMMANDS, re.MULTILINE))
    commands = set(subcommands())
    assert commands - headings == set(), 'docs/forkpolicy.8.md has no heading "### forkpolicy NAME" for these commands'
    assert headings - commands == set(), "docs/forkpolicy.8.md has headings for commands that do not exist"


def own_commands(parser):
    """The commands of a command, by name."""
    return next((each.choices for each in parser._actions if isinstance(each, argparse._SubParsersAction)), {})


@pytest.mark.parametrize("name", sorted(name for name, parser in subcommands().items() if own_commands(parser)))
def test_the_synopsis_of_a_command_has_its_own_commands(name):
    """A line for each, such as `forkpolicy state list`, and no line for another one."""
    shown = re.findall(rf"^    forkpolicy {name} (?:\[-c FILE\] )?([a-z]+)", COMMANDS, re.MULTILINE)
    assert set(shown) == set(own_commands(subcommands()[name])), f"the synopsis below ### forkpolicy {name}"


def environment_read():
    """The variables of the environment that the program reads, by name: `os.environ.get("X")`, `["X"]`, `"X" in`."""
    found = set()
    for path in (ROOT / "forkpolicy").rglob("*.py"):
        text = path.read_text()
        found |= set(re.findall(r"""environ(?:\.get|\.pop)?[(\[]["'](\w+)["']|["'](\w+)["'] in os\.environ""", text))
    return {name for names in found for name in names if name}


def test_the_manual_has_every_variable_of_the_environment():
    """Each that the program reads has its row in one of the two pages; a row without it is about a library's."""
    documented = {*names_in(rows_of(COMMANDS, "Environment")), *names_in(rows_of(COMPILE, "Environment"))}
    of_libraries = {"TZ", "SSL_CERT_FILE", "SSL_CERT_DIR"}
    named = {name for name in documented if name.isupper()}
    assert environment_read() - named == set(), "no row below ## Environment"
    assert named - environment_read() - of_libraries == set(), "rows for what nobody reads"


@pytest.mark.parametrize("name", sorted(subcommands()))
def test_the_manual_has_every_option_of_a_command(name):
    """Each option and argument of --help stands in the command's section (-c, -h: at the top), and no other option."""
    section = section_of(COMMANDS, f"forkpolicy {name}")
    common = {"-c", "-h", "--help", "--json"}
    expected = set(options_of(subcommands()[name]))
    options = {option for option in expected if option[0] == "-"}
    shown = options_in(section) - common
    assert options - common - shown == set(), f"options that ### forkpolicy {name} does not name"
    assert shown - options == set(), f"options that ### forkpolicy {name} names and that do not exist"
    explained = {option for option in options if re.search(rf"^\| `{option}[` ]", section, re.MULTILINE)}
    assert explained == options - common, "each option has a row that begins with it: | `--option` | meaning |"
    assert ("--json" in options) == ("--json" in section), name
    heading = re.search(rf"^### forkpolicy {name}.*$", COMMANDS, re.MULTILINE)[0]
    words = {word for word in expected - options if word != "FILE"}
    assert {word for word in words if word not in section and word not in heading} == set()


def test_the_manual_has_the_options_of_all_commands():
    """-c, --help and --version are explained once."""
    head = COMMANDS.split("\n## ")[0]
    assert {"-c", "-h", "--help", "--version", "--json"} <= options_in(head)


def test_the_manual_of_the_compiler_has_all_its_options():
    """Every option of forkpolicy-compile has its row, and no row is about another one."""
    rows = rows_of(COMPILE, "Options")
    documented = {word for name in names_in(rows) for word in name.split() if word[0] == "-"}
    assert documented == {each for each in options_of(compile_command.make_parser()) if each[0] == "-"}


def test_the_manual_of_the_compiler_has_all_sources_and_kinds():
    """Every way to name a source, and every kind of table, has its row."""
    prefixes = {found[1] for name in names_in(rows_of(COMPILE, "Sources")) if (found := re.match(r"(\w+):", name))}
    assert prefixes == {*_ROW_SOURCES, "https"}
    assert {row[0].strip("`") for row in rows_of(COMPILE, "Text files")} == {*KINDS, "pair"}


def test_the_manual_has_every_setting_of_a_directory():
    """Each with its default, and no other."""
    documented = {row[0].strip("`"): row[1].strip("`") for row in rows_of(COMPILE, "Directories")}
    declared = {each.name: each for each in fields(LdapFile) if "help" in each.metadata}
    assert list(documented) == list(declared)
    for name, each in declared.items():
        shown = "required" if each.metadata.get("required") else str(each.default).lower()
        assert documented[name].lower() == shown or (name == "ca_file" and documented[name] == "the system's"), name


def test_exit_statuses_are_those_of_the_code():
    """Every status that a command can end with, and 130 for an interrupt from the terminal."""
    code = {str(value) for name, value in vars(errors).items() if name.startswith("EXIT_")}
    assert {row[0] for row in rows_of(COMMANDS, "Exit status")} == code | {"130"}
    compile_code = set(re.findall(r"\b(\d+) ", compile_command.__doc__))
    assert {row[0] for row in rows_of(COMPILE, "Output and exit status")} == compile_code | {"130"}


# The language


def test_the_manual_has_every_statement_and_kind():
    """Statements and kinds of tables, no more and no less."""
    assert {name.split()[0] for name in names_in(rows_of(LANGUAGE, "Statements"))} == set(KEYWORDS)
    assert set(names_in(rows_of(LANGUAGE, "Tables"))) >= set(KINDS)


def test_the_manual_has_every_acl_type():
    """Each type with values of its own has its place in the table, each row is a type that loads."""
    rows = rows_of(LANGUAGE, "ACL types")
    named = set(names_in(rows)) - {"table:NAME"}
    own = set(types.TYPES)
    assert named == own
    states = {name for row in rows if "`protocol_state`" in row[0] for name in code_in(row[1])}
    assert states == set(STATES)


@pytest.mark.parametrize("name", sorted({*ATTRIBUTES, *types.TYPES}))
def test_every_type_of_the_manual_loads_with_a_value_of_its_form(name):
    """What the manual calls a type is one."""
    values = {"day": "Friday", "time": "08:00-17:00", "score": ">=1.5", "protocol_state": "RCPT"}
    values |= {"unqualified": "sender", "mail_version": ">=3.9", "compatibility_level": ">=3.9"}
    values |= {"rate": "{sasl_username} 100/1h", "distinct": "{sasl_username} {client_address} >5/1h"}
    values |= {"listed": "trapped {client_address}", "greylisting": "delay=5m"}
    values |= {"date": "12-24..01-06", "client_address": "192.0.2.0/24", "server_address": "192.0.2.0/24"}
    values |= {"service": "unix:/run/postgrey/socket DEFER_IF_PERMIT timeout=1s"}
    values |= {"country": "table:t CN RU", "asn": "table:t AS64500 64501"}
    values |= {"rbl": "zen.example=127.0.0.2-11", "rhsbl": "{sender} dbl.example", "spf": "pass fail"}
    values |= {"any": "first !first"}
    value = values.get(name, "1") if types.type_named(name).takes_values else ""
    assert diagnostics_of(f"table t cidr x\nacl first encrypted\nacl x {name} {value}\naccess x\n") == []


def test_the_manual_knows_when_attributes_are_known():
    """For every attribute, the states at which an empty value says something."""
    documented = {}
    for row in rows_of(LANGUAGE, "When an attribute is known"):
        said = row[1].split(":")[0].split(";")[0]
        if said == "whenever the request has it":
            continue
        states = {state for state in STATES if re.search(rf"\b{state}\b", said)}
        wanted = set(STATES) - states if "every state" in said else states
        documented |= dict.fromkeys(code_in(row[0]), frozenset(wanted))
    code = {
        name: frozenset(STATES) if each.empty_known_at is None else each.empty_known_at
        for name, each in ATTRIBUTES.items()
    }
    assert documented == code


def test_the_manual_has_every_action():
    """Every word of access(5) that is accepted, codes, restrictions, what goes on with rules; and what needs what."""
    rows = rows_of(LANGUAGE, "Actions")
    words = {name for name in names_in(rows) if not name.startswith("reject_")}
    assert words == {*VERBS, "4NN", "5NN", "log", "score", "remember", "forget"}
    for row in rows:
        for verb in set(code_in(row[0])) & set(VERBS):
            needs_text = row[1] not in ("", "a text or none")
            assert bool(diagnostics_of(f"action x {verb}\n")) is needs_text, verb
    assert f"A text is {MAX_TEXT_BYTES} bytes at most" in LANGUAGE


@pytest.mark.parametrize("word", ["log done", "score 1"])
def test_the_default_action_is_a_reply(word):
    """What goes on with the next line cannot stand where there is none."""
    diagnostics = diagnostics_of(f"action default {word}\n")
    assert len(diagnostics) == 1
    assert 'policy.conf:1:16: "default" must be a reply' in diagnostics[0]


def test_the_manual_has_what_makes_an_expression():
    """The characters that make a value an expression."""
    said = re.search(r"one that has any of `([^`]+)`", LANGUAGE)[1]
    assert set(said.split()) == REGEX_CHARS


def test_the_manual_has_every_name_of_a_template():
    """Parts of addresses, matches and braces."""
    named = {name[1:-1] for name in names_in(rows_of(LANGUAGE, "Actions", 1)) if len(name) > 2}
    assert named == {*PARTS, f"{MATCH_PREFIX}ACL", f"{TEXT_PREFIX}ACL", CODE, "sender", "client_address"}


def test_the_example_of_the_manual_loads():
    """The policy at the top of the manual is one."""
    lines = re.search(r"(?:^    .*\n)+", LANGUAGE, re.MULTILINE)[0]
    assert diagnostics_of(re.sub(r"^    ", "", lines, flags=re.MULTILINE)) == []


def test_the_sample_policy_uses_documented_words_only():
    """conf/policy.conf loads, and each of its types and actions stands in the manual."""
    text = (ROOT / "conf" / "policy.conf").read_text()
    used = re.findall(r"^acl\s+\S+\s+(\S+)", text, re.MULTILINE) + re.findall(
        r"^action\s+\S+\s+(\S+)", text, re.MULTILINE
    )
    assert used
    assert [word for word in used if f"`{word}`" not in LANGUAGE] == []
    assert diagnostics_of(text) == []


@pytest.mark.parametrize(("text", "parser"), [(COMMANDS, make_parser()), (COMPILE, compile_command.make_parser())])
def test_help_lists_the_exit_statuses_of_the_manual(text, parser):
    """The same numbers in both, 130 of an interrupt included."""
    table = re.findall(r"^\| (\d+) \|", text, re.MULTILINE)
    listed = re.findall(r"\b(\d+) [a-zA-Z-]", parser.epilog.partition("exit status:")[2])
    assert listed == table
    assert "130" in listed
