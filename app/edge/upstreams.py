"""The services behind the front door: which endpoint of one a request goes to, and how long we wait for it.

An upstream is made from a row of `[upstreams]`; everything counted here is per worker process.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil

from app.edge.answer_head import AnswerHead
from app.edge.breaker import BreakerRules, BreakerState
from app.edge.endpoint import Member, UpstreamEndpoint
from app.edge.faults import UpstreamUnavailable
from app.edge.line import Line
from app.edge.upstream_pool import UpstreamPool
from app.edge.upstream_rows import Site, UpstreamTableRow, sites_of
from app.edge.upstream_sink import Deadlines
from app.kernel.waiting import Patience

SSE_IDLE_TIMEOUT_S = 300
FIRST_RETRIES = 10
ADDRESSES_LIMIT = 16
PATIENCE = Patience(few=64, burst_s=0.25, fresh_s=0.03, longest_s=1.0, few_longest_s=1.0)
"""of whoever waits for a connection"""


@dataclass(slots=True)
class RetryBudget:
    """Allow a tenth of the requests to be tried again, so that retries cannot multiply an outage.

    Every request earns a tenth of a retry, and `most` retries may be saved up: as many as there can be requests on
    their way to one endpoint when it dies, and a few that are sent there before it is left alone.
    """

    most: int = FIRST_RETRIES
    tenths: int = FIRST_RETRIES * 10

    def earn(self) -> None:
        if self.tenths < self.most * 10:
            self.tenths += 1

    def spend(self) -> bool:
        if self.tenths < 10:
            return False
        self.tenths -= 10
        return True


@dataclass(slots=True, eq=False)
class Upstream:
    """One row's endpoints. `sites` are its URLs; a URL with a host name has an endpoint for each of its addresses.

    Concurrency: synchronous but for `drain` and `aclose`, within the event loop it was made in.
    """

    name: str
    row: UpstreamTableRow
    sites: Sequence[Site]
    deadlines: Deadlines
    connect_timeout_s: float
    retries: int
    budget: RetryBudget
    event_idle_timeout_s: float = SSE_IDLE_TIMEOUT_S
    endpoints: Sequence[Member] = field(default=(), init=False)
    leaving: Sequence[Member] = field(default=(), init=False)
    """no longer chosen, and not yet done"""
    _members: dict[Site, Sequence[Member]] = field(default_factory=dict, init=False)
    _only: Member | None = field(default=None, init=False)
    """the one to choose where there is no choice"""
    _ready: Sequence[Member] = field(default=(), init=False)
    _due: Sequence[Member] = field(default=(), init=False)
    """half-open, and waiting for a probe"""
    _turn: int = field(default=0, init=False)
    line: Line = field(init=False)
    """requests that would have to wait for a connection"""

    def __post_init__(self) -> None:
        self.line = Line(PATIENCE, self.has_room)
        # until a name is resolved, its endpoint is the name, which each dial looks up
        self._members = {site: (self._member(site, site.endpoint.host),) for site in self.sites}
        self._count_members()

    # --- on a request's way -------------------------------------------------------------------------------------------

    def pick(self, tried: UpstreamEndpoint | None = None) -> UpstreamEndpoint:
        """Choose where to send a request: the least busy of those that are well, in turn among equals.

        After a failure, another than `tried` if there is one. Who is given an endpoint must try it: it may be a probe.
        Errors: UpstreamUnavailable, at once, while every breaker is open.
        Cost: with nothing to choose, two attributes; else O(endpoints) without a call but one property each.
        """
        if self._only is not None:
            return self._only
        if self._due and tried is None:  # a second try is a request's last, and no guinea pig
            return self._due[0].begin_probe()
        if not self._ready:
            return self._last_resort()
        return self._least_busy(tried)

    def has_other(self, tried: UpstreamEndpoint) -> bool:
        """Tell whether a request that failed at `tried` has somewhere else to go."""
        return any(member.pool is not tried.pool for member in self._ready)

    def has_room(self) -> bool:
        """Tell whether a request would find a connection at once, or hear at once that there is none."""
        ready = self._ready
        return not ready or any(member.pool.has_room for member in ready)

    def idle_timeout_s(self, head: AnswerHead) -> float:
        """Tell how long an answer's body may be silent: a stream of events much longer, as it waits for them."""
        if head.is_event_stream:
            return max(self.event_idle_timeout_s, self.deadlines.idle_timeout_s)
        return self.deadlines.idle_timeout_s

    def _least_busy(self, tried: UpstreamEndpoint | None) -> Member:
        ready = self._ready
        count = len(ready)
        turn = self._turn = (self._turn + 1) % count
        best, least = ready[turn - 1], -1
        for place in range(turn - count, turn):  # from our turn on, once around: negative places count from the end
            member = ready[place]
            if tried is not None and member.pool is tried.pool:
                continue
            load = member.pool.load
            if load == 0:
                return member
            if load < least or least < 0:
                best, least = member, load
        return best

    def _last_resort(self) -> UpstreamEndpoint:
        """Let no request through to what is known to fail: each would wait for its deadline to hear the same.

        There is no "panic" here, as other proxies have it for what active checks found: that every endpoint failed real
        requests is no mistake of a check.
        """
        if self._due:
            return self._due[0].begin_probe()
        now_s = asyncio.get_running_loop().time()
        waits_s = [one.breaker.reopens_at_s - now_s for one in self.endpoints if one.breaker.state is BreakerState.OPEN]
        retry_after_s = max(1, ceil(min(waits_s, default=1)))
        evidence = {"upstream": self.name, "cause": "every endpoint is left alone for a while"}
        raise UpstreamUnavailable(headers={"retry-after": str(retry_after_s)}, evidence=evidence)

    # --- life of the endpoints ----------------------------------------------------------------------------------------

    def settle(self, site: Site, addresses: Sequence[str]) -> bool:
        """Hear what addresses a site's name has: new ones become endpoints, those that are gone are drained.

        True when that changed anything; no address at all changes nothing.
        """
        before = {member.pool.endpoint.host: member for member in self._members[site]}
        hosts = addresses[:ADDRESSES_LIMIT]
        if not hosts or before.keys() == set(hosts):
            return False
        self._members[site] = tuple(before.get(host) or self._member(site, host) for host in hosts)
        gone = [member for host, member in before.items() if host not in hosts]
        for member in gone:
            member.retire()
        self.leaving = (*(one for one in self.leaving if one.pool.counts.open), *gone)
        self._count_members()
        return True

    async def drain(self, timeout_s: float) -> None:
        """Let what is on its way come to its end, and cut what has not after so long.

        Who chose this upstream a moment before still gets an endpoint: it is no longer asked for by new requests
        once it is out of the edge's mapping.
        """
        members = (*self.endpoints, *self.leaving)
        for member in members:
            member.retire()
        try:
            async with asyncio.timeout(timeout_s):
                for member in members:
                    await member.pool.drained()
        except TimeoutError:
            await self.aclose()

    async def aclose(self) -> None:
        """Cut every exchange and close every connection."""
        for member in (*self.endpoints, *self.leaving):
            await member.aclose()

    def _member(self, site: Site, host: str) -> Member:
        pool = UpstreamPool(replace(site.endpoint, host=host), max_connections=self.row.max_connections)
        rules = BreakerRules(self.row.breaker_failures, self.row.breaker_window_s)
        return Member(pool, site.authority, rules, self._note_change)

    def _count_members(self) -> None:
        self.endpoints = tuple(member for site in self.sites for member in self._members[site])
        self._note_change()

    def _note_change(self) -> None:
        """Work out who may be chosen, so that no request has to.

        Where no endpoint passes its active checks, they are not believed: a mistyped `health` must not close the door.
        """
        passed = {member for member in self.endpoints if member.has_passed} or set(self.endpoints)
        self._ready = tuple(
            one for one in self.endpoints if one in passed and one.breaker.state is BreakerState.CLOSED
        ) or tuple(one for one in self.endpoints if one.breaker.state is BreakerState.CLOSED)
        self._due = tuple(
            one
            for one in self.endpoints
            if one.breaker.state is BreakerState.HALF_OPEN and (one in passed or not self._ready)
        )
        self._only = self._ready[0] if len(self._ready) == 1 and not self._due else None
        for member in self.endpoints:
            member.may_yield = any(other is not member for other in self._ready)


