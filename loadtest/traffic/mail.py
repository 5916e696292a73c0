"""One mail on its way in, and what Postfix would ask a policy server about it.

A `Transaction` is what a client does in SMTP: who it is, whether it signs in, from whom to whom. `policy_request`
gives the bytes that Postfix 3.7 sends for one recipient of it at RCPT, attribute for attribute in its order. Knows
neither verdicts nor sockets.
"""

from __future__ import annotations

from dataclasses import dataclass

# Of every login of a private Postfix (servers/dovecot_auth.py).
PASSWORD = "secret"  # noqa: S105 - the only password of a server that lives as long as one test

# Where a request has this, the generator (clients/generator.py) puts what no other request has.
SERIAL = b"[SERIAL]"


@dataclass(frozen=True, slots=True)
class Transaction:
    """One MAIL FROM with its recipients. `login` is empty for a client that does not sign in."""

    kind: str
    client: str
    sender: str
    recipients: tuple[str, ...]
    client_name: str = "unknown"
    helo: str = "mail-out-17.zone-b.provider.example"
    login: str = ""
    method: str = ""
    # A client that tries and fails to sign in goes on as an unauthenticated one.
    wrong_password: bool = False

    @property
    def signed_in(self) -> bool:
        """Whether AUTH succeeds."""
        return bool(self.login) and not self.wrong_password


TEMPLATE = """\
request=smtpd_access_policy
protocol_state=RCPT
protocol_name=ESMTP
client_address={client}
client_name={client_name}
client_port={port}
reverse_client_name={reverse}
server_address=192.0.2.25
server_port=25
helo_name={helo}
sender={sender}
recipient={recipient}
recipient_count=0
queue_id=
instance={instance}
size={size}
etrn_domain=
stress=
sasl_method={method}
sasl_username={login}
sasl_sender=
ccert_subject=
ccert_issuer=
ccert_fingerprint={ccert}
ccert_pubkey_fingerprint={ccert}
encryption_protocol={tls[0]}
encryption_cipher={tls[1]}
encryption_keysize={tls[2]}
policy_context=

"""
FINGERPRINT = ":".join(["6A"] * 16)
TLS = ("TLSv1.3", "TLS_AES_256_GCM_SHA384", "256")


def policy_request(mail: Transaction, recipient: str, number: int = 0) -> bytes:
    """What Postfix asks about `recipient`; `number` tells the requests of one run apart."""
    reverse = f"host-{mail.client.replace('.', '-').replace(':', '-')}.dynamic.provider.example"
    text = TEMPLATE.format(
        client=mail.client,
        client_name=mail.client_name,
        reverse=reverse if mail.client_name == "unknown" else mail.client_name,
        port=1024 + number % 60000,
        helo=mail.helo,
        sender=unquoted(mail.sender),
        recipient=unquoted(recipient),
        instance=f"{number & 0xFFFF:x}.6b066073.{number:x}.0",
        size=1000 + number % 90000,
        method=mail.method if mail.signed_in else "",
        login=mail.login if mail.signed_in else "",
        tls=TLS,
        ccert=FINGERPRINT,
    )
    return text.encode("utf-8", "surrogateescape")


def unquoted(address: str) -> str:
    """An address in Postfix's internal form: without the quotes and backslashes of its local part."""
    local, at, domain = address.rpartition("@")
    if not local.startswith('"'):
        return address
    return local[1:-1].replace("\\", "") + at + domain
