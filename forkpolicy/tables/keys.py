"""How texts become keys: the one place where addresses, networks, domains and mail addresses are normalised.

The compiler folds what stands in sources, a worker folds what stands in a request, and both come through here, so the
two sides cannot disagree. What a request brings never raises: a text that cannot be normalised stays as it is and
matches nothing. What an operator wrote is parsed strictly: `parse_network` and `parse_network_spec` raise ValueError
with a message that says what was meant. Pure functions; no I/O.

An IP key is b"4" + 4 bytes or b"6" + 16 bytes. `::ffff:a.b.c.d` is the IPv4 address; an IPv6 network shorter than /96
therefore never covers IPv4.
"""

from __future__ import annotations

import contextlib
import re
from functools import lru_cache
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton
from typing import Final

IpRange = tuple[bytes, bytes]
"""First and last address of a range, both as IP keys of one family."""

NULL_SENDER: Final = "<>"

# RFC 1035 2.3.4: a longer text is not a name, and no entry of a list or table has it.
MAX_NAME_CHARS: Final = 253
# As long as the dot before the longest name, and a character that it may stand behind.
PARENTS_WITHIN_CHARS: Final = MAX_NAME_CHARS + 2
# Beyond this an international name is folded each time it comes: 1,024 of them must not fill a worker's memory.
MAX_REMEMBERED_CHARS: Final = 1024

# A /7 or an IPv6 /15 in a list is a slip far more often than a plan; cidr tables want --allow-wide for it.
WIDEST_V4: Final = 8
WIDEST_V6: Final = 16

# fe80::/10 and fc00::/7 are wide by nature, and nobody comes from there over the Internet.
_WIDE_BY_NATURE: Final = ((b"6\xfe\x80", 10), (b"6\xfc", 7), (b"6\xfd", 8))

_V4: Final = b"4"
_V6: Final = b"6"
_MAPPED: Final = bytes(10) + b"\xff\xff"
_BITS: Final = {_V4: 32, _V6: 128}
_HOST_MASKS_V4: Final = tuple((1 << (32 - length)) - 1 for length in range(33))
_HOST_MASKS_V6: Final = tuple((1 << (128 - length)) - 1 for length in range(129))
_LENGTHS: Final = {str(length): length for length in range(129)}

_NEVER_SPLIT: Final = frozenset({"postmaster", "mailer-daemon", "double-bounce"})


def fold_text(text: str) -> str:
    """A text as keys compare it: case folded."""
    return text.casefold()


def fold_domain(domain: str) -> str:
    """A domain as keys compare it: lower case, A-labels (IDNA 2008 after UTS 46), no trailing dot. Never raises.

    Goes label by label, because `_dmarc.bücher.example` is a name although no IDNA label begins with an underscore.
    """
    if domain.isascii():
        domain = domain.lower()
        return domain.removesuffix(".")
    if len(domain) > MAX_REMEMBERED_CHARS:
        return _fold_international.__wrapped__(domain)
    return _fold_international(domain)


# A worker meets the same few international names again and again; encoding one costs 30 us.
@lru_cache(maxsize=1024)
def _fold_international(domain: str) -> str:
    import idna  # noqa: PLC0415 - most names are ASCII

    try:
        mapped = idna.uts46_remap(domain, std3_rules=False, transitional=False)
    except (idna.IDNAError, UnicodeError):
        mapped = domain.casefold()
    mapped = mapped.removesuffix(".")
    if len(mapped) > MAX_NAME_CHARS:
        # An A-label is longer than what it stands for: no entry has this name, and thousands of labels take long.
        return mapped
    return ".".join(_a_label(label) for label in mapped.split("."))


def _a_label(label: str) -> str:
    if label.isascii():
        return label.lower()
    import idna  # noqa: PLC0415 - most names are ASCII

    try:
        return idna.alabel(label).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        return label.casefold()


def domain_names(domain: str) -> tuple[str, ...]:
    """The names under which a domain may be listed: `fold_domain`'s, then Postfix's where that is another one.

    Postfix compares the domains of mydestination and of its maps after Unicode's case folding, in which ß is ss and a
    final sigma any other: it takes `straße.example` for `strasse.example`, which in IDNA 2008 it is not.
    """
    name = fold_domain(domain)
    if domain.isascii():
        return (name,)
    folded = fold_domain(domain.casefold())
    return (name,) if folded == name else (name, folded)