def open_upstreams(rows: Mapping[str, UpstreamTableRow]) -> dict[str, Upstream]:
    """Make the upstreams of checked rows; no connection is opened yet. Must be called inside the event loop."""
    return {name: _open(name, row) for name, row in rows.items()}


def renew_upstreams(
    before: Mapping[str, Upstream], rows: Mapping[str, UpstreamTableRow]
) -> tuple[dict[str, Upstream], Sequence[Upstream]]:
    """Make the upstreams of a changed table: an unchanged row keeps its upstream, connections, breakers and all.

    The second are those that are to be drained once nobody can choose them any more.
    """
    kept = {name: old for name, old in before.items() if name in rows and rows[name] == old.row}
    after = {name: kept.get(name) or _open(name, row) for name, row in rows.items()}
    return after, [old for name, old in before.items() if name not in kept]


def _open(name: str, row: UpstreamTableRow) -> Upstream:
    return Upstream(
        name=name,
        row=row,
        sites=sites_of(row),
        deadlines=Deadlines(response_timeout_s=row.response_timeout_s, idle_timeout_s=row.idle_timeout_s),
        connect_timeout_s=row.connect_timeout_s,
        retries=row.retries,
        budget=RetryBudget(most=row.max_connections + FIRST_RETRIES),
    )
