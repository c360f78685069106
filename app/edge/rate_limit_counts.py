"""The buckets of this process: bounded, and in reach of one look-up.

Strangers cannot forge users, so users' buckets are kept apart from addresses': whoever has ten million addresses
crowds out other strangers at most. When a table is full the fullest of a few buckets gives way, so what is forgotten is
a caller who used little: an exhausted bucket is not to be had new for the price of some requests from elsewhere.
"""

import asyncio
import ipaddress
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from app.edge.rate_limit import RateLimit
from app.edge.rate_limit_quota import Fleet, Quota
from app.infra.observability.metrics import Family, counter, gauge

MAX_QUOTAS = 32_768
"""Of users, and once more of addresses; about 15 MB each."""
MAX_DUE = 8_192
MAX_REMEMBERED = 4_096
_COMPARED = 8

type Key = tuple[str, str, str]
"""The limit's name, "user" or "address", and which."""


@dataclass(slots=True)
class Quotas:
    """The buckets of one kind of callers."""

    limit_quotas: int = MAX_QUOTAS
    known: Callable[[Key], Quota | None] = field(init=False)
    """find a bucket as it was left, whatever its row says by now"""
    _quotas: dict[Key, Quota] = field(default_factory=dict)
    _candidates: list[Key] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.known = self._quotas.get

    def __len__(self) -> int:
        return len(self._quotas)

    def get(self, key: Key, limit: RateLimit, now_s: float) -> Quota:
        quota = self._quotas.get(key)
        if quota is None:
            if len(self._quotas) >= self.limit_quotas:
                self._make_room(now_s)
            quota = self._quotas[key] = Quota(limit, now_s)
        elif quota.limit is not limit:  # the table was reloaded
            quota.adopt(limit)
        return quota

    def _make_room(self, now_s: float) -> None:
        """Cost: a few look-ups, and every few thousand calls one copy of the keys."""
        compared: list[tuple[float, Key]] = []
        while len(compared) < _COMPARED:
            if not self._candidates:
                self._candidates = list(self._quotas)
            key = self._candidates.pop()
            quota = self._quotas.get(key)
            if quota is not None:
                compared.append((quota.fullness(now_s), key))
        del self._quotas[max(compared)[1]]


@dataclass(slots=True)
class RateLimiter:
    """Counts requests and decides, without waiting; what is `due` is booked by `rate_limit_booking.py`.

    Concurrency: the event loop's thread alone. Without anybody who books, the limits hold per process.
    """

    fleet: Fleet = field(default_factory=Fleet)
    users: Quotas = field(default_factory=Quotas)
    addresses: Quotas = field(default_factory=Quotas)
    due: dict[Key, Quota] = field(default_factory=dict)
    is_used: asyncio.Event = field(default_factory=asyncio.Event)
    is_asked: asyncio.Event = field(default_factory=asyncio.Event)
    is_hurried: asyncio.Event = field(default_factory=asyncio.Event)
    refused_total: int = 0
    _networks: dict[str, str] = field(default_factory=dict)

    def take_of_user(self, limit: RateLimit, user_id: str, now_s: float) -> Quota:
        """Count one request; whether it was let in is `wait_s == 0` of what is returned."""
        key = (limit.name, "user", user_id)
        quota = self.users.known(key)
        if quota is None or quota.limit is not limit:
            quota = self.users.get(key, limit, now_s)
        return self._take(key, quota, now_s)

    def take_of_address(self, limit: RateLimit, address: str, now_s: float) -> Quota:
        """Count one request of an address, or of the /64 around one of IPv6, which is one household's."""
        key = (limit.name, "address", self._network(address) if ":" in address else address)
        return self._take(key, self.addresses.get(key, limit, now_s), now_s)

    def families(self) -> Iterable[Family]:
        buckets = len(self.users) + len(self.addresses)
        yield gauge("portico_rate_limit_buckets", "Callers whose requests are counted.", buckets)
        yield counter("portico_rate_limited_total", "Requests over a limit.", self.refused_total)
        away = float(self.fleet.is_ledger_away)
        yield gauge("portico_rate_limit_alone", "Workers that count without the others' bookings.", away)

    def _take(self, key: Key, quota: Quota, now_s: float) -> Quota:
        fleet = self.fleet
        if not quota.take(now_s, fleet):
            self.refused_total += 1
        elif fleet.processes == 1 and not quota.prepaid and 0 <= quota.unbooked <= quota.trifle:
            return quota  # the usual: there is nothing to book
        if not quota.is_due and quota.needs_ledger(now_s, fleet) and len(self.due) < MAX_DUE:
            quota.is_due = True
            self.due[key] = quota
            self.is_asked.set()
            self.is_used.set()
        if quota.is_due and fleet.processes > 1 and quota.is_urgent(fleet):
            self.is_hurried.set()
        return quota

    def _network(self, address: str) -> str:
        known = self._networks.get(address)
        if known is None:
            known = network_of(address)
            if len(self._networks) >= MAX_REMEMBERED:
                self._networks.clear()
            self._networks[address] = known
        return known


def network_of(address: str) -> str:
    """Name what one stranger surely has: an IPv4 address, also one written in IPv6, or an IPv6 /64."""
    try:
        parsed = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Address(int(parsed) >> 64 << 64))
