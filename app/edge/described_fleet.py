"""The edge, as the fleet's description sees it: the present rows, and a description fetched as a request would be."""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from app.edge.endpoint import EndpointState, Member
from app.edge.entrances import Entrances
from app.edge.table import Table
from app.edge.upstream import UpstreamConnection
from app.edge.upstream_exchange import Exchange
from app.edge.upstream_failures import UpstreamFailure
from app.edge.upstream_pool import dial
from app.edge.upstream_sink import Deadlines
from app.edge.upstreams import Upstream
from app.infra.openapi.ports import DescriptionUnusable, FindEntrances

HEAD = b"GET %b HTTP/1.1\r\nhost: %b\r\naccept: application/json\r\n%b\r\n"
US = b"user-agent: portico-openapi\r\nconnection: close\r\n"
DEADLINES = Deadlines(response_timeout_s=5, idle_timeout_s=2)


@dataclass(frozen=True, slots=True)
class DescribedFleet:
    """`current` gives the table of the moment, which a reload may replace between two calls."""

    current: Callable[[], Table]

    def table(self) -> object:
        return self.current()

    def publishers(self) -> Mapping[str, object]:
        upstreams = self.current().upstreams
        return {name: upstream for name, upstream in upstreams.items() if upstream.row.openapi is not None}

    def finder(self) -> FindEntrances:
        return Entrances.of(self.current().registry)

    async def fetch(self, upstream: str, *, limit_bytes: int) -> bytes:
        """See `Fleet`. On a connection of its own, so that it takes no place from a request; bound the time."""
        asked = self.current().upstreams.get(upstream)
        if asked is None or asked.row.openapi is None:
            raise DescriptionUnusable("is not published any more")
        connection = UpstreamConnection(_nothing, _nothing)
        try:
            member = _choose(asked)
            await dial(member.pool.endpoint, connection)
            return await _ask(connection, HEAD % (asked.row.openapi.encode(), member.authority, US), limit_bytes)
        except (UpstreamFailure, OSError, UnicodeError) as failure:
            raise DescriptionUnusable(f"cannot be had: {failure}") from failure
        finally:
            connection.abort()


def _nothing(connection: UpstreamConnection) -> None:
    """Hear of the end of a connection that no pool keeps."""
    del connection


def _choose(upstream: Upstream) -> Member:
    """Any that is well, else any: the description is one for all of them."""
    ready = [member for member in upstream.endpoints if member.state is EndpointState.READY]
    return random.choice(ready or upstream.endpoints)  # noqa: S311 - no secret


async def _ask(connection: UpstreamConnection, head: bytes, limit_bytes: int) -> bytes:
    async with Exchange(connection) as exchange:
        exchange.begin(b"GET", head, deadlines=DEADLINES)
        status = (await exchange.head()).status
        if status != 200:
            raise DescriptionUnusable(f"is answered with {status}")
        body = bytearray()
        async for piece in exchange.body():
            body += piece
            if len(body) > limit_bytes:
                raise DescriptionUnusable(f"is larger than {limit_bytes} bytes")
        return bytes(body)
