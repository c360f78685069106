"""Whether the upstreams are there: each endpoint asked in the background, on a connection of its own.

Not through the pool: a check must neither wait behind requests nor take a place from one, and what it finds says
nothing about a connection that was kept.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from app.edge.breaker import BreakerState
from app.edge.endpoint import EndpointState, Member
from app.edge.upstream import UpstreamConnection
from app.edge.upstream_exchange import Exchange
from app.edge.upstream_failures import UpstreamFailure
from app.edge.upstream_pool import dial
from app.edge.upstream_sink import Deadlines
from app.edge.upstreams import Upstream
from app.infra.observability.health import Dependency, HealthRegistry, NotWell

CHECK_INTERVAL_S = 5
CHECK_TIMEOUT_S = 2
CHECKS_AT_ONCE = 64
BODY_LIMIT_BYTES = 64 * 1024
HEAD = b"GET %b HTTP/1.1\r\nhost: %b\r\nuser-agent: portico-health\r\nconnection: close\r\n\r\n"

type Upstreams = Callable[[], Mapping[str, Upstream]]
"""asked each time, as the table may have changed"""


@dataclass(slots=True)
class ActiveChecks:
    """Ask each endpoint of each upstream that has a `health` path, and tell the endpoint what was found."""

    upstreams: Upstreams
    timeout_s: float = CHECK_TIMEOUT_S
    _places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(CHECKS_AT_ONCE))

    async def check_all(self) -> None:
        """Ask all at once, so that one that hangs delays nobody else's turn."""
        async with asyncio.TaskGroup() as group:
            for upstream in self.upstreams().values():
                for member in upstream.endpoints if upstream.row.health is not None else ():
                    group.create_task(self._check(upstream, member))

    async def _check(self, upstream: Upstream, member: Member) -> None:
        async with self._places:
            try:
                words = await ask(member, upstream.row.health, timeout_s=self.timeout_s)
            except NotWell as found:
                member.note_check(str(found), has_passed=False)
            else:
                member.note_check(words, has_passed=True)


def watch_upstreams(health: HealthRegistry, upstreams: Upstreams) -> None:
    """Register each upstream with what it has to tell; none is required, since the gateway serves the others without.

    Called again after the table has changed, it forgets those that are gone, and nothing of those that stay.
    """
    known = {one.check: one for one in health.dependencies if one.type == "http"}
    asked = {name: Report(upstream) for name, upstream in upstreams().items()}
    others = [one for one in health.dependencies if one.type != "http"]
    health.dependencies = others + [known.get(ask) or Dependency("http", name, ask) for name, ask in asked.items()]


@dataclass(frozen=True, slots=True)
class Report:
    """The check of one upstream, equal to every other one of it."""

    upstream: Upstream

    async def __call__(self) -> str:
        return await report(self.upstream)


async def report(upstream: Upstream) -> str:
    """Tell of every endpoint how it is. One without active checks is called, as nobody else does.

    Errors: NotWell when none is ready.
    """
    if upstream.row.health is None:
        async with asyncio.TaskGroup() as group:
            calls = [group.create_task(_call(member)) for member in upstream.endpoints]
        is_well = any(call.result() for call in calls)
    else:
        is_well = any(one.state is EndpointState.READY and one.last_check for one in upstream.endpoints)
    words = "; ".join(describe(member) for member in (*upstream.endpoints, *upstream.leaving))
    if not is_well:
        raise NotWell(words)
    return words


def describe(member: Member) -> str:
    """Say everything about one endpoint in a line, for STAFF."""
    counts, breaker = member.pool.counts, member.breaker
    words = [f"{member.name} {member.state}", f"{counts.in_use} in use, {counts.idle} idle, {counts.waiting} waiting"]
    words.insert(1, member.last_check or "not asked yet")
    if breaker.state is not BreakerState.CLOSED:
        words.append(f"breaker {breaker.state}")
    if member.last_failure:
        ago_s = asyncio.get_running_loop().time() - member.last_failure_at_s
        words.append(f"last failure {ago_s:.0f} s ago: {member.last_failure}")
    return ", ".join(words)


async def _call(member: Member) -> bool:
    """Find out whether an endpoint accepts connections. It is told to nobody but STAFF: a frozen one does, too."""
    try:
        member.last_check = await ask(member, None, timeout_s=CHECK_TIMEOUT_S)
    except NotWell as found:
        member.last_check = str(found)
        return False
    return member.state is EndpointState.READY


async def ask(member: Member, path: str | None, *, timeout_s: float) -> str:
    """Ask an endpoint's health path; without one, only that it accepts a connection.

    Errors: NotWell, within the time given.
    """
    connection = UpstreamConnection(_nothing, _nothing)
    try:
        async with asyncio.timeout(timeout_s):
            await dial(member.pool.endpoint, connection)
            if path is None:
                return "accepts connections"
            status = await _status(connection, HEAD % (path.encode(), member.authority), timeout_s)
    except TimeoutError as late:
        raise NotWell(f"no answer within {timeout_s:g} s") from late
    except (UpstreamFailure, OSError, UnicodeError) as failure:
        raise NotWell(str(failure)) from failure
    finally:
        connection.abort()
    if status >= 400:
        raise NotWell(f"{path} answers {status}")
    return f"{path} answers {status}"


async def _status(connection: UpstreamConnection, head: bytes, timeout_s: float) -> int:
    async with Exchange(connection) as exchange:
        exchange.begin(b"GET", head, deadlines=Deadlines(response_timeout_s=timeout_s, idle_timeout_s=timeout_s))
        status = (await exchange.head()).status
        left_bytes = BODY_LIMIT_BYTES
        async for piece in exchange.body():
            left_bytes -= len(piece)
            if left_bytes < 0:
                break
        return status


def _nothing(connection: UpstreamConnection) -> None:
    """A connection of our own has no pool to go back to."""
