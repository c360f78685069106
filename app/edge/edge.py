"""The edge as one thing: what both mounts share. Decides, knows the upstreams, writes the access log."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from app.edge.gauges import Gauges
from app.edge.keys import KeySource
from app.edge.pipeline import EdgeOptions, Stage, build_stages, decide
from app.edge.record import Answer, Record
from app.edge.table import Table
from app.edge.tokens import KeysStale, TokenVerifier
from app.edge.upstreams import Upstream
from app.kernel.clock import Clock

log = structlog.get_logger()

_ANSWERED = frozenset({"proxied", "local"})
"""whoever was asked gave the status: 503 of a health endpoint is an answer, not a failure of ours"""

type OnRequest = Callable[[tuple[str, int | None] | None, str], None]


def _nothing(server: tuple[str, int | None] | None, scheme: str) -> None:
    del server, scheme


@dataclass(slots=True)
class Edge:
    """`on_request` is told the listener's own address, so that agents can find the front door."""

    table: Table
    keys: KeySource
    tokens: TokenVerifier
    clock: Clock
    options: EdgeOptions
    on_request: OnRequest = _nothing
    stages: Sequence[Stage] = ()
    gauges: Gauges = field(default_factory=Gauges)

    def __post_init__(self) -> None:
        self.stages = build_stages(lambda: self.table, self.tokens, self.options)

    @property
    def upstreams(self) -> Mapping[str, Upstream]:
        """The upstreams of the moment; a request's own is `record.upstream`."""
        return self.table.upstreams

    async def decide(self, record: Record) -> Answer | None:
        """Run the chain; fetch the keys, at most once, where a token names one that is not known yet."""
        try:
            return decide(self.stages, record)
        except KeysStale:
            await self.keys.refresh()
            record.are_keys_fresh = True
            return decide(self.stages, record)

    def finish(self, record: Record) -> None:
        """One line a request, always: who, what, where to, what came of it and why."""
        level = logging.INFO if record.status < 500 or record.reason in _ANSWERED else logging.WARNING
        log.log(
            level,
            "request.answered",
            request_id=record.id,
            method=record.method.decode("latin-1"),
            path=record.path.decode("latin-1"),
            route=record.route.label if record.route else None,
            status=record.status,
            reason=record.reason,
            user_id=record.principal.user_id if record.principal else None,
            client=record.client,
            endpoint=record.endpoint or None,
            bytes_in=record.bytes_in,
            bytes_out=record.bytes_out,
            seconds=round(self.clock.monotonic_s() - record.started_s, 6),
            **({"retries": record.retries} if record.retries else {}),
            **record.evidence,
        )
