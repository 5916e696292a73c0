"""Lines of a history's log for tests, as the server writes them."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from forkpolicy.decision_ids import decision_ids

NOON_S = datetime(2026, 11, 28, 12, tzinfo=UTC).timestamp()
new_id = decision_ids()


def time_text(at_s):
    """As the log has it."""
    moment = datetime.fromtimestamp(at_s, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


def begin(file=None):
    """The first line of a file."""
    return line_of("file begins", process="logger", file=file or new_id(), host="mx1")


def line_of(event, at_s=NOON_S, **fields):
    """One line."""
    return json.dumps({"time": time_text(at_s), "level": "info", "event": event, **fields}).encode() + b"\n"


def decision(at_s=NOON_S, *, code=None, rule="policy.conf:7", action="REJECT no", **attributes):
    """One decision."""
    request = {
        "request": "smtpd_access_policy",
        "protocol_state": "RCPT",
        "client_address": "203.0.113.5",
        "sender": "a@example.org",
        "recipient": "b@example.com",
        "sasl_username": "",
        "queue_id": "",
        "instance": "1.2.3",
        **attributes,
    }
    told = {"worker": 0, "pid": 7, "action": action, "line": rule, "acls": "from_us", "us": 9}
    return line_of("decision", at_s, **told, id=code or new_id(), host="mx1", in_force="k2xg0y7q", request=request)
