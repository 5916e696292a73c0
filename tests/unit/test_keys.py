"""What a text becomes before it is looked up, and what is refused in a list."""

from __future__ import annotations

import pytest

from forkpolicy.tables import keys
from forkpolicy.tables.kinds.address import address_keys


def test_ip_key_takes_every_spelling_of_one_address() -> None:
    """Mapped, bracketed and plain spellings of an IPv4 address are one key."""
    expected = b"4\xc0\x00\x02\x01"
    for text in ("192.0.2.1", "::ffff:192.0.2.1", "::FFFF:c000:201", "[192.0.2.1]", "[::ffff:192.0.2.1]"):
        assert keys.ip_key(text) == expected, text


def test_ip_key_drops_zone_and_brackets_of_ipv6() -> None:
    """`fe80::1%eth0` and `[fe80::1]` are `fe80::1`."""
    expected = keys.ip_key("fe80::1")
    assert expected is not None
    assert [keys.ip_key(text) for text in ("fe80::1%eth0", "[fe80::1]", "[fe80::1%2]", "FE80:0:0::1")] == [expected] * 4


@pytest.mark.parametrize(
    "text",
    [
        "",
        "unknown",
        "192.0.2",
        "192.0.2.010",
        "300.1.1.1",
        "1.2.3.4\0",
        "\udcff",
        ":",
        "[]",
        "::g",
        "192.0.2.1/32",
        "%",
        "x192.0.2.1x",
        "[192.0.2.10",
        "1192.0.2.1]",
        "[192.0.2.1]]",
    ],
)
def test_ip_key_of_garbage_is_none(text: str) -> None:
    """A text that is not an address has no key, and nothing raises."""
    assert keys.ip_key(text) is None


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("192.0.2.0/24", "192.0.2.0", "192.0.2.255"),
        ("192.0.2.1", "192.0.2.1", "192.0.2.1"),
        ("192.0.2.1/32", "192.0.2.1", "192.0.2.1"),
        ("192.0.2.0/255.255.255.128", "192.0.2.0", "192.0.2.127"),
        ("2001:db8::/32", "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("[2001:db8::]/64", "2001:db8::", "2001:db8::ffff:ffff:ffff:ffff"),
        ("2001:db8::1/128", "2001:db8::1", "2001:db8::1"),
        ("::ffff:192.0.2.0/120", "192.0.2.0", "192.0.2.255"),
        ("[::ffff:127.0.0.0]/104", "127.0.0.0", "127.255.255.255"),
    ],
)
def test_networks(text: str, first: str, last: str) -> None:
    """Every accepted spelling of a network means the range that it says."""
    expected = (keys.ip_key(first), keys.ip_key(last))
    assert keys.parse_network(text) == expected
    assert keys.parse_network_spec(text) == [expected]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("192.168.1.0/22", "host bits set: did you mean 192.168.0.0/22, or the one address 192.168.1.0?"),
        ("192.0.2.5/24", "host bits set: did you mean 192.0.2.0/24"),
        ("198.51.100.0/16", "host bits set: did you mean 198.51.0.0/16"),
        ("2001:db8:0:7c00::/48", "host bits set: did you mean 2001:db8::/48"),
        ("fd::/8", "fd: is 00fd: did you mean fd00::/8?"),
        ("[fe8::]/10", "fe8: is 0fe8: did you mean fe80::/10?"),
        ("fd1::/8", "host bits set: did you mean f00::/8"),
        ("fd::1/48", "host bits set: did you mean fd::/48"),
        ("::1/8", "host bits set: did you mean ::/8"),
        ("fd00::1/8", "host bits set: did you mean fd00::/8"),
        ("::ffff:192.0.2.1/120", "host bits set: did you mean 192.0.2.0/24"),
        ("010.0.0.0/8", "leading zeros, which some programs read as octal: did you mean 10.0.0.0/8?"),
        ("192.0.2.010", "did you mean 192.0.2.10?"),
        ("192.0.2.0/024", "leading zeros in the prefix length: did you mean 192.0.2.0/24?"),
        ("300.1.1.1", "a number is larger than 255"),
        ("195.235.39", "did you mean 195.235.39.0/24?"),
        ("10.0/16", "did you mean 10.0.0.0/16?"),
        ("192.0.2.3198.51.100.7", "glued together"),
        ("fe80::1%eth0", "a zone (%eth0) belongs to one machine's interface: did you mean fe80::1?"),
        ("fe80::%eth0/64", "did you mean fe80::/64?"),
        ("fe80::1%a%b", "a zone (%a%b) belongs to one machine's interface: did you mean fe80::1?"),
        ("10.0.", "10.0. has 2 of 4 numbers: did you mean 10.0.0.0/16?"),
        ("192.0.2.0/0.0.0.255", "0.0.0.255 is a wildcard mask: did you mean 192.0.2.0/24?"),
        ("192.0.2.0/255.0.255.0", "has holes"),
        ("192.0.2.0/33", "longer than an IPv4 address"),
        ("2001:db8::/129", "longer than an IPv6 address"),
        ("192.0.2.0/", "not a prefix length"),
        ("192.0.2.0/²4", "not a prefix length"),
        ("[2001:db8::/64]", "did you mean [2001:db8::]/64?"),
        ("!192.0.2.0/24", "exclusions with !"),
        ("example.com", "neither an address nor a network"),
        ("", "neither an address nor a network"),
    ],
)
def test_refused_networks_say_what_was_meant(text: str, message: str) -> None:
    """A network that is none is refused with what was probably meant, in tables and in policies alike."""
    for parse in (keys.parse_network, keys.parse_network_spec):
        with pytest.raises(ValueError) as refused:  # noqa: PT011 - the message is asserted below
            parse(text)
        assert message in str(refused.value)


