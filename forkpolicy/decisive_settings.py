"""The settings that change decisions: what a policy replies depends on them as on its files. Opens nothing.

They are all that must be kept of the settings to explain a decision later, and none of them is a secret.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from hashlib import sha256

from forkpolicy.documents import plain
from forkpolicy.settings import MailSettings, Settings


@dataclass(frozen=True, slots=True)
class DecisiveSettings:
    """All of `[mail]`, `on_error` of `[server]`, and `fail` of `[state]`: what a store that fails means."""

    mail: MailSettings
    on_error: str
    fail: str

    @classmethod
    def of(cls, settings: Settings) -> DecisiveSettings:
        """Those of the settings."""
        return cls(settings.mail, settings.server.on_error, settings.state.fail)

    @property
    def version(self) -> str:
        """The beginning of their digest: equal on hosts that decide equally with the same policy."""
        return sha256(json.dumps(plain(self), sort_keys=True).encode()).hexdigest()[:12]

    def settings(self, policy: str) -> Settings:
        """Settings with these, and defaults otherwise, for the policy at a path."""
        usual = Settings()
        server, state = replace(usual.server, on_error=self.on_error), replace(usual.state, fail=self.fail)
        return replace(usual, policy=policy, path=policy, mail=self.mail, server=server, state=state)
