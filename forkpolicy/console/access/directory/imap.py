"""Checks a password by signing in at a mail server (IMAP).

The password goes to the server by TLS whose certificate was checked, or to this machine itself, and nowhere else.
Raises DirectoryAwayError where the server cannot be asked.
"""

from __future__ import annotations

import imaplib
import logging
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from forkpolicy.console.access import networks
from forkpolicy.console.access.directory.errors import DirectoryAwayError

if TYPE_CHECKING:
    from forkpolicy.directory_urls import ServerUrl

# Connecting, until the server says that it is there.
GREETING_S: Final = 5.0
# Each answer then. Dovecot makes a client wait up to 15 s whose address has sent wrong passwords, and that is ours for
# all unless it knows the browser's (`_say_who_asks`, findings/dovecot-makes-one-address-wait-for-all.sh).
ANSWER_S: Final = 20.0
# Codes of RFC 5530 that say that the server could not look; any other refusal is one of the password.
_AWAY: Final = ("[UNAVAILABLE]", "[SERVERBUG]", "[LIMIT]", "[INUSE]", "[CONTACTADMIN]", "[PRIVACYREQUIRED]")
_log: Final = logging.getLogger("forkpolicy.console")
_NOT_UNDERSTOOD: Final = " command error: BAD"


def is_right(url: ServerUrl, address: str, password: str, client: str, ca_file: str = "") -> bool:
    """Whether the server takes this password for the mailbox. `client`: the address of the browser. `ca_file`: in
    place of the system's authorities.
    """
    try:
        connection = _connected(url, ca_file)
    except (OSError, imaplib.IMAP4.error) as error:
        raise DirectoryAwayError(f"{url}: {_in_words(error)}") from error
    try:
        connection.sock.settimeout(ANSWER_S)
        _say_who_asks(connection, client)
        return _sign_in(connection, address, password)
    except (OSError, imaplib.IMAP4.abort) as error:
        raise DirectoryAwayError(f"{url}: {_in_words(error)}") from error
    except imaplib.IMAP4.error as error:
        if any(code in str(error).upper() for code in _AWAY) or _NOT_UNDERSTOOD in str(error):
            raise DirectoryAwayError(f"{url}: {_in_words(error)}") from error
        return False
    finally:
        with suppress(OSError, imaplib.IMAP4.error):
            connection.sock.settimeout(GREETING_S)
            connection.logout()
        with suppress(OSError):
            connection.shutdown()


def _connected(url: ServerUrl, ca_file: str) -> imaplib.IMAP4:
    """A connection that may be given a password. Raises OSError, IMAP4.error."""
    context = ssl.create_default_context(cafile=ca_file or None)
    if url.is_tls:
        return imaplib.IMAP4_SSL(url.host, url.port, ssl_context=context, timeout=GREETING_S)
    connection = imaplib.IMAP4(url.host, url.port, timeout=GREETING_S)
    if url.begins_tls:
        try:
            connection.starttls(context)
        except BaseException:
            connection.shutdown()
            raise
    return connection


def _say_who_asks(connection: imaplib.IMAP4, client: str) -> None:
    """The address of the browser: where the server trusts this host to say so, its log and its own limits have that
    one. Raises OSError, IMAP4.abort.
    """
    found = networks.address_of(client)
    if found and "ID" in connection.capabilities:
        try:
            connection.xatom("ID", f'("name" "forkpolicy" "x-originating-ip" "{found}")')
        except imaplib.IMAP4.abort:
            raise
        except imaplib.IMAP4.error as error:
            _log.info("%s does not take ID: %s", connection.host, error)


def _sign_in(connection: imaplib.IMAP4, address: str, password: str) -> bool:
    """Raises OSError, IMAP4.error: also where the password is wrong."""
    if connection.state != "NONAUTH":
        raise imaplib.IMAP4.abort("the server asks for no password (PREAUTH)")
    if "AUTH=PLAIN" in connection.capabilities:
        connection.authenticate("PLAIN", lambda _: f"\0{address}\0{password}".encode())
    elif "LOGINDISABLED" in connection.capabilities:
        raise imaplib.IMAP4.abort("the server takes no password without TLS (LOGINDISABLED): use imaps://")
    elif address.isascii() and password.isascii():
        # imaplib puts quotes around passwords alone. An address that is asked for has neither quotes nor backslashes.
        connection.login(f'"{address}"', password)
    else:
        raise imaplib.IMAP4.abort("the server takes passwords in ASCII only: it has no AUTH=PLAIN")
    return True


def _in_words(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not good: {error.verify_message}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__