@pytest.mark.parametrize("text", ["0.0.0.0/0", "10.0.0.0/7", "::/0", "fc00::/6", "2000::/3", "::ffff:0:0/96"])
def test_wide_networks_need_permission(text: str) -> None:
    """Shorter than /8 (IPv6: /16) is refused in a table unless allowed; a policy may say it."""
    with pytest.raises(ValueError, match="--allow-wide"):
        keys.parse_network(text)
    assert keys.parse_network_spec(text) == [keys.parse_network(text, allow_wide=True)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0.0.0.0/0", "/0 is wider than the /8 that one IPv4 entry may cover: use --allow-wide if it is meant"),
        ("10.0.0.0/7", "/7 is wider than the /8 that one IPv4 entry may cover: use --allow-wide if it is meant"),
        ("2000::/12", "/12 is wider than the /16 that one IPv6 entry may cover: use --allow-wide if it is meant"),
        ("fe80::/9", "/9 is wider than the /16 that one IPv6 entry may cover: use --allow-wide if it is meant"),
        ("!10.0.0.0/8", "exclusions with ! are not known here: most specific wins, so list what is meant"),
    ],
)
def test_a_wide_network_is_told_with_its_bound(text: str, message: str) -> None:
    """Each family has its own."""
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the message is asserted below
        keys.parse_network(text)
    assert str(refused.value) == message


def test_widest_networks_without_permission() -> None:
    """A /8 and an IPv6 /16 need no permission, nor do link-local and unique local addresses as a whole."""
    assert keys.range_text(*keys.parse_network("fe80::/10")) == "fe80::/10"
    assert keys.range_text(*keys.parse_network("fc00::/7")) == "fc00::/7"
    assert keys.range_text(*keys.parse_network("[fd00::]/8")) == "fd00::/8"
    assert keys.range_text(*keys.parse_network("10.0.0.0/8")) == "10.0.0.0/8"
    assert keys.range_text(*keys.parse_network("2002::/16")) == "2002::/16"


