"""Whose address a request comes from: the peer's, or what trusted proxies say."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class ClientAddresses:
    """Reads client addresses; believes ``X-Forwarded-For`` only as far as trusted proxies wrote it."""

    def __init__(self, trusted: Iterable[str]) -> None:
        self._trusted: list[Network] = [ipaddress.ip_network(network, strict=False) for network in trusted]

    def of(self, peer: str | None, forwarded_for: Iterable[str]) -> str:
        """Give the rightmost address that is no trusted proxy's; `forwarded_for` are the header's lines."""
        if peer is None:
            return "unknown"
        if not self._trusted:
            return peer
        address = _read(peer)
        if address is None or not self._trusts(address):
            return peer
        for text in reversed(",".join(forwarded_for).split(",")):
            said = _read(text.strip())
            if said is None:
                break  # what stands left of something unreadable was written by nobody we trust
            address = said
            if not self._trusts(said):
                break
        return str(address)

    def trusts_peer(self, peer: str | None) -> bool:
        """Tell whether the peer is a trusted proxy."""
        address = None if peer is None or not self._trusted else _read(peer)
        return address is not None and self._trusts(address)

    def _trusts(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)


def network_of(address: str) -> str:
    """Give what failures of a client are counted by: an IPv4 address, or the /64 of an IPv6 one.

    A network of that size is the least that a customer gets, so its addresses cost one of them nothing.
    """
    read = _read(address)
    if not isinstance(read, ipaddress.IPv6Address):
        return address if read is None else str(read)
    return str(ipaddress.ip_network((int(read) >> 64 << 64, 64)))


def _read(text: str) -> Address | None:
    """Read an address as proxies write it: with a port or brackets, too."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
