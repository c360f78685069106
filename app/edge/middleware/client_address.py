"""Stage: who is on the line, and may what it says about others be believed."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field

from app.edge.record import Answer, Record

type Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_REMEMBERED = 4096


@dataclass(frozen=True, slots=True)
class ResolveClient:
    """Set `is_peer_trusted` and `client`: the nearest address that is not one of our own proxies.

    `X-Forwarded-For` is read from the right, since each proxy appends what it saw; what stands left of the first
    address that is not trusted was written by a stranger. A Unix socket's peer ("") is on this host and trusted.
    """

    trusted: Sequence[Network]
    _seen: dict[str, bool] = field(default_factory=dict, repr=False)

    def __call__(self, record: Record) -> Answer | None:
        record.client = record.peer
        record.is_peer_trusted = self.trusts(record.peer)
        if record.is_peer_trusted and record.first(b"x-forwarded-for") is not None:
            record.client = self._nearest_stranger(record)
        return None

    def _nearest_stranger(self, record: Record) -> str:
        client = record.peer
        hops = b",".join(record.all(b"x-forwarded-for")).decode("latin-1").split(",")
        for hop in reversed(hops):
            address = hop.strip()
            if not _is_address(address):
                break
            client = address
            if not self.trusts(address):
                break
        return client

    def trusts(self, address: str) -> bool:
        known = self._seen.get(address)
        if known is None:
            known = not address or self._is_in_trusted_network(address)
            if len(self._seen) >= MAX_REMEMBERED:
                self._seen.clear()
            self._seen[address] = known
        return known

    def _is_in_trusted_network(self, address: str) -> bool:
        try:
            parsed = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        plain = getattr(parsed, "ipv4_mapped", None) or parsed
        return any(plain in network for network in self.trusted)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
