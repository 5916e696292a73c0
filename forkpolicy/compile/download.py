"""Fetch one list by HTTPS into a file: all of it, within limits of size and time, or not at all.

A child process does it, so that the limit of time holds for everything: names that are looked up, connections, and
servers that send a byte now and then (a time limit of urllib3 is for one wait). What is refused, as a failed download:
any status but 200 and 304, redirects to anything but https or more than five of them, a body that was cut (by its
length, its chunks, the end of TLS, the end of gzip), one that is larger than the limit once it is decompressed, and a
web page. Certificates are always checked, against the system's authorities or those of SSL_CERT_FILE and SSL_CERT_DIR.
A name and password of the URL go to its own host only.

It imports urllib3 (`pip install 'forkpolicy[https]'`) in that child. Raises CannotWriteError where the file cannot be
written, and OSError where there can be no child.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http
import json
import os
import select
import signal
import ssl
from dataclasses import asdict, dataclass
from typing import IO, TYPE_CHECKING, Final, Literal
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

from forkpolicy import __version__
from forkpolicy.compile.directory import writing
from forkpolicy.compile.feed_urls import check_url
from forkpolicy.compile.gunzip import GZIP, gunzipped
from forkpolicy.errors import CannotWriteError
from forkpolicy.process import die_with_parent, fork
from forkpolicy.protocol.reply import clean

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    import urllib3

MAX_BYTES: Final = 64 << 20
# Two minutes, since other compiles wait for this one. Half a minute is what a busy server may take to answer.
TOTAL_S: Final = 120.0
CONNECT_S: Final = 10.0
ANSWER_S: Final = 30.0
MAX_REDIRECTS: Final = 5
# Longer ones are not kept: what is known of a copy must stay small, and a server may send 64 KiB.
MAX_VALIDATOR_CHARS: Final = 1000

_CHUNK_BYTES: Final = 1 << 16
_BOM: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of it. `new`: the file has the list, and the rest says what it is; `same`: it is still what the
    validators name; `failed` and `unwritten`: the reason.
    """

    state: Literal["new", "same", "failed", "unwritten"]
    reason: str = ""
    etag: str = ""
    last_modified: str = ""
    digest: str = ""
    size_bytes: int = 0


class _FailedError(Exception):
    """Why a download failed, in words."""


def download(url: str, etag: str, last_modified: str, path: Path) -> Answer:
    """Fetch a URL to a file, unless it is still what the validators name; both are empty where it is wanted anyway."""
    read_end, write_end = os.pipe()
    parent = os.getpid()

    def work() -> None:
        die_with_parent(signal.SIGKILL, parent)
        os.write(write_end, json.dumps(asdict(_answer(url, etag, last_modified, path))).encode())

    with open(read_end, "rb") as pipe:  # noqa: PTH123 - a descriptor
        try:
            pid = fork(work)
        finally:
            os.close(write_end)
        document = _wait_for(pid, pipe)
    if document is None:
        return Answer("failed", f"it was not complete after {TOTAL_S:g} s")
    if not document:
        return Answer("failed", "the process that fetched it has ended before it was complete")
    answer = Answer(**json.loads(document))
    if answer.state == "unwritten":
        raise CannotWriteError(answer.reason)
    return answer


def _wait_for(pid: int, pipe: IO[bytes]) -> bytes | None:
    """What the child has written; None where it took too long. It has ended, however this ends."""
    try:
        return pipe.read() if select.select([pipe], [], [], TOTAL_S)[0] else None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _answer(url: str, etag: str, last_modified: str, path: Path) -> Answer:
    import urllib3  # noqa: PLC0415 - optional, and no other source should pay for it

    wanted = {"If-None-Match": etag, "If-Modified-Since": last_modified}
    validators = {name: value for name, value in wanted.items() if value}
    try:
        with _opened(url, validators) as response:
            if response.status == http.HTTPStatus.NOT_MODIFIED and validators:
                return Answer("same")
            if response.status != http.HTTPStatus.OK:
                raise _FailedError(f"its server answers with status {_status(response)}")  # noqa: TRY301
            digest, size_bytes = _save(_text(response), path)
            etag, last_modified = (_validator(response, name) for name in ("ETag", "Last-Modified"))
            return Answer("new", "", etag, last_modified, digest, size_bytes)
    except CannotWriteError as error:
        return Answer("unwritten", str(error))
    except (_FailedError, OSError, ValueError, urllib3.exceptions.HTTPError) as error:
        return Answer("failed", _in_words(error))


@contextlib.contextmanager
def _opened(url: str, validators: dict[str, str]) -> Iterator[urllib3.BaseHTTPResponse]:
    """The answer at the end of all redirects, of which nothing but the head was read."""
    import urllib3  # noqa: PLC0415 - as above

    first = urlsplit(url)
    timeout = urllib3.Timeout(connect=CONNECT_S, read=ANSWER_S)
    with urllib3.PoolManager(ssl_context=_tls(), retries=False, timeout=timeout) as pool:
        for _ in range(MAX_REDIRECTS + 1):
            at = urlsplit(url)
            headers = {"User-Agent": f"forkpolicy/{__version__}", "Accept-Encoding": "gzip", **validators}
            if first.username is not None and _place(at) == _place(first):
                headers["Authorization"] = _basic(first)
            response = pool.request("GET", url, headers=headers, redirect=False, preload_content=False)
            location = response.get_redirect_location()
            if not location:
                yield response
                return
            response.close()
            url = _redirected(url, location)
    raise _FailedError(f"its server redirects more than {MAX_REDIRECTS} times")


