"""Where the parts of a gateway are: paths and ports. The defaults are those of a host; load tests have others."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class GatewayPlace:
    """`postfix`, `rspamd`, `forkpolicy`: directories of configuration. `queue`: Postfix's queue directory;
    `policy_socket`: below it; `store_policy`: the policy server's socket for the store, whose user may not go there.
    `api_group`: who may ask the store. `release`, `milter`, `controller`: HOST:PORT. `console_tables`: where the
    console writes users' lists.
    """

    postfix: str = "/etc/postfix"
    rspamd: str = "/etc/rspamd"
    forkpolicy: str = "/etc/forkpolicy"
    queue: str = "/var/spool/postfix"
    store: str = "/var/lib/forkpolicy-store"
    console_tables: str = "/var/lib/forkpolicy-console/tables"
    policy_socket: str = "private/policy"
    store_policy: str = "/run/forkpolicy/policy"
    api_group: str = "fp-store"
    release: str = "127.0.0.1:10026"
    milter: str = "127.0.0.1:11332"
    controller: str = "127.0.0.1:11334"
    mail_log: str = "/var/log/mail.log"
    named_domains: str = ""

    @property
    def settings(self) -> str:
        """gateway.toml."""
        return f"{self.forkpolicy}/gateway.toml"

    @property
    def domains(self) -> str:
        """The domains file."""
        return self.named_domains or f"{self.forkpolicy}/domains"

    def with_domains(self, path: str) -> GatewayPlace:
        """The same with a domains file at another place."""
        return replace(self, named_domains=path)
