"""postgrey's lists and options become a policy that spares and greylists as it did."""

from __future__ import annotations

import pytest

from forkpolicy.importing.formats import load_format
from tests.imported import Imported, draft_of, left_out

LATER = "DEFER_IF_PERMIT 4.2.0 Greylisted, see http://postgrey.schweikert.ch/help/example.com.html"
CLIENTS = """\
# postgrey whitelist for mail client hostnames
example.net      # and all below it
unknown
/^smtp[0-9]+\\.example\\.org$/
192.0.2.7
198.51.100
203.0
10.1.2.3/16
2001:db8::/32
0.0.0.0/7
"""
RECIPIENTS = "postmaster@\nvip@example.com\nsecret.example\n/^news-/\n"


@pytest.fixture
def serve(tmp_path):
    """A function that lets files decide."""
    made = []

    def start(**texts):
        named = {name.replace("_opts", ""): text for name, text in texts.items()}
        made.append(Imported(tmp_path / "imported", draft_of("postgrey", named)))
        return made[-1]

    yield start
    for each in made:
        each.close()


@pytest.fixture(scope="module")
def policy(tmp_path_factory):
    """The policy of both lists."""
    texts = {"whitelist_clients": CLIENTS, "whitelist_recipients": RECIPIENTS}
    serving = Imported(tmp_path_factory.mktemp("postgrey"), draft_of("postgrey", texts))
    yield serving
    serving.close()


@pytest.mark.parametrize(
    ("request_of", "is_spared"),
    [
        ({"client_name": "example.net"}, True),
        ({"client_name": "MX.Example.NET"}, True),
        ({"client_name": "notexample.net"}, False),
        ({"client_name": "example.net.evil.example"}, False),
        ({"client_name": "unknown"}, True),
        ({"client_name": "smtp7.example.org"}, True),
        ({"client_name": "xsmtp7.example.org"}, False),
        ({"client_address": "192.0.2.7"}, True),
        ({"client_address": "192.0.2.8"}, False),
        ({"client_address": "198.51.100.255"}, True),
        ({"client_address": "198.51.101.1"}, False),
        ({"client_address": "203.0.0.9"}, True),
        ({"client_address": "203.0.1.9"}, False),
        ({"client_address": "10.1.255.255"}, True),
        ({"client_address": "10.2.0.0"}, False),
        ({"client_address": "2001:db8::1"}, True),
        ({"client_address": "2001:db9::1"}, False),
        ({"client_address": "1.255.255.255"}, True),
        ({"recipient": "postmaster@anything.example"}, True),
        ({"recipient": "Postmaster+x@anything.example"}, True),
        ({"recipient": "xpostmaster@anything.example"}, False),
        ({"recipient": "vip@example.com"}, True),
        ({"recipient": "vip+list@example.com"}, True),
        ({"recipient": "vip@sub.example.com"}, False),
        ({"recipient": "anna@secret.example"}, True),
        ({"recipient": "anna@deep.secret.example"}, True),
        ({"recipient": "anna@topsecret.example"}, False),
        ({"recipient": "news-7@example.com"}, True),
    ],
)
def test_the_lists_spare_what_they_spared(policy, request_of, is_spared):
    """The lists spare what they spared."""
    assert (policy.reply(**request_of) == "DUNNO") is is_spared


def test_greylisting_has_its_defaults(serve):
    """Five minutes, the retry within two days, known for 35 days, one key for a /24."""
    policy = serve(whitelist_clients="")
    assert policy.reply() == LATER
    policy.now_s += 299
    assert policy.reply() == LATER
    policy.now_s += 1
    assert policy.reply(client_address="203.0.113.250") == "DUNNO"
    policy.now_s += 34 * 86400
    assert policy.reply() == "DUNNO"
    policy.now_s += 36 * 86400
    assert policy.reply() == LATER


def test_the_options_of_the_running_one_count(serve):
    """The options of the running one count; zero is the default to it, but for the automatic list."""
    options = (
        'POSTGREY_OPTS="--inet=10023 --delay=60 --max-age=0 --retry-window=6h"\n'
        'POSTGREY_OPTS="$POSTGREY_OPTS --auto-whitelist-clients=0 --lookup-by-host --greylist-action=451 -v"\n'
        'POSTGREY_TEXT="Wait %s s, {you} at %r"\n'
    )
    policy = serve(postgrey=options, whitelist_clients="")
    assert policy.reply() == "451 4.2.0 Wait 60 s, {you} at example.com"
    policy.now_s += 60
    assert policy.reply(client_address="203.0.113.6").startswith("451")
    assert policy.reply() == "DUNNO"
    assert policy.reply(sender="x@example.org").startswith("451")


def test_what_never_matched_is_left_out():
    """What postgrey passed over or never found is reported with what was meant."""
    clients = ".example.com\n*.example.com\nexample.com.\nuser@example.com\ntwo words\n010.1.2.3\n1.2.3.256\na:b:c\n"
    clients += "::ffff:192.0.2.0/120\n/(?=x)/\n/\\Qx/\ngood.example\n"
    draft = draft_of("postgrey", {"clients": clients, "recipients": "@example.com\n.example.com\nünï@example.com\n"})
    expected = [f"clients:{number}" for number in range(1, 12)] + [f"recipients:{number}" for number in (1, 2, 3)]
    assert [place for place, _ in left_out(draft)] == expected
    nearest = {str(each.origin): each.nearest for each in draft.left_out}
    assert "the line example.com is that name" in nearest["clients:1"]
    assert "192.0.2.0/24" in nearest["clients:9"]


@pytest.mark.parametrize(
    "options", ["--delay=soon", "--auto-whitelist-clients=many", "--retry-window=2w", "--ipv4cidr=33"]
)
def test_options_that_it_does_not_start_with_are_reported(options):
    """Options that it does not start with are reported, and the defaults stay."""
    draft = draft_of("postgrey", {"postgrey": f'POSTGREY_OPTS="{options}"\n', "clients": ""})
    assert left_out(draft) == [("postgrey:1", options)]
    assert "delay=5m window=2d keep=35d auto=5 mask=/24,/64" in draft.policy_text()


def test_names_and_content_say_which_file_is_which():
    """Only a list of recipients must have that in its name."""
    texts = {"wl.txt": "example.org\n", "my.recipients": "vip@\n", "opts": 'POSTGREY_OPTS="--delay=7"\n'}
    text = draft_of("postgrey", texts).policy_text()
    assert "delay=7s" in text
    assert "acl spared_name client_name" in text
    assert "acl spared_recipient recipient" in text


def test_its_files_are_recognised():
    """Its files are recognised, and a policy of ours that names it is not."""
    looks_like = load_format("postgrey").looks_like
    assert looks_like("# postgrey whitelist for mail client hostnames\nexample.com\n")
    assert looks_like('POSTGREY_OPTS="--inet=10023"\n')
    assert not looks_like("# as postgrey did\nacl x greylisting\n")
    assert not looks_like("example.com\n")