def test_ranges() -> None:
    """`a-b` means both ends and what lies between, in one family."""
    assert keys.parse_network_spec("192.0.2.7-192.0.2.9") == [(keys.ip_key("192.0.2.7"), keys.ip_key("192.0.2.9"))]
    assert keys.parse_network_spec("[2001:db8::1]-[2001:db8::2]") == [
        (keys.ip_key("2001:db8::1"), keys.ip_key("2001:db8::2"))
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("192.0.2.9-192.0.2.7", "reversed: did you mean 192.0.2.7-192.0.2.9?"),
        ("192.0.2.9-2001:db8::1", "one family"),
        ("192.0.2.0/24-192.0.2.7", "^a range goes from one address to another: write them without a prefix length$"),
        ("192.0.2.1-192.0.2.0/24", "without a prefix length"),
        ("192.0.2.1-", "neither an address"),
        ("192.0.2.1-x", "neither an address"),
    ],
)
def test_refused_ranges(text: str, message: str) -> None:
    """A range that cannot be meant is refused in words."""
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        keys.parse_network_spec(text)


def test_a_range_of_one_address() -> None:
    """Both ends are included."""
    address = keys.ip_key("192.0.2.1")
    assert keys.parse_network_spec("192.0.2.1-192.0.2.1") == [(address, address)]


@pytest.mark.parametrize(
    ("start", "end", "text"),
    [
        ("192.0.2.1", "192.0.2.2", "192.0.2.1-192.0.2.2"),
        ("0.0.0.3", "0.0.0.5", "0.0.0.3-0.0.0.5"),
        ("192.0.2.4", "192.0.2.7", "192.0.2.4/30"),
        ("192.0.2.2", "192.0.2.5", "192.0.2.2-192.0.2.5"),
        ("2001:db8::", "2001:db8::ffff", "2001:db8::/112"),
        ("192.0.2.1", "192.0.2.1", "192.0.2.1"),
    ],
)
def test_a_range_as_people_write_it(start: str, end: str, text: str) -> None:
    """As a network where it is one: as many addresses as a power of two, and the first of them at its place."""
    assert keys.range_text(*keys.parse_range(start, end)) == text


def test_a_range_splits_into_networks() -> None:
    """The fewest networks cover a range exactly, up to the ends of the address space."""
    low, high = keys.parse_range("192.0.2.7", "192.0.2.16")
    assert [keys.range_text(*each) for each in keys.split_range(low, high)] == [
        "192.0.2.7",
        "192.0.2.8/29",
        "192.0.2.16",
    ]
    everything = keys.parse_network("0.0.0.0/0", allow_wide=True)
    assert keys.split_range(*everything) == [everything]
    everything = keys.parse_network("::/0", allow_wide=True)
    assert keys.split_range(*everything) == [everything]


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("EXAMPLE.com.", "example.com"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BU\u0308CHER.example", "xn--bcher-kva.example"),
        ("XN--BCHER-KVA.example", "xn--bcher-kva.example"),
        ("straße.example", "xn--strae-oqa.example"),
        ("_dmarc.Bücher.example", "_dmarc.xn--bcher-kva.example"),
        ("bücher。example", "xn--bcher-kva.example"),
        ("bücher.example.", "xn--bcher-kva.example"),
        ("[192.0.2.1]", "[192.0.2.1]"),
        ("", ""),
        (".", ""),
        ("\udcffx.example", "\udcffx.example"),
        ("☃.Example", "☃.example"),
    ],
)
def test_fold_domain(text: str, folded: str) -> None:
    """Both forms of a name, decomposed letters, upper case and a trailing dot are one domain; nothing raises."""
    assert keys.fold_domain(text) == folded


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("a@b@example.com", ("a@b", "example.com")),
        ('"a@b"@example.com', ('"a@b"', "example.com")),
        ("postmaster", ("postmaster", "")),
        ("", ("", "")),
        ("@example.com", ("", "example.com")),
        ("user@", ("user", "")),
    ],
)
def test_split_address(address: str, parts: tuple[str, str]) -> None:
    """The domain follows the last `@`; an address without one has no domain."""
    assert keys.split_address(address) == parts


def test_domain_keys_walk_up_the_labels() -> None:
    """The name itself comes first, then each `.parent` from the longest; never a string suffix."""
    assert keys.domain_keys("A.b.Example.com.") == ("a.b.example.com", ".b.example.com", ".example.com", ".com")
    assert keys.domain_keys("localhost") == ("localhost",)
    assert keys.domain_keys("") == ()


