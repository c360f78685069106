"""Spans, sent to a collector in the background (OTLP/HTTP with JSON, https://opentelemetry.io/docs/specs/otlp/).

Rule: nobody waits for a collector. What it does not take in time stays in a bounded queue, and what does not fit into
that is dropped and counted.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote

import msgspec
import structlog

from app.infra.observability.metrics import Family, counter, gauge

BATCH_SPANS = 128
"""so that making one document holds up the event loop for no more than about a millisecond"""
MAX_QUEUE = 4096
INTERVAL_S = 1.0
LAST_TIMEOUT_S = 2.0

_SERVER = 2
_ERROR = 2
_COME_BACK = frozenset({429, 502, 503, 504})

log = structlog.get_logger()

type Post = Callable[[str, bytes, Mapping[str, str]], Awaitable[int]]
type Attributes = Mapping[str, str | int]


def traces_url(endpoint: str) -> str:
    """Add the signal's path to OTEL_EXPORTER_OTLP_ENDPOINT, as its specification says; empty where that is."""
    return f"{endpoint.rstrip('/')}/v1/traces" if endpoint else ""


def headers_of(text: str) -> Mapping[str, str]:
    """Read OTEL_EXPORTER_OTLP_HEADERS: name=value pairs with commas between them, percent-encoded."""
    pairs = [pair.partition("=") for pair in text.split(",") if pair.strip()]
    return {unquote(name.strip()).lower(): unquote(value.strip()) for name, _, value in pairs}


class _Wire(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel"):
    pass


class _Value(_Wire, frozen=True):
    string_value: str | None = None
    int_value: str | None = None


class _Attribute(_Wire, frozen=True):
    key: str
    value: _Value


class _Status(_Wire, frozen=True):
    code: int = 0


class _Span(_Wire, frozen=True):
    trace_id: str
    span_id: str
    name: str
    kind: int
    start_time_unix_nano: str
    end_time_unix_nano: str
    attributes: Sequence[_Attribute]
    parent_span_id: str = ""
    trace_state: str = ""
    status: _Status = _Status()


class Span(msgspec.Struct, frozen=True):
    """Something that was done for a trace; ids in lower-case hex, times in nanoseconds since the epoch."""

    trace_id: str
    span_id: str
    parent_span_id: str
    state: str
    name: str
    began_ns: int
    ended_ns: int
    attributes: Attributes
    is_failed: bool


@dataclass(slots=True)
class SpanExporter:
    """Concurrency: of the event loop; `run` runs in the background, and is what sends."""

    post: Post
    url: str
    headers: Mapping[str, str]
    resource: Attributes
    exported: int = 0
    dropped: int = 0
    _queue: deque[Span] = field(default_factory=deque)
    _is_failing: bool = False

    @property
    def is_on(self) -> bool:
        return bool(self.url)

    def families(self) -> Iterable[Family]:
        yield counter("portico_spans_exported_total", "Spans the collector took.", self.exported)
        yield counter("portico_spans_dropped_total", "Spans that did not reach the collector.", self.dropped)
        yield gauge("portico_spans_waiting", "Spans to be sent.", len(self._queue))

    def add(self, span: Span) -> None:
        """Keep a span to be sent. Cost: no I/O; when too many wait, it is dropped."""
        if len(self._queue) >= MAX_QUEUE:
            self.dropped += 1
            return
        self._queue.append(span)

    async def run(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL_S)
            await self.send_all()

    async def aclose(self) -> None:
        """Send what is left, for up to two seconds; what is left then is dropped."""
        try:
            async with asyncio.timeout(LAST_TIMEOUT_S):
                await self.send_all()
        except TimeoutError:
            pass
        self.dropped += len(self._queue)
        self._queue.clear()

    async def send_all(self) -> None:
        """Send everything that waits; stop at the first batch that the collector does not take."""
        while self._queue:
            batch = [self._queue[place] for place in range(min(BATCH_SPANS, len(self._queue)))]
            status = await self._send(batch)
            if status is None or status in _COME_BACK:
                return
            for _ in batch:
                self._queue.popleft()
            if 200 <= status < 300:
                self.exported += len(batch)
            else:
                self.dropped += len(batch)  # it will never take them

    async def _send(self, batch: Sequence[Span]) -> int | None:
        headers = {"content-type": "application/json", **self.headers}
        try:
            status = await self.post(self.url, self._document(batch), headers)
            failure = "" if 200 <= status < 300 else f"status {status}"
        except OSError as error:
            status, failure = None, str(error)
        if bool(failure) is not self._is_failing:
            self._is_failing = bool(failure)
            say = log.warning if failure else log.info
            say("spans.refused" if failure else "spans.accepted", url=self.url, cause=failure)
        return status

    def _document(self, batch: Sequence[Span]) -> bytes:
        spans = {"scope": {"name": "portico"}, "spans": [_written(span) for span in batch]}
        resource = {"attributes": _attributes(self.resource)}
        return msgspec.json.encode({"resourceSpans": [{"resource": resource, "scopeSpans": [spans]}]})


def _written(span: Span) -> _Span:
    return _Span(
        trace_id=span.trace_id,
        span_id=span.span_id,
        name=span.name,
        kind=_SERVER,
        start_time_unix_nano=str(span.began_ns),
        end_time_unix_nano=str(span.ended_ns),
        attributes=_attributes(span.attributes),
        parent_span_id=span.parent_span_id,
        trace_state=span.state,
        status=_Status(_ERROR) if span.is_failed else _Status(),
    )


def _attributes(values: Attributes) -> list[_Attribute]:
    return [
        _Attribute(key, _Value(int_value=str(value)) if isinstance(value, int) else _Value(string_value=value))
        for key, value in values.items()
    ]
