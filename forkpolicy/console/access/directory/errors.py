"""Why nobody could be signed in by another server."""

from __future__ import annotations


class DirectoryAwayError(Exception):
    """The server could not be asked, so that nobody knows whether a password is right. The message is for the log: it
    has the name of the server, which strangers need not know.
    """


class NotProvedError(Exception):
    """A provider was asked, and did not say who somebody is. The message is for the log."""


class HasAccountError(Exception):
    """Who was proved has an account of the console, whose password alone signs in. The message: its name."""