def split_address(address: str) -> tuple[str, str]:
    """(local part, domain) at the last `@`, which may itself stand in a quoted local part; no `@`: no domain."""
    local, at, domain = address.rpartition("@")
    return (local, domain) if at else (domain, "")


def fold_address(address: str) -> str:
    """A mail address as keys compare it: local part case folded, domain as `fold_domain`."""
    local, at, domain = address.rpartition("@")
    return f"{local.casefold()}@{fold_domain(domain)}" if at else domain.casefold()


def base_local_part(local: str, delimiters: str) -> str:
    """The folded local part without its extension, by the rules of Postfix's split_addr: `user` of `user+ext`.

    Postfix never splits postmaster, mailer-daemon and double-bounce, nor where nothing would be left of the name, nor,
    with `-` as delimiter, owner-list and list-request.
    """
    if not delimiters or local in _NEVER_SPLIT:
        return local
    if "-" in delimiters and (local.startswith("owner-") or (local.endswith("-request") and len(local) > 8)):
        return local
    end = min((at for mark in delimiters if (at := local.find(mark)) >= 0), default=0)
    return local[:end] if end > 0 else local


def domain_keys(domain: str) -> tuple[str, ...]:
    """The keys of a domain in look-up order, for each of its names: itself, then `.parent` from the longest."""
    return tuple(key for name in domain_names(domain) if name for key in (name, *parent_keys(name)))


def parent_keys(name: str) -> list[str]:
    """`.parent` keys of a folded name, from the longest: `.b.example`, `.example` of `a.b.example`.

    Only those that an entry can have: of 64 KB of dots every suffix would be a billion characters.
    """
    if len(name) > PARENTS_WITHIN_CHARS:
        name = name[-PARENTS_WITHIN_CHARS:]
    keys = []
    at = name.find(".", 1)
    while at >= 0:
        keys.append(name[at:])
        at = name.find(".", at + 1)
    return keys


