"""What the master knows of settings and policy that were loaded: a protocol, since it must know nothing of mail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from forkpolicy.settings import Settings
    from forkpolicy.status import PolicySummary


class Servable(Protocol):
    """What the master knows of what was loaded: workers serve with it, or with what they load from `snapshot`, the
    bytes of its files. `line_texts` are what hits are counted by.
    """

    @property
    def settings(self) -> Settings:
        """The settings among the files."""

    @property
    def snapshot(self) -> dict[str, bytes]:
        """The bytes of each file, by its path."""

    @property
    def summary(self) -> PolicySummary:
        """What log lines and `status` say about the policy."""

    @property
    def line_texts(self) -> tuple[str, ...]:
        """Every line with its place."""

    @property
    def table_paths(self) -> tuple[str, ...]:
        """Where the compiled tables are."""

    @property
    def remembers(self) -> bool:
        """Whether the policy remembers anything from one request to the next."""

    @property
    def zones(self) -> tuple[str, ...]:
        """The DNS lists that the policy asks, by name."""

    @property
    def warnings(self) -> tuple[object, ...]:
        """What the operator should look at; texts by `str`."""
