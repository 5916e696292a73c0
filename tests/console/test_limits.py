"""How often a password may be tried: counted by account, network and both."""

from __future__ import annotations

import pytest

from forkpolicy.console.access import limits
from forkpolicy.console.access.limits import OF_ACCOUNT, OF_NETWORK, OF_PAIR, SLOW_S, WINDOW_S, Tries
from forkpolicy.console.errors import TooMany


class Clock:
    """Stands still until it is moved."""

    now_s = 1000.0

    def __call__(self):
        """Now."""
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def tries(clock):
    return Tries(clock)


def allowed(tries, names, clients):
    """How many of these tries, in turn, were allowed."""
    count = 0
    for name, client in zip(names, clients, strict=True):
        try:
            tries.begin(name, client)
        except TooMany:
            continue
        count += 1
    return count


@pytest.mark.parametrize(
    ("clients", "other"),
    [
        (["192.0.2.1", "192.0.2.254", "::ffff:192.0.2.9"], "192.0.3.1"),
        (["2001:db8::1", "2001:db8::ffff:1", "2001:db8:0:0:1::"], "2001:db8:0:1::1"),
        (["unix"], "192.0.2.1"),
    ],
)
def test_five_for_an_account_from_one_network(tries, clock, clients, other):
    """The window slides; others go on meanwhile."""
    clients = (clients * 9)[:9]
    assert allowed(tries, ["anna"] * 9, clients) == OF_PAIR
    assert allowed(tries, ["bert", "anna"], [clients[0], other]) == 2
    with pytest.raises(TooMany, match="try again in 300 s"):
        tries.begin("anna", clients[0])
    clock.now_s += WINDOW_S - 0.5
    with pytest.raises(TooMany, match="try again in 1 s"):
        tries.begin("anna", clients[0])
    clock.now_s += 0.5
    tries.begin("anna", clients[0])


def test_fifty_from_one_network(tries):
    """However many names are tried."""
    assert allowed(tries, [f"n{each}" for each in range(200)], ["192.0.2.1"] * 200) == OF_NETWORK
    tries.begin("anna", "198.51.100.1")


def test_what_succeeds_counts_not(tries):
    """Somebody who signs in often, and mistypes now and then, is never stopped."""
    for _ in range(OF_NETWORK - OF_PAIR):
        tries.begin("anna", "192.0.2.1")
        tries.succeeded("anna", "192.0.2.1", tries.begin("anna", "192.0.2.1"))
    assert allowed(tries, ["anna"] * 9, ["192.0.2.2"] * 9) == OF_PAIR


def test_success_at_one_account_frees_no_other(tries):
    """Or an own account would let somebody go on with another."""
    assert allowed(tries, ["anna"] * 9, ["192.0.2.1"] * 9) == OF_PAIR
    tries.succeeded("mallory", "192.0.2.1", tries.begin("mallory", "192.0.2.1"))
    assert allowed(tries, ["anna"], ["192.0.2.1"]) == 0


def test_an_account_is_slowed_and_never_locked(tries, clock):
    """Many networks fail at it: from where its owner was, it is as before; from elsewhere one try after the other."""
    tries.succeeded("anna", "203.0.113.5", tries.begin("anna", "203.0.113.5"))
    clients = [f"10.0.{each}.1" for each in range(100)]
    assert allowed(tries, ["anna"] * 100, clients) == OF_ACCOUNT
    assert allowed(tries, ["anna"] * 9, ["203.0.113.77"] * 9) == OF_PAIR
    for _ in range(3):
        clock.now_s += SLOW_S
        assert allowed(tries, ["anna"] * 2, ["10.1.0.1", "10.2.0.1"]) == 1
    clock.now_s += WINDOW_S
    assert allowed(tries, ["anna"] * 2, ["10.3.0.1", "10.4.0.1"]) == 2


def test_memory_is_bounded(tries, monkeypatch):
    """The keys that were used last are kept."""
    monkeypatch.setattr(limits, "MOST_KEYS", 10)
    for each in range(100):
        client = f"10.0.{each}.1"
        tries.succeeded(f"n{each}", client, tries.begin(f"n{each}", client))
        tries.begin(f"n{each}", client)
    assert {len(counts._times) for counts in (tries._pairs, tries._networks, tries._accounts)} == {10}
    assert len(tries._known) == 10