@pytest.mark.parametrize(
    ("name", "parents"),
    [
        (".b.example", [".example"]),
        ("a..b", ["..b", ".b"]),
        ("localhost", []),
        ("x" * 300 + ".a.example", [".a.example", ".example"]),
        (".".join(["a"] * 400), [f".{'.'.join(['a'] * n)}" for n in range(127, 0, -1)]),
    ],
)
def test_parents_of_odd_names(name: str, parents: list[str]) -> None:
    """A dot in front is none of a parent, an empty label is one; of endless names only what an entry can have."""
    assert keys.parent_keys(name) == parents


@pytest.mark.parametrize(
    ("address", "folded"),
    [
        ("A@B@BÜCHER.example.", "a@b@xn--bcher-kva.example"),
        ("ÄNNA@Example.com", "änna@example.com"),
        ("PostMaster", "postmaster"),
        ("Straße", "strasse"),
        ("", ""),
    ],
)
def test_fold_address(address: str, folded: str) -> None:
    """The domain follows the last `@`; without one it is a local part."""
    assert keys.fold_address(address) == folded


@pytest.mark.parametrize(
    ("domain", "names"),
    [
        ("Straße.example.", ("xn--strae-oqa.example", "strasse.example")),
        ("straẞe.example", ("xn--strae-oqa.example", "strasse.example")),
        ("λόγος.example", ("xn--oxapnm1c.example", "xn--oxapnq6b.example")),
        ("bücher.example", ("xn--bcher-kva.example",)),
        ("xn--strae-oqa.example", ("xn--strae-oqa.example",)),
        ("STRASSE.example", ("strasse.example",)),
        ("", ("",)),
    ],
)
def test_names_of_a_domain(domain: str, names: tuple[str, ...]) -> None:
    """As IDNA 2008 has it, then as Postfix's case folding does, where they differ."""
    assert keys.domain_names(domain) == names


def test_keys_of_a_domain_with_two_names() -> None:
    """First everything by the one, then by the other."""
    own = ("xn--strae-oqa.example", ".example", "strasse.example", ".example")
    assert keys.domain_keys("straße.example") == own
    assert address_keys("u@straße.example") == (f"u@{own[0]}", *own[:2], f"u@{own[2]}", *own[2:], "u@")


def test_address_keys_follow_access_5() -> None:
    """The order of access(5), with and without an extension."""
    assert address_keys("User+News@Sub.Example.com", "+") == (
        "user+news@sub.example.com",
        "user@sub.example.com",
        "sub.example.com",
        ".example.com",
        ".com",
        "user+news@",
        "user@",
    )
    assert address_keys("user+news@example.com") == ("user+news@example.com", "example.com", ".com", "user+news@")


def test_address_keys_of_the_null_sender_and_of_bare_names() -> None:
    """The null sender is `<>` alone; a name without a domain matches no domain."""
    assert address_keys("") == address_keys("<>") == ("<>",)
    assert address_keys("postmaster") == ("postmaster@",)


@pytest.mark.parametrize(
    ("local", "delimiters", "base"),
    [
        ("user+a+b", "+", "user"),
        ("user-a+b", "+-", "user"),
        ("+ext", "+", "+ext"),
        ("user", "+", "user"),
        ("mailer-daemon", "-", "mailer-daemon"),
        ("owner-list", "-", "owner-list"),
        ("list-request", "-", "list-request"),
        ("owner-list+x", "+", "owner-list"),
        ("user+", "+", "user"),
        ("longish-name", "-", "longish"),
        ("x-request", "-", "x-request"),
        ("-request", "-", "-request"),
        ("+a-b", "+-", "+a-b"),
    ],
)
def test_extensions_split_as_in_postfix(local: str, delimiters: str, base: str) -> None:
    """What Postfix's split_addr leaves whole is left whole."""
    assert keys.base_local_part(local, delimiters) == base
