"""Requests as spans, for whoever collects traces; only where a collector is configured."""

import time
from dataclasses import dataclass

from app.edge.record import Record
from app.edge.routes import Route
from app.edge.tracing import is_sampled
from app.infra.observability.otlp import Attributes, Span, SpanExporter


@dataclass(frozen=True, slots=True)
class RequestSpans:
    exporter: SpanExporter

    def note(self, record: Record, seconds: float) -> None:
        """Keep the span of a request that is over, unless whoever began its trace does not want it."""
        if not is_sampled(record) or not record.trace_id:
            return
        ended_ns = time.time_ns()
        method = record.method.decode("latin-1")
        self.exporter.add(
            Span(
                trace_id=record.trace_id,
                span_id=f"{record.span_id:016x}",
                parent_span_id=record.parent_span_id,
                state=record.tracestate.decode("latin-1"),
                name=f"{method} {_pattern(record.route)}" if record.route is not None else method,
                began_ns=ended_ns - int(seconds * 1e9),
                ended_ns=ended_ns,
                attributes=_attributes(record, method),
                is_failed=record.status >= 500,
            )
        )


def _attributes(record: Record, method: str) -> Attributes:
    """Name things as OpenTelemetry's conventions for HTTP do; never a query, since it may hold a secret."""
    known: dict[str, str | int] = {
        "http.request.method": method,
        "url.path": record.path.decode("latin-1"),
        "url.scheme": record.scheme,
        "client.address": record.client,
        "portico.request_id": record.id,
        "portico.reason": record.reason,
    }
    if record.route is not None:
        known["http.route"] = _pattern(record.route)
    if record.status:
        known["http.response.status_code"] = record.status
    if record.status >= 500:
        known["error.type"] = record.reason
    if record.endpoint:
        known["portico.endpoint"] = record.endpoint
    if record.retries:
        known["http.request.resend_count"] = record.retries
    return known


def _pattern(route: Route) -> str:
    """Tell a row's path without its methods."""
    return route.label.rpartition(" ")[2]
