"""`Idempotency-Key` on every POST of our own: a Litestar middleware, between the edge's decisions and the handler.

Facts
- A key is an opaque text of the client's making (draft-ietf-httpapi-idempotency-key-header §2.1); here 1 to 255 visible
  ASCII characters, quotes included. It belongs to the caller: an anonymous one has none, and the field is ignored.
- What a handler raises has become an answer before it comes here (Litestar wraps the handler once more), and the
  request's record knows the reason.
- What streams is not kept. A handler that finds by its receipt what another try works at, and follows that, says
  `opt={"joins": True}`: it is called at once, also while the other works.
- A body that may be larger than others' is read as far as its handler would, which says so by
  `opt={"body_limit": (bytes, fact)}`.
- An answer that holds a secret which is shown once is kept sealed, where its handler says `opt={"is_secret": True}`.
"""

import hashlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

import anyio
from dishka import AsyncContainer
from litestar.connection import ASGIConnection
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from litestar.types.asgi_types import HTTPReceiveMessage, HTTPRequestEvent, HTTPResponseStartEvent

from app.edge.asgi_client import ClientGone
from app.edge.faults import BodyTooLarge
from app.edge.record import Record
from app.edge.routes import DEFAULT_MAX_LOCAL_BODY_BYTES
from app.kernel.errors import FieldError, TooLarge, ValidationFailed
from app.kernel.identity import Principal
from app.kernel.keyed_requests import Answered, KeptAnswer, KeyedRequest, Taken, UnderWay
from app.kernel.sealing import Seal
from app.surfaces.api.dependencies import guard_access
from app.surfaces.api.keyed_requests import KeyedRequests, Outcome, outcome_of

HEADER = "Idempotency-Key"
MAX_KEY_LENGTH = 255
MAX_KEPT_BYTES = 256 * 1024
CLEAN_UP_S = 5
_KEY = re.compile(rb"[\x21-\x7e]{1,%d}" % MAX_KEY_LENGTH)
_FORM = re.compile(rb"multipart/form-data\s*;.*boundary=\"?(?P<boundary>[^\";\s]{16,})", re.IGNORECASE)
_KEPT_HEADERS = frozenset({b"content-type", b"location", b"link", b"etag"})
_REPLAYED = (b"idempotent-replayed", b"true")
_STREAM = b"text/event-stream"