def encode_key(text: str) -> bytes:
    """A folded text as LMDB key. Bytes that were no UTF-8 come back as they were; nothing raises."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        with contextlib.suppress(UnicodeEncodeError):
            return text.encode("utf-8", "surrogateescape")
        return text.encode("utf-8", "replace")


def ip_key(text: str) -> bytes | None:
    """The key of an IP address as a request carries it; None for `unknown` and whatever else is no address.

    Brackets are taken off and a zone is dropped: `fe80::1%eth0` is `fe80::1`.
    """
    try:
        if ":" not in text:
            return _V4 + inet_pton(AF_INET, text)
        if "%" in text or "[" in text:
            text = text.strip("[]").partition("%")[0].rstrip("]")
        packed = inet_pton(AF_INET6, text)
    except (OSError, ValueError):
        return _bracketed_v4_key(text)
    return _V4 + packed[12:] if packed.startswith(_MAPPED) else _V6 + packed


def _bracketed_v4_key(text: str) -> bytes | None:
    if not (text.startswith("[") and text.endswith("]")) or ":" in text:
        return None
    try:
        return _V4 + inet_pton(AF_INET, text[1:-1])
    except (OSError, ValueError):
        return None


def ip_text(key: bytes) -> str:
    """An IP key as people write it."""
    return inet_ntop(AF_INET if key[:1] == _V4 else AF_INET6, key[1:])


def range_text(first: bytes, last: bytes) -> str:
    """A range as people write it: the address alone, `a/len` where it is a network, else `a-b`."""
    if first == last:
        return ip_text(first)
    low, high = _number(first), _number(last)
    size = high - low + 1
    if size & (size - 1) == 0 and low % size == 0:
        return f"{ip_text(first)}/{_BITS[first[:1]] - size.bit_length() + 1}"
    return f"{ip_text(first)}-{ip_text(last)}"


def network_text(address: bytes, length: int) -> str:
    """The network of a prefix length around an IP key, as people write it; a single address without its length."""
    family, bits = address[:1], _BITS[address[:1]]
    if length == bits:
        return ip_text(address)
    low = _number(address) >> (bits - length) << (bits - length)
    return f"{ip_text(family + low.to_bytes(bits // 8, 'big'))}/{length}"


def parse_network(text: str, *, allow_wide: bool = False) -> IpRange:
    """One network of a table's source: `a`, `a/len`, `a/dotted.mask`, brackets around `a` allowed.

    Raises ValueError whose message says what is wrong and what was probably meant.
    """
    address, slash, mask = text.partition("/")
    # The common form first: a compiler reads millions of these, and 1 us more is a second per million.
    try:
        if slash and ":" not in address:
            first = int.from_bytes(inet_pton(AF_INET, address), "big")
            hosts = _HOST_MASKS_V4[_LENGTHS[mask]]
            if not first & hosts and hosts < 1 << (32 - WIDEST_V4):
                return _V4 + first.to_bytes(4, "big"), _V4 + (first | hosts).to_bytes(4, "big")
    except (OSError, ValueError, KeyError, IndexError):
        pass  # the careful way below finds the words for it
    first_key, length = _parse_network_exactly(address, mask if slash else None)
    if not allow_wide:
        refuse_wide(first_key, length)
    return first_key, _last_key(first_key, length)


def parse_network_spec(text: str) -> list[IpRange]:
    """The ranges that one address value of a policy means: `a`, `a/len`, `a/dotted.mask`, `a-b`, brackets allowed.

    Raises ValueError whose message says what is wrong and what was probably meant.
    """
    start, dash, end = text.partition("-")
    if not dash or "%" in text:
        address, slash, mask = text.partition("/")
        first, length = _parse_network_exactly(address, mask if slash else None)
        return [(first, _last_key(first, length))]
    return [parse_range(start, end)]


def parse_range(start: str, end: str) -> IpRange:
    """The range from `start` to `end`, both addresses included. Raises ValueError as above."""
    if "/" in start or "/" in end:
        raise ValueError("a range goes from one address to another: write them without a prefix length")
    first, last = _parse_address(start), _parse_address(end)
    if first[:1] != last[:1]:
        raise ValueError(f"a range stays in one family: {start} and {end} are IPv4 and IPv6")
    if first > last:
        raise ValueError(f"the range is reversed: did you mean {end}-{start}?")
    return first, last


def split_range(first: bytes, last: bytes) -> list[IpRange]:
    """The fewest networks that cover a range exactly, in order: so that ranges nest as networks do."""
    family, size = first[:1], len(first) - 1
    low, high = _number(first), _number(last)
    networks = []
    while low <= high:
        # The largest block that begins at `low` and does not reach past `high`.
        block = low & -low if low else 1 << _BITS[family]
        while block > high - low + 1:
            block >>= 1
        networks.append((family + low.to_bytes(size, "big"), family + (low + block - 1).to_bytes(size, "big")))
        low += block
    return networks


def prefix_length(first: bytes, last: bytes) -> int:
    """The prefix length of the network from its first to its last address."""
    return _BITS[first[:1]] - (_number(first) ^ _number(last)).bit_length()


def _number(key: bytes) -> int:
    return int.from_bytes(key[1:], "big")


def _last_key(first: bytes, length: int) -> bytes:
    masks = _HOST_MASKS_V4 if first[:1] == _V4 else _HOST_MASKS_V6
    return first[:1] + (_number(first) | masks[length]).to_bytes(len(first) - 1, "big")


def _parse_network_exactly(address: str, mask: str | None) -> tuple[bytes, int]:
    """(key of the first address, prefix length in its own family)."""
    if mask is None:
        key = _parse_address(address)
        return key, _BITS[key[:1]]
    if address.startswith("[") and mask.endswith("]"):
        raise ValueError(f"the brackets stand around the address alone: did you mean {address}]/{mask[:-1]}?")
    is_v6 = ":" in address
    packed, key = _pack_address(address, mask)
    length = _parse_mask(mask, address, is_v6=is_v6)
    if is_v6 and key[:1] == _V4:
        if length < 96:
            key = _V6 + packed
        else:
            length -= 96
    _refuse_host_bits(key, length, address)
    return key, length


def _parse_address(text: str) -> bytes:
    return _pack_address(text, None)[1]


def _pack_address(text: str, mask: str | None) -> tuple[bytes, bytes]:
    """(packed address as written, its key). Raises ValueError that says what is wrong with it."""
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        packed = inet_pton(AF_INET6 if ":" in bare else AF_INET, bare)
    except (OSError, ValueError):
        raise ValueError(_what_is_wrong(bare, mask)) from None
    if len(packed) == 4:
        return packed, _V4 + packed
    return packed, _V4 + packed[12:] if packed.startswith(_MAPPED) else _V6 + packed


def _what_is_wrong(text: str, mask: str | None) -> str:
    """Why a text is not an address, with what was probably meant. Only called for texts that are not one."""
    suffix = "" if mask is None else f"/{mask}"
    if "%" in text:
        bare = text.partition("%")[0]
        return f"a zone (%{text.partition('%')[2]}) belongs to one machine's interface: did you mean {bare}{suffix}?"
    if re.fullmatch(r"\d+(\.\d+){3}", text) and re.search(r"(^|\.)0\d", text):
        plain = ".".join(str(int(octet)) for octet in text.split("."))
        return f"leading zeros, which some programs read as octal: did you mean {plain}{suffix}?"
    if re.fullmatch(r"\d{1,3}(\.\d{1,3}){3}", text):
        return f"{text} is not an IPv4 address: a number is larger than 255"
    if re.fullmatch(r"\d{1,3}(\.\d{1,3}){0,2}\.?", text) and "." in text:
        octets = text.rstrip(".").split(".")
        full = ".".join(octets + ["0"] * (4 - len(octets)))
        return f"{text} has {len(octets)} of 4 numbers: did you mean {full}/{mask or 8 * len(octets)}?"
    if re.fullmatch(r"\d+(\.\d+){4,}", text):
        return f"{text} has more than 4 numbers: are these two entries glued together?"
    if text.startswith("!"):
        return "exclusions with ! are not known here: most specific wins, so list what is meant"
    return f"{text}{suffix} is neither an address nor a network"


def _parse_mask(mask: str, address: str, *, is_v6: bool) -> int:
    bits = 128 if is_v6 else 32
    if re.fullmatch(r"\d{1,4}", mask, re.ASCII):
        length = int(mask)
        if len(mask) > 1 and mask[0] == "0":
            raise ValueError(f"leading zeros in the prefix length: did you mean {address}/{length}?")
        if length > bits:
            raise ValueError(f"/{mask} is longer than an {'IPv6' if is_v6 else 'IPv4'} address, which has {bits} bits")
        return length
    if is_v6 or mask.count(".") != 3:
        raise ValueError(f'"{mask}" is not a prefix length: expected a number from 0 to {bits} after the slash')
    return _dotted_mask(mask, address)


def _dotted_mask(mask: str, address: str) -> int:
    number = _number(_parse_address(mask))
    length = number.bit_count()
    if number == ((1 << 32) - 1) ^ _HOST_MASKS_V4[length]:
        return length
    if number & (number + 1) == 0:
        meant = 32 - number.bit_count()
        raise ValueError(f"{mask} is a wildcard mask: did you mean {address}/{meant}?")
    raise ValueError(f"the mask {mask} has holes: its ones must come before its zeros")


def _refuse_host_bits(key: bytes, length: int, address: str) -> None:
    masks = _HOST_MASKS_V4 if key[:1] == _V4 else _HOST_MASKS_V6
    number = _number(key)
    if number & masks[length]:
        _refuse_short_group(address, length)
        network = key[:1] + (number & ~masks[length]).to_bytes(len(key) - 1, "big")
        raise ValueError(
            f"host bits set: did you mean {ip_text(network)}/{length}, or the one address {address.strip('[]')}?"
        )


def _refuse_short_group(address: str, length: int) -> None:
    """`fd::/8`: people read it as `fd00::/8`, and it is `00fd::/8`. Raises ValueError."""
    group, colon, rest = address.strip("[]").partition(":")
    meant = group.ljust(4, "0")
    if colon and 0 < len(group) < 4 and length <= 16 and not int(meant, 16) & (0xFFFF >> length):
        raise ValueError(f"{group}: is {group.rjust(4, '0')}: did you mean {meant}:{rest}/{length}?")


def refuse_wide(key: bytes, length: int) -> None:
    """Raises ValueError where a network is wider than one entry may be without --allow-wide."""
    if any(key.startswith(first) and length >= shortest for first, shortest in _WIDE_BY_NATURE):
        return
    widest = WIDEST_V4 if key[:1] == _V4 else WIDEST_V6
    if length < widest:
        family = "IPv4" if key[:1] == _V4 else "IPv6"
        raise ValueError(
            f"/{length} is wider than the /{widest} that one {family} entry may cover: use --allow-wide if it is meant"
        )
