"""One address an upstream listens at: its connections, and what became of the exchanges over them.

It belongs to its upstream and never to a route; everything counted here is per worker process.
"""

from app.edge.upstream_failures import UpstreamFailure
from app.edge.upstream_pool import UpstreamPool


class UpstreamEndpoint:
    """`authority` is what the endpoint is sent as Host; `name` is its address, for the log."""

    __slots__ = ("authority", "last_failure", "name", "pool")

    def __init__(self, pool: UpstreamPool, authority: bytes) -> None:
        self.name = str(pool.endpoint)
        self.authority = authority
        self.pool = pool
        self.last_failure: UpstreamFailure | None = None

    def note_answer(self, status: int) -> None:
        """Hear that the final head of an answer came."""
        if status < 500:
            self.last_failure = None

    def note_failure(self, failure: UpstreamFailure) -> None:
        """Hear of a failed exchange, once; that no connection came about is one."""
        self.last_failure = failure