def _redirected(url: str, location: str) -> str:
    """The URL that a server redirects to. Raises _FailedError."""
    try:
        to = urljoin(url, location)
        scheme = urlsplit(to).scheme
        if scheme == "https":
            return check_url(to)
    except ValueError as error:
        raise _FailedError("its server redirects to what is not a valid URL") from error
    raise _FailedError(f"its server redirects to {scheme}://, where anyone could change it")


def _validator(response: urllib3.BaseHTTPResponse, name: str) -> str:
    """What a server calls its version by. One that cannot be sent back as a line of HTTP is none."""
    text = response.headers.get(name, "")
    return text if len(text) <= MAX_VALIDATOR_CHARS and text.isprintable() else ""


class _Tls(ssl.SSLContext):
    """Lets no connection end without the end of TLS. Python takes a cut one for a complete one otherwise, and the body
    of an answer may have no other end (findings/urllib3-takes-half-a-gzip-for-all.sh).
    """

    def wrap_socket(
        self,
        sock: socket.socket,
        server_side: bool = False,
        do_handshake_on_connect: bool = True,
        suppress_ragged_eofs: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLSocket:
        """As SSLContext has it, but for one default."""
        return super().wrap_socket(
            sock, server_side, do_handshake_on_connect, suppress_ragged_eofs, server_hostname, session
        )


def _tls() -> ssl.SSLContext:
    """Certificates and names are checked: PROTOCOL_TLS_CLIENT is that."""
    context = _Tls(ssl.PROTOCOL_TLS_CLIENT)
    # On in some versions of Python 3.11, Debian 12's among them, and then the end of TLS may be missing unnoticed.
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    context.load_default_certs()
    return context


def _text(response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    """The text of an answer, decompressed. What begins as gzip is gzip, whatever its headers say."""
    encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip", "x-gzip", ""):
        raise _FailedError(f"its server sends it in the encoding {encoding}, which was not asked for")
    chunks = response.stream(_CHUNK_BYTES, decode_content=False)
    first = next(chunks, b"")
    while first and len(first) < len(GZIP) and (more := next(chunks, b"")):
        first += more
    every = _joined(first, chunks)
    return gunzipped(every, _CHUNK_BYTES) if first.startswith(GZIP) else every


def _joined(first: bytes, rest: Iterable[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _save(chunks: Iterable[bytes], path: Path) -> tuple[str, int]:
    """Write a text to a file: its SHA-256 and size."""
    digest, size, begin = hashlib.sha256(), 0, b""
    with writing(path):
        file = path.open("wb")
    with file:
        for chunk in chunks:
            size += len(chunk)
            if size > MAX_BYTES:
                raise _FailedError(f"it is larger than {MAX_BYTES >> 20} MiB")
            begin = _begin(begin, chunk)
            digest.update(chunk)
            with writing(path):
                file.write(chunk)
        with writing(path):
            file.flush()
            os.fsync(file.fileno())
    return digest.hexdigest(), size


def _begin(begin: bytes, chunk: bytes) -> bytes:
    """The first character of a text, once it came. Raises _FailedError where that begins a web page."""
    if not begin:
        begin = chunk.removeprefix(_BOM).lstrip()[:1]
        if begin == b"<":
            raise _FailedError("its server sends a web page or XML in the place of a list")
    return begin


def _place(url: SplitResult) -> tuple[str | None, int]:
    return url.hostname, url.port or 443


def _basic(url: SplitResult) -> str:
    credentials = f"{unquote(url.username or '')}:{unquote(url.password or '')}"
    return f"Basic {base64.b64encode(credentials.encode()).decode()}"


def _status(response: urllib3.BaseHTTPResponse) -> str:
    with contextlib.suppress(ValueError):
        return f"{response.status} {http.HTTPStatus(response.status).phrase}"
    return str(response.status)


def _in_words(error: Exception) -> str:
    """A failure in words, without what urllib3 says of its own objects."""
    import urllib3  # noqa: PLC0415 - as above

    known = urllib3.exceptions
    cause = error.__context__ if isinstance(error, known.HTTPError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"the certificate of its server is not valid: {cause.verify_message}"
    if isinstance(error, known.LocationValueError):
        return "the name of its server is not valid, or that of the one that it redirects to"
    if isinstance(error, known.NameResolutionError):
        return f"the name of its server is not found: {_reason(cause)}"
    if isinstance(error, known.NewConnectionError):
        return f"its server takes no connection: {_reason(cause)}"
    if isinstance(error, known.ConnectTimeoutError):
        return f"its server takes no connection within {CONNECT_S:g} s"
    if isinstance(error, known.TimeoutError):
        return f"its server sends nothing for {ANSWER_S:g} s"
    # Not every version of Python has a class for the second.
    if isinstance(cause, ssl.SSLEOFError) or getattr(cause, "reason", "") == "UNEXPECTED_EOF_WHILE_READING":
        return "the connection ended before it was complete"
    if isinstance(error, known.SSLError):
        return f"there is no TLS with its server: {_reason(cause)}"
    if isinstance(error, known.ProtocolError | known.InvalidHeader):
        return f"the connection ended before it was complete, or what came is not HTTP ({_reason(cause or error)})"
    return str(error)


def _reason(error: BaseException | None) -> str:
    """What the system says, or what a server has sent in the place of HTTP: no controls of a terminal."""
    return clean(str(getattr(error, "strerror", None) or error).strip().lower()) if error else "no reason given"
