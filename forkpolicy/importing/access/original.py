"""Postfix with the restrictions that were carried over, asked what a policy is asked: the original of a comparison.

Each run of restrictions is the list of a smtpd(8) of its own, with a WARN behind it: where that is logged, the run has
gone on. A request is an envelope through XCLIENT, up to RCPT; its number is the port of the client, by which the log
says what was done. PREPEND and DEFER_IF_REJECT leave no trace there, and count as DUNNO.
"""

from __future__ import annotations

import re
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from forkpolicy.errors import UsageError
from forkpolicy.importing.access.lists import WARN, restrictions_of
from forkpolicy.importing.access.map_files import INDEXED, members, read_map
from forkpolicy.importing.access.private_postfix import START_TIMEOUT_S, PrivatePostfix, temporary_directory
from forkpolicy.importing.access.translate import asks_by_context, planned
from forkpolicy.importing.draft import Draft
from forkpolicy.protocol.reply import RESTRICTIONS

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from forkpolicy.importing.access.lists import Restriction
    from forkpolicy.importing.access.reading import Reader
    from forkpolicy.importing.formats import Inputs

_WENT_ON: Final = "forkpolicy-went-on"
_OPEN: Final = "check_client_access static:OK, reject"
_END: Final = f"check_recipient_access static:{{WARN {_WENT_ON}}}, {_OPEN}"
# What look-ups depend on, where main.cf sets it and it names no map.
_TAKEN: Final = """
    access_map_defer_code access_map_reject_code allow_untrusted_routing append_dot_mydomain defer_code mydestination
    mydomain myhostname mynetworks myorigin parent_domain_matches_subdomains recipient_delimiter reject_code
    relay_domains smtpd_null_access_lookup_key smtpd_restriction_classes
""".split()  # noqa: SIM905 - many names read better as a text
_BEFORE_MAIL: Final = ("CONNECT", "EHLO", "HELO")
_DONE: Final = re.compile(r"NOQUEUE: (\w+): RCPT from [^ ]*:(\d+): (.*); from=<")
_ENDED: Final = re.compile(r": disconnect from [^ ]*:(\d+) ")
_PREFIX: Final = re.compile(r"<[^>]*>+: [A-Z][\w ]* rejected: ")
_DSN: Final = re.compile(r"[245]\.\d{1,3}\.\d{1,3}(?: |$)")
_TEXTS: Final = {"REJECT": "Access denied", "DEFER": "Access denied", "DEFER_IF_PERMIT": "Service unavailable"}


class PostfixOriginal:
    """The services of one Postfix. A service's name has what is known: `c0`, `c0-mail` without a recipient ..."""

    def __init__(self, postfix: PrivatePostfix, contexts: Sequence[str], *, by_context: bool) -> None:
        self._postfix = postfix
        self._contexts = contexts
        self._by_context = by_context

    def replies(self, requests: Sequence[Mapping[str, str]]) -> list[str]:
        """What Postfix does for each, in words of access(5)."""
        begin = len(self._postfix.log_text())
        sessions: dict[str, _Session] = {}
        try:
            answers = [self._offered(number, each, sessions) for number, each in enumerate(requests, 1)]
        finally:
            ended = [session.end() for session in sessions.values()]
        done = self._done(begin, ended)
        return [_in_words(reply, done.get(number, [])) for number, reply in enumerate(answers, 1)]

    def _offered(self, number: int, request: Mapping[str, str], sessions: dict[str, _Session]) -> str:
        service = self._service(request)
        if service not in sessions:
            sessions[service] = _Session(self._postfix.connect(service))
        return sessions[service].rcpt(number, request)

    def _service(self, request: Mapping[str, str]) -> str:
        context = request.get("policy_context", "")
        at = 0
        if self._by_context:
            if context not in self._contexts:
                known = ", ".join(self._contexts)
                raise UsageError(
                    f'policy_context="{context}": --compare needs requests of one of {known}, as those have that '
                    "come by way of main.cf.new"
                )
            at = self._contexts.index(context)
        return f"c{at}{_known(request)}"

    def _done(self, begin: int, ended: Iterable[int]) -> dict[int, list[tuple[str, str]]]:
        """What the log has about each number, when it has all: a session's last line has that of its last request."""
        deadline_s = time.monotonic() + START_TIMEOUT_S
        missing = set(ended)
        text = ""
        while missing:
            text = self._postfix.log_text()[begin:]
            missing -= set(map(int, _ENDED.findall(text)))
            if missing and time.monotonic() > deadline_s:
                raise UsageError(f"the log of Postfix lacks lines: {text[-500:]}")
            time.sleep(0.01)
        done: dict[int, list[tuple[str, str]]] = {}
        for verb, number, rest in _DONE.findall(text):
            done.setdefault(int(number), []).append((verb, rest))
        return done


