"""Why a page is not shown. Each has the status of HTTP and a sentence for the one who asked."""

from __future__ import annotations


class PageError(Exception):
    """A request that gets a page with a sentence in place of what it asked for."""

    status = 400


class NotFound(PageError):  # noqa: N818 - the name of the status
    """There is no such thing, or this account may not know that there is."""

    status = 404


class NotAllowed(PageError):  # noqa: N818 - the name of the status
    """The account, or the form that was sent, has not the right to this."""

    status = 403


class TooMany(PageError):  # noqa: N818 - the name of the status
    """Later: too many tries, or too many at once."""

    status = 429


class UserMistake(PageError):  # noqa: N818 - it is not the program's
    """What was typed cannot be used. `field`: of the form, where it is of one."""

    status = 422

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field
