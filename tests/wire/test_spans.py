"""Spans on their way to a collector: a real HTTP receiver, through our own client."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from structlog.testing import capture_logs

from app.edge.record import Record
from app.edge.spans import RequestSpans
from app.infra.http_client.client import HttpClient
from app.infra.observability.otlp import BATCH_SPANS, MAX_QUEUE, SpanExporter, headers_of, traces_url
from tests.unit.edge.parts import a_record, a_route

# Any: a JSON document
type Document = dict[str, Any]


@dataclass(slots=True)
class Collector:
    """Takes OTLP over HTTP/1.1, or answers with the statuses it was told."""

    statuses: list[int] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)
    documents: list[Document] = field(default_factory=list)
    url: str = ""

    @property
    def spans(self) -> list[Document]:
        return [
            span
            for document in self.documents
            for resource in document["resourceSpans"]
            for scope in resource["scopeSpans"]
            for span in scope["spans"]
        ]

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode().lower():
                length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
                body = json.loads(await reader.readexactly(length))
                status = self.statuses.pop(0) if self.statuses else 200
                self.heads.append(head)
                if status == 200:
                    self.documents.append(body)
                writer.write(b"HTTP/1.1 %d Word\r\ncontent-length: 2\r\n\r\n{}" % status)
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def collecting(*statuses: int) -> AsyncIterator[tuple[Collector, RequestSpans]]:
    collector = Collector(list(statuses))
    server = await asyncio.start_server(collector.answer, "127.0.0.1", 0)
    client = HttpClient.open()
    url = traces_url(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
    exporter = SpanExporter(client.post_json, url, headers_of("Api-Key=a%20b"), {"service.name": "front"})
    async with server:
        yield collector, RequestSpans(exporter)
        await client.aclose()


def over(status: int = 200) -> Record:
    record = a_record("GET", "/x/1?secret=1")
    record.route, record.status, record.reason = a_route(prefix="/x"), status, "proxied"
    record.client, record.endpoint, record.span_id = "203.0.113.7", "127.0.0.1:9", 0xAB
    return record


async def test_a_request_is_a_span_of_its_trace() -> None:
    record = over()
    record.parent_span_id, record.tracestate = "b7ad6b7169203331", b"vendor=1"
    async with collecting() as (collector, spans):
        spans.note(record, 0.25)
        await spans.exporter.send_all()

    (span,) = collector.spans
    attributes = {one["key"]: one["value"] for one in span.pop("attributes")}
    assert int(span.pop("endTimeUnixNano")) - int(span.pop("startTimeUnixNano")) == 250_000_000
    assert span == {
        "traceId": record.trace_id,
        "spanId": "00000000000000ab",
        "parentSpanId": "b7ad6b7169203331",
        "traceState": "vendor=1",
        "name": "GET /x/*",
        "kind": 2,
        "status": {},
    }
    assert attributes["http.response.status_code"] == {"intValue": "200"}
    assert attributes["http.route"] == {"stringValue": "/x/*"}
    assert attributes["url.path"] == {"stringValue": "/x/1"}
    assert "secret" not in json.dumps(collector.documents)
    assert collector.heads[0].startswith("post /v1/traces http/1.1")
    assert "api-key: a b\r\n" in collector.heads[0]
    assert "content-type: application/json\r\n" in collector.heads[0]
    resource = collector.documents[0]["resourceSpans"][0]["resource"]
    assert resource == {"attributes": [{"key": "service.name", "value": {"stringValue": "front"}}]}


async def test_a_failed_request_says_so() -> None:
    record = over(502)
    record.reason, record.retries = "upstream_refused", 1
    async with collecting() as (collector, spans):
        spans.note(record, 0.1)
        await spans.exporter.send_all()

    (span,) = collector.spans
    attributes = {one["key"]: one["value"] for one in span["attributes"]}
    assert span["status"] == {"code": 2}
    assert attributes["error.type"] == {"stringValue": "upstream_refused"}
    assert attributes["http.request.resend_count"] == {"intValue": "1"}


async def test_a_trace_that_nobody_wants_leaves_no_span() -> None:
    record = over()
    record.trace_flags = 0
    async with collecting() as (collector, spans):
        spans.note(record, 0.1)
        await spans.exporter.send_all()

    assert collector.heads == []


async def test_many_spans_go_in_batches() -> None:
    async with collecting() as (collector, spans):
        for _ in range(2 * BATCH_SPANS + 1):
            spans.note(over(), 0.1)
        await spans.exporter.aclose()

    assert [len(one["resourceSpans"][0]["scopeSpans"][0]["spans"]) for one in collector.documents] == [
        BATCH_SPANS,
        BATCH_SPANS,
        1,
    ]
    assert (spans.exporter.exported, spans.exporter.dropped) == (2 * BATCH_SPANS + 1, 0)


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_a_collector_that_says_later_gets_them_later(status: int) -> None:
    with capture_logs() as lines:
        async with collecting(status, status) as (collector, spans):
            spans.note(over(), 0.1)
            for _ in range(3):
                await spans.exporter.send_all()

    assert len(collector.spans) == 1
    assert (spans.exporter.exported, spans.exporter.dropped) == (1, 0)
    assert [line["event"] for line in lines] == ["spans.refused", "spans.accepted"]  # once each, not once a second


async def test_what_a_collector_will_never_take_is_dropped_and_counted() -> None:
    with capture_logs():
        async with collecting(400) as (collector, spans):
            spans.note(over(), 0.1)
            await spans.exporter.send_all()
            spans.note(over(), 0.1)
            await spans.exporter.send_all()

    assert len(collector.spans) == 1
    assert (spans.exporter.exported, spans.exporter.dropped) == (1, 1)


async def test_without_a_collector_the_queue_fills_and_no_more() -> None:
    with capture_logs():
        async with collecting() as (_, spans):
            spans.exporter.url = "http://127.0.0.1:1/v1/traces"
            for _ in range(MAX_QUEUE + 10):
                spans.note(over(), 0.1)
            await spans.exporter.send_all()
            assert spans.exporter.dropped == 10

            await spans.exporter.aclose()
            assert spans.exporter.dropped == MAX_QUEUE + 10


@pytest.mark.parametrize(
    ("text", "headers"),
    [("", {}), ("a=1", {"a": "1"}), (" A = 1 , b=2=3,", {"a": "1", "b": "2=3"}), ("a=x%2Cy", {"a": "x,y"})],
)
def test_headers_are_read_as_opentelemetry_writes_them(text: str, headers: dict[str, str]) -> None:
    assert headers_of(text) == headers


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [("", ""), ("http://c:4318", "http://c:4318/v1/traces"), ("http://c/o/", "http://c/o/v1/traces")],
)
def test_the_signals_path_follows_the_endpoint(endpoint: str, url: str) -> None:
    assert traces_url(endpoint) == url
