from __future__ import annotations

import pytest

from voice_gateway.addresses import ClientAddresses, network_of

TRUSTED = ["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"]


@pytest.mark.parametrize(
    ("peer", "lines", "client"),
    [
        ("203.0.113.1", [], "203.0.113.1"),
        ("203.0.113.1", ["198.51.100.1"], "203.0.113.1"),  # who is not trusted is believed nothing
        ("10.1.1.1", [], "10.1.1.1"),
        ("10.1.1.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.1.1.1", ["198.51.100.1, 198.51.100.2"], "198.51.100.2"),  # what stands left of it, it may have made up
        ("10.1.1.1", ["198.51.100.1, 198.51.100.2, 192.0.2.7, 10.2.2.2"], "198.51.100.2"),
        ("10.1.1.1", ["198.51.100.1", "198.51.100.2,10.2.2.2"], "198.51.100.2"),  # lines are one list
        ("10.1.1.1", ["10.3.3.3, 10.2.2.2"], "10.3.3.3"),
        ("10.1.1.1", ["198.51.100.1, unknown, 10.2.2.2"], "10.2.2.2"),  # nor what stands left of nonsense
        ("10.1.1.1", ["unknown"], "10.1.1.1"),
        ("10.1.1.1", [""], "10.1.1.1"),
        ("10.1.1.1", ["198.51.100.1:4711"], "198.51.100.1"),
        ("10.1.1.1", ["[2001:db9::1]:4711"], "2001:db9::1"),
        ("2001:db8::1", ["2001:db9::1"], "2001:db9::1"),
        ("::ffff:10.1.1.1", ["198.51.100.1"], "198.51.100.1"),  # an IPv4 peer of a socket of both kinds
        ("10.1.1.1", ["::ffff:198.51.100.1"], "198.51.100.1"),
    ],
)
def test_a_clients_address_is_the_last_that_no_trusted_proxy_has(peer: str, lines: list[str], client: str) -> None:
    assert ClientAddresses(TRUSTED).of(peer, lines) == client


def test_without_trusted_proxies_it_is_the_peer() -> None:
    addresses = ClientAddresses([])
    assert addresses.of("10.1.1.1", ["198.51.100.1"]) == "10.1.1.1"
    assert addresses.of(None, ["198.51.100.1"]) == "unknown"
    assert not addresses.trusts_peer("10.1.1.1")


def test_a_peer_is_trusted_by_its_network() -> None:
    addresses = ClientAddresses(TRUSTED)
    peers = ["10.1.1.1", "192.0.2.7", "::ffff:10.1.1.1", "192.0.2.8", "::1", "nonsense", None]
    assert [addresses.trusts_peer(peer) for peer in peers] == [True, True, True, False, False, False, False]


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("198.51.100.1", "198.51.100.1"),
        ("::ffff:198.51.100.1", "198.51.100.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unknown", "unknown"),
    ],
)
def test_failures_are_counted_by_ipv4_address_and_by_ipv6_network(address: str, network: str) -> None:
    assert network_of(address) == network
