"""The recipe's Postfix: parameters of main.cf, services of master.cf, and the files that they name. Pure.

`gateway check` compares a Postfix with these, and load tests run one by them. postconf(5) has the parameters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from forkpolicy.gateway.domains import Domain
    from forkpolicy.gateway.setup.place import GatewayPlace

TRANSPORT_FILE: Final = "gateway-transport"
VERIFY_FILE: Final = "gateway-verify"
HEADERS_FILE: Final = "gateway-milter-headers"
FORGED_FILE: Final = "gateway-headers"
# The transport's name must not be that of a socket in private/: master(8) makes one of that name.
TRANSPORT: Final = "quarantine"
FRONT, LATE = "front", "late"
_AWAY: Final = "default_action = 451 4.7.1 Policy service unavailable, please try again later"
_MOST_RECIPIENTS: Final = 120
_CONNECTIONS: Final = 20


def main_parameters(domains: Sequence[Domain], place: GatewayPlace) -> dict[str, str]:
    """main.cf: names and values."""
    transports = f"texthash:{place.postfix}/{TRANSPORT_FILE}"
    return {
        # Queue ids are never used again: the store knows a mail by its queue id and its bytes.
        "enable_long_queue_ids": "yes",
        "relay_domains": transports,
        "transport_maps": transports,
        # No list of recipients: reject_unverified_recipient asks the backend.
        "relay_recipient_maps": "",
        "smtpd_relay_restrictions": "permit_mynetworks, reject_unauth_destination",
        "smtpd_recipient_restrictions": ", ".join(recipient_restrictions(domains, place)),
        # A backend that was away is asked again after two minutes, not after three hours.
        "address_verify_negative_refresh_time": "2m",
        # Its text would be shown with 450, too.
        "unverified_recipient_reject_reason": "",
        "unverified_recipient_reject_code": "550",
        "smtpd_milters": f"inet:{place.milter}",
        "milter_default_action": "tempfail",
        "milter_header_checks": f"regexp:{place.postfix}/{HEADERS_FILE}",
        f"{TRANSPORT}_destination_recipient_limit": str(_MOST_RECIPIENTS),
        f"{TRANSPORT}_destination_concurrency_limit": str(_CONNECTIONS),
        "message_size_limit": str(60 << 20),
        "disable_vrfy_command": "yes",
    }


def header_checks(before: str, place: GatewayPlace) -> str:
    """header_checks with ours in front of those that are there: the first table that knows a header decides."""
    ours = f"regexp:{place.postfix}/{FORGED_FILE}"
    return before if ours in before else ", ".join(filter(None, (ours, before)))


def recipient_restrictions(domains: Sequence[Domain], place: GatewayPlace) -> Iterator[str]:
    """The stages before content, in order: where FILTER may be said stands behind what refuses recipients."""
    yield from ("reject_non_fqdn_sender", "reject_non_fqdn_recipient", "reject_unauth_destination")
    yield _policy(place, FRONT)
    yield "reject_unlisted_recipient"
    if all(each.verify for each in domains):
        yield "reject_unverified_recipient"
    else:
        yield f"check_recipient_access texthash:{place.postfix}/{VERIFY_FILE}"
    yield _policy(place, LATE)


def _policy(place: GatewayPlace, context: str) -> str:
    service = f"unix:{place.policy_socket}, timeout=10s, policy_context={context}"
    return f"check_policy_service {{ {service}, {{ {_AWAY} }} }}"


def master_services(place: GatewayPlace) -> dict[str, str]:
    """master.cf: lines by `NAME/TYPE`, as `postconf -M` takes them."""
    release = (
        "smtpd_milters=",
        "smtpd_client_restrictions=",
        "smtpd_helo_restrictions=",
        "smtpd_sender_restrictions=",
        "smtpd_data_restrictions=",
        "smtpd_end_of_data_restrictions=",
        "smtpd_relay_restrictions=permit_mynetworks,reject",
        "smtpd_recipient_restrictions=permit_mynetworks,reject",
        "mynetworks=127.0.0.0/8,[::1]/128",
        # The store keeps one copy a recipient: aliases were expanded when the mail came in.
        "receive_override_options=no_address_mappings,no_header_body_checks,no_milters",
        # The store names each try, and finds it in the log where the connection broke.
        "smtpd_authorized_xforward_hosts=127.0.0.0/8,[::1]/128",
        "smtpd_client_connection_count_limit=0",
        "smtpd_client_connection_rate_limit=0",
        "smtpd_error_sleep_time=0",
        "syslog_name=postfix/release",
    )
    # A line is what it was when it came in, however long.
    held = ("lmtp_send_xforward_command=yes", "lmtp_line_length_limit=0", "syslog_name=postfix/quarantine")
    return {
        f"{TRANSPORT}/unix": _service(f"{TRANSPORT} unix - - n - {_CONNECTIONS} lmtp", held),
        f"{place.release}/inet": _service(f"{place.release} inet n - n - - smtpd", release),
    }


def _service(line: str, options: Iterable[str]) -> str:
    return " ".join((line, *(f"-o {each}" for each in options)))


def postfix_files(domains: Sequence[Domain]) -> dict[str, str]:
    """The files that main.cf names, by their names in its directory."""
    return {
        TRANSPORT_FILE: _table(
            "Domains that are relayed, and where to (transport(5)); main.cf has it as relay_domains, too.",
            ((name, each.relay) for each in domains for name in both_names(each.name)),
        ),
        VERIFY_FILE: _table(
            "Domains whose recipients are verified at the backend.",
            (
                (name, "reject_unverified_recipient")
                for each in domains
                if each.verify
                for name in both_names(each.name)
            ),
        ),
        FORGED_FILE: "# What only the scanner may say: the store trusts it. Taken out before the scanner sees a mail.\n"
        "/^X-Spam/    IGNORE\n"
        "/^X-Virus/   IGNORE\n",
        HEADERS_FILE: "".join(
            (
                "# What the scanner's milter adds, and only that (milter_header_checks), sends mail to the store.\n",
                f"/^X-Virus: /      FILTER {TRANSPORT}:unix:private/store-virus\n",
                f"/^X-Spam: Yes/    FILTER {TRANSPORT}:unix:private/store-spam\n",
            )
        ),
    }


def both_names(name: str) -> Iterator[str]:
    """A domain as Postfix may see it: in ASCII, and as people write it (docs/addresses.md)."""
    yield name
    try:
        written = name.encode("ascii").decode("idna")
    except UnicodeError:
        return
    if written != name:
        yield written


def _table(about: str, rows: Iterable[tuple[str, str]]) -> str:
    head = f"# {about}\n# forkpolicy gateway setup writes it from the domains file; then: postfix reload\n"
    return head + "".join(f"{name}  {value}\n" for name, value in rows)
