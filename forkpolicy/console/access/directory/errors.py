"""Why nobody could be signed in by another server."""

from __future__ import annotations


class DirectoryAwayError(Exception):
    """The server could not be asked, so that nobody knows whether a password is right. The message is for the log: it
    has the name of the server, which strangers need not know.
    """