class HonourKeys:
    """Let a POST with a key be done once, however often it is sent."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        principal = scope["state"].get("principal")
        key = _key(scope)
        if key is None or not isinstance(principal, Principal):
            await self._app(scope, receive, send)
            return
        handler = scope["route_handler"]
        await guard_access(ASGIConnection(scope), handler)
        container: AsyncContainer = scope["litestar_app"].state.dishka_container
        desk = await container.get(KeyedRequests)
        joins = bool(handler.opt.get("joins"))
        seal = await container.get(Seal) if handler.opt.get("is_secret") else None
        limit_bytes, refusal = handler.opt.get("body_limit", (DEFAULT_MAX_LOCAL_BODY_BYTES, BodyTooLarge))
        body = await _read(receive, limit_bytes=limit_bytes, refusal=refusal)
        claim = await desk.claim(principal.user_id, key, _digest(scope, body), may_join=joins)
        if isinstance(claim, Answered):
            if not (joins and _wants_stream(scope)):
                await _repeat(_opened(claim.answer, claim.request, seal), scope, send)
                return
            claim = UnderWay(claim.request)
        scope["state"]["keyed_request"] = claim.request
        await self._work(desk, claim, seal, scope, _again(body, receive), send)

    async def _work(
        self,
        desk: KeyedRequests,
        claim: Taken | UnderWay,
        seal: Seal | None,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        record: Record = scope["state"]["edge_record"]

        async def settle(status: int, answer: KeptAnswer | None) -> None:
            kept = None if answer is None else _closed(answer, claim.request, seal)
            await desk.settle(claim, outcome_of(status, record.reason), kept)

        answering = _Answering(send, settle)
        async with desk.holding(claim):
            try:
                await self._app(scope, receive, answering.take)
                await answering.finish()
            finally:
                if not answering.is_settled:
                    with anyio.move_on_after(CLEAN_UP_S, shield=True):
                        await desk.settle(claim, Outcome.UNKNOWN, None)


@dataclass(slots=True)
class _Answering:
    """Holds an answer back until it is written down; what streams, or is too large to be kept, goes through."""

    send: Send
    settle: Callable[[int, KeptAnswer | None], Awaitable[None]]
    is_settled: bool = False
    _held: list[Message] = field(default_factory=list)
    _head: HTTPResponseStartEvent | None = None
    _body: bytes = b""
    _is_open: bool = False

    async def take(self, message: Message) -> None:
        if self._is_open:
            await self.send(message)
            return
        self._held.append(message)
        if message["type"] == "http.response.start":
            self._head = message
            if _streams(message):
                await self._open()
        elif message["type"] == "http.response.body":
            self._body += message["body"]
            if len(self._body) > MAX_KEPT_BYTES:
                await self._open()
            elif not message["more_body"]:
                await self._settle(is_whole=True)
                await self._open()

    async def finish(self) -> None:
        """Settle what went through."""
        if not self.is_settled:
            await self._settle(is_whole=False)

    async def _open(self) -> None:
        self._is_open = True
        for message in self._held:
            await self.send(message)
        self._held.clear()

    async def _settle(self, *, is_whole: bool) -> None:
        self.is_settled = True
        if self._head is None:
            raise RuntimeError("the handler ended without an answer")
        status = self._head["status"]
        kept = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in self._head["headers"]
            if name.lower() in _KEPT_HEADERS
        }
        await self.settle(status, KeptAnswer(status, kept, self._body) if is_whole else None)


def _closed(answer: KeptAnswer, request: KeyedRequest, seal: Seal | None) -> KeptAnswer:
    """Errors: SealBroken."""
    return answer if seal is None else replace(answer, body=seal.close(answer.body, what=_name_of(request)))


def _opened(answer: KeptAnswer, request: KeyedRequest, seal: Seal | None) -> KeptAnswer:
    """Errors: SealBroken."""
    return answer if seal is None else replace(answer, body=seal.open(answer.body, what=_name_of(request)))


def _name_of(request: KeyedRequest) -> str:
    return f"answer to request {request.id}"


def _key(scope: Scope) -> str | None:
    """Errors: ValidationFailed."""
    if scope.get("method") != "POST":
        return None
    given = [value for name, value in scope["headers"] if name == HEADER.lower().encode()]
    if not given:
        return None
    if len(given) > 1 or not _KEY.fullmatch(given[0]):
        problem = FieldError(HEADER, f"must be one key of 1 to {MAX_KEY_LENGTH} visible ASCII characters")
        raise ValidationFailed("The key cannot be used.", errors=[problem])
    return given[0].decode("ascii")


def _digest(scope: Scope, body: bytes) -> bytes:
    """Tell one POST from another: by where it goes and what it says, byte for byte.

    A form's boundary says nothing: most clients draw another for each try.
    """
    drawn = _FORM.search(next((value for name, value in scope["headers"] if name == b"content-type"), b""))
    said = body.replace(drawn["boundary"], b"") if drawn else body
    parts = (scope["path"].encode(), scope["query_string"], said)
    lengths = b",".join(b"%d" % len(part) for part in parts)
    return hashlib.sha256(b"".join((lengths, *parts))).digest()


async def _read(receive: Receive, *, limit_bytes: int, refusal: type[TooLarge]) -> bytes:
    """Errors: BodyTooLarge, or what the handler says in its place; ClientGone; what the edge refuses of a body."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientGone
        body += message["body"]
        if len(body) > limit_bytes:
            raise refusal("The body is larger than this endpoint takes.")
        if not message["more_body"]:
            return bytes(body)


def _again(body: bytes, receive: Receive) -> Receive:
    """Let the handler read what was read already; behind it comes only that the client is gone."""
    left: list[HTTPRequestEvent] = [{"type": "http.request", "body": body, "more_body": False}]

    async def read() -> HTTPReceiveMessage:
        return left.pop() if left else await receive()  # type: ignore[return-value] # of an HTTP request

    return read


async def _repeat(answer: KeptAnswer, scope: Scope, send: Send) -> None:
    record: Record = scope["state"]["edge_record"]
    record.reason = "replayed"
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": [*headers, _REPLAYED]})
    await send({"type": "http.response.body", "body": answer.body, "more_body": False})


def _streams(head: HTTPResponseStartEvent) -> bool:
    return any(name.lower() == b"content-type" and value.startswith(_STREAM) for name, value in head["headers"])


def _wants_stream(scope: Scope) -> bool:
    return any(name == b"accept" and _STREAM in value for name, value in scope["headers"])