class _Session:
    """One SMTP session. Raises OSError."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lines = connection.makefile("rb")
        self._last = 0
        self._read()
        self._command("EHLO localhost")

    def rcpt(self, number: int, request: Mapping[str, str]) -> str:
        """The reply to the last command of an envelope that is not refused before."""
        name = request.get("client_name") or "unknown"
        reverse = request.get("reverse_client_name") or name
        address = request.get("client_address") or "[UNAVAILABLE]"
        words = [f"ADDR={'IPV6:' if ':' in address else ''}{address}", f"PORT={number}"]
        for key, value in (("NAME", name), ("REVERSE_NAME", reverse)):
            words.append(f"{key}={'[UNAVAILABLE]' if value == 'unknown' else _xtext(value)}")
        if request.get("sasl_username"):
            words.append(f"LOGIN={_xtext(request['sasl_username'])}")
        self._command("XCLIENT " + " ".join(words))
        self._last = number
        if request.get("helo_name"):
            self._command(f"HELO {request['helo_name']}")
        reply = self._command(f"MAIL FROM:<{_quoted(request.get('sender', ''))}>")
        if reply.startswith("2"):
            reply = self._command(f"RCPT TO:<{_quoted(request.get('recipient') or 'nobody@invalid')}>")
        self._command("RSET")
        return reply

    def end(self) -> int:
        """QUIT; the number of the last request."""
        self._command("QUIT")
        self._lines.close()
        self._connection.close()
        return self._last

    def _command(self, line: str) -> str:
        self._connection.sendall(line.encode("utf-8", "surrogateescape").replace(b"\n", b"?") + b"\r\n")
        return self._read()

    def _read(self) -> str:
        while (line := self._lines.readline())[3:4] == b"-":
            pass
        if not line:
            raise UsageError("the private Postfix has ended a session")
        return line.decode("utf-8", "replace").strip()


@contextmanager
def original(inputs: Inputs) -> Iterator[PostfixOriginal]:
    """Start Postfix with the runs of these files. Raises UsageError."""
    plans, reader = planned(inputs, Draft())
    runs = [run for plan in plans for run in plan.runs]
    if not runs:
        raise UsageError("nothing was carried over that could be compared")
    with temporary_directory() as base:
        maps = _Maps(base / "maps", reader, inputs)
        services = {}
        for number, run in enumerate(runs):
            for known in ("", "-mail", "-helo"):
                # What warn_if_reject makes of a reply is not the policy's.
                words = [maps.words(each._replace(warns=False)) for each, _ in run.steps if not _asks_more(each, known)]
                services[f"c{number}{known}"] = {"smtpd_recipient_restrictions": ", ".join([*words, _END])}
        main = {"smtpd_relay_restrictions": _OPEN, **_parameters(reader, maps)}
        postfix = PrivatePostfix(base / "postfix", main, services)
        for word in maps.to_make:
            postfix.postmap(word)
        try:
            postfix.start()
            yield PostfixOriginal(postfix, [run.context for run in runs], by_context=asks_by_context(inputs, plans))
        finally:
            postfix.stop()


class _Maps:
    """Copies of maps that the user postfix can read; indexed ones are made anew of their texts."""

    def __init__(self, directory: Path, reader: Reader, inputs: Inputs) -> None:
        directory.mkdir()
        self._directory, self._reader, self._files = directory, reader, inputs.files
        self.to_make: list[str] = []

    def words(self, restriction: Restriction) -> str:
        """A restriction that asks the copy."""
        warns = f"{WARN} " if restriction.warns else ""
        if not restriction.argument or not restriction.name.endswith("_access"):
            return warns + restriction.written
        map_file = read_map(restriction.argument, self._reader.main, self._files, restriction.origin)
        if map_file.kind in ("static", "inline") or map_file.name.startswith("{"):
            return f"{warns}{restriction.name} {restriction.argument.replace('$', '$$')}"
        path = self._directory / str(len(list(self._directory.iterdir())))
        path.write_bytes(self._files.read(self._reader.main.path(map_file.name)))
        kind = "hash" if map_file.kind in INDEXED and map_file.kind != "texthash" else map_file.kind
        if kind == "hash":
            self.to_make.append(f"hash:{path}")
        return f"{warns}{restriction.name} {kind}:{path}"


def _parameters(reader: Reader, maps: _Maps) -> dict[str, str]:
    """Of main.cf what look-ups depend on, and the classes, whose maps that cannot be read nobody asks for here."""
    main = reader.main
    found = {}
    for name in _TAKEN:
        if name in main.parameters:
            words = members(main.value(name))
            found[name] = " ".join(word for word in words if "://" not in word and not re.match(r"[a-z]+:|/", word))
    for name in reader.classes & main.parameters.keys():
        try:
            found[name] = ", ".join(maps.words(each) for each in restrictions_of(main, main.parameters[name]))
        except ValueError:
            found[name] = "reject"
    return found


def _known(request: Mapping[str, str]) -> str:
    if request.get("protocol_state") in _BEFORE_MAIL:
        return "-helo"
    return "" if request.get("recipient") else "-mail"


def _asks_more(restriction: Restriction, known: str) -> bool:
    """Whether a restriction is about what is not known yet: smtpd(8) does not look it up then."""
    about = {"": (), "-mail": ("recipient",), "-helo": ("recipient", "sender")}[known]
    return any(f"check_{each}_access" == restriction.name for each in about)


def _in_words(reply: str, done: Iterable[tuple[str, str]]) -> str:
    """The SMTP reply and what was logged, as a reply of a policy."""
    events = [(verb, rest) for verb, rest in done if rest != _WENT_ON]
    went_on = any(rest == _WENT_ON for _, rest in done)
    if not reply.startswith("2"):
        text = _PREFIX.sub("", reply)
        return f"DEFER_IF_PERMIT {_DSN.sub('', text[4:], count=1)}" if went_on else text
    for verb, rest in events:
        if verb in ("warn", "info"):
            return f"{verb.upper()} {rest}".strip()
        if verb in ("hold", "discard", "filter", "redirect", "bcc"):
            target = re.search(r"triggers (?:FILTER|REDIRECT|BCC) (.*)", rest)
            return f"{verb.upper()} {target[1]}" if target else verb.upper()
    return "DUNNO" if went_on else "OK"


def same_reply(theirs: str, ours: str) -> bool:
    """Whether Postfix did what the policy replies. Enhanced codes depend on the list and are not compared."""
    if ours.partition(" ")[0] in RESTRICTIONS:
        # What Postfix makes of a restriction is its own matter.
        return theirs in ("DUNNO", "OK") or theirs[0] in "45"
    return _canonical(theirs) == _canonical(ours)


def _canonical(reply: str) -> tuple[str, str]:
    verb, _, rest = reply.partition(" ")
    text = " ".join(_DSN.sub("", rest, count=1).split())
    if verb in ("PREPEND", "DEFER_IF_REJECT", "DUNNO"):
        return "DUNNO", ""
    if verb in ("OK", "RELAY", "HOLD", "DISCARD"):
        return verb, ""
    if verb[0] in "45" or verb in ("REJECT", "DEFER"):
        kind = {"REJECT": "5", "DEFER": "4"}.get(verb, verb[0])
        return kind, text or "Access denied"
    return verb, text or _TEXTS.get(verb, "")


def _xtext(value: str) -> str:
    return "".join(chr(byte) if 33 <= byte <= 126 and byte not in b"+=" else f"+{byte:02X}" for byte in value.encode())


def _quoted(address: str) -> str:
    """An address as a client writes it: a local part with odd characters in quotes."""
    local, at, domain = address.rpartition("@")
    if at and re.search(r'[\s"(),:;<>@\[\\\]]', local):
        escaped = re.sub(r'(["\\])', r"\\\1", local)
        return f'"{escaped}"@{domain}'
    return address
