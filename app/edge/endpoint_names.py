"""Host names of upstreams: looked up in the background, never while a request waits.

A name with several addresses is several endpoints. Of one with both kinds only the IPv4 addresses are used: the others
are, as a rule, the same machines again, and often unreachable. For IPv6, write the address.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from app.edge.upstream_rows import Site
from app.edge.upstreams import Upstream

LOOKUP_INTERVAL_S = 30
LOOKUP_TIMEOUT_S = 5
LOOKUPS_AT_ONCE = 4
"""the resolver of the C library takes a thread each, which outlives our patience"""

log = structlog.get_logger()

type Lookup = Callable[[str, int], Awaitable[Sequence[str]]]
"""Find a name's addresses. Errors: OSError, UnicodeError."""


async def look_up(host: str, port: int) -> Sequence[str]:
    """Ask the system, which also knows the names in /etc/hosts. Errors: OSError, UnicodeError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    by_kind = {kind: {str(address[0]) for family, *_, address in found if family == kind} for kind in _KINDS}
    # in order, so that the same addresses in another order are no change, and of too many the same ones are used
    return next((sorted(addresses) for addresses in by_kind.values() if addresses), [])


_KINDS = (socket.AF_INET, socket.AF_INET6)


@dataclass(slots=True)
class Names:
    """Keep the endpoints of every upstream with a host name in step with its addresses.

    When a lookup fails the last addresses stay: a name server that is away must not take the upstreams with it.
    """

    upstreams: Callable[[], Mapping[str, Upstream]]
    lookup: Lookup = look_up
    timeout_s: float = LOOKUP_TIMEOUT_S
    _places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(LOOKUPS_AT_ONCE))
    _lost: set[str] = field(default_factory=set)

    async def refresh_all(self) -> None:
        async with asyncio.TaskGroup() as group:
            for upstream in self.upstreams().values():
                for site in upstream.sites:
                    if site.has_name:
                        group.create_task(self._refresh(upstream, site))

    async def _refresh(self, upstream: Upstream, site: Site) -> None:
        host = site.endpoint.host
        try:
            async with self._places, asyncio.timeout(self.timeout_s):
                addresses = await self.lookup(host, site.endpoint.port)
        except (OSError, UnicodeError) as failed:  # TimeoutError is an OSError
            if host not in self._lost:
                self._lost.add(host)
                log.warning("endpoint.name_lost", upstream=upstream.name, host=host, cause=str(failed) or "no answer")
            return
        self._lost.discard(host)
        if upstream.settle(site, addresses):
            log.info("endpoint.name_found", upstream=upstream.name, host=host, addresses=addresses)
