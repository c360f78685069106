"""A proxied request on a client's own connection: its bytes go to an upstream and the answer's come back, by callbacks.

No task, no queue and no copy of a body: what one side cannot take makes the other side's socket wait.
"""

import asyncio
from dataclasses import replace
from functools import lru_cache

from app.edge.answer_head import AnswerHead
from app.edge.answers import completed_lines, note_refusal, refusal
from app.edge.chunked import LAST_CHUNK, chunk
from app.edge.edge import Edge
from app.edge.endpoint import UpstreamEndpoint
from app.edge.plans import Plan
from app.edge.protocol_line import ClientSocket
from app.edge.protocol_reply import Reply
from app.edge.proxy import BodyFraming, fault_of, may_retry, request_head
from app.edge.record import Record
from app.edge.upstream import UpstreamConnection
from app.edge.upstream_failures import UpstreamFailure
from app.edge.upstream_sink import Deadlines
from app.edge.upstreams import Upstream
from app.kernel.errors import Fault

HELD_BYTES = 64 * 1024
"""of a request's body, while its upstream is dialled"""


class Splice:
    """Carry one request that was let in, with one retry where that can do no harm. Errors: none; it answers.

    It is the sink of the upstream's answer (`AnswerSink`), and hears from the client's connection what comes of the
    request: `take` and `take_end`, or `refuse` when its body went wrong, `leave` when the client is gone, `wait` and
    `go_on` as the client's socket fills and empties. Whatever ends it, it ends once, with a line in the log.
    """

    __slots__ = (
        "_allows_upgrade", "_client", "_connection", "_edge", "_endpoint", "_has_body", "_held", "_is_body_started",
        "_is_over", "_is_request_whole", "_is_stream", "_plan", "_record", "_reply", "_task", "_upstream",
    )  # fmt: skip

    def __init__(self, edge: Edge, client: ClientSocket, reply: Reply, plan: Plan, upstream: Upstream) -> None:
        self._edge = edge
        self._client = client
        self._reply = reply
        self._record: Record = reply.record
        self._plan = plan
        self._upstream = upstream
        self._has_body = self._allows_upgrade = False
        self._endpoint: UpstreamEndpoint | None = None
        self._connection: UpstreamConnection | None = None
        self._task: asyncio.Task[None] | None = None
        self._held: bytearray | None = None
        self._is_request_whole = True
        self._is_body_started = self._is_over = self._is_stream = False

    def expect_body(self) -> None:
        self._has_body = True
        self._is_request_whole = False

    def begin(self) -> None:
        self._record.reason = "proxied"
        self._upstream.budget.earn()
        self._ask(None)

    # --- from the client ----------------------------------------------------------------------------------------------

    def take(self, piece: bytes) -> None:
        framed = chunk(piece) if self._plan.framing is BodyFraming.CHUNKED else piece
        if self._connection is not None:
            self._is_body_started = True
            self._connection.send(framed)
            return
        self._hold(framed)

    def take_end(self) -> None:
        self._is_request_whole = True
        if self._plan.framing is BodyFraming.CHUNKED:
            self._hold(LAST_CHUNK)
        if self._connection is not None:
            self._send_held(self._connection)

    def _hold(self, framed: bytes) -> None:
        """Keep what is to be sent, or would be: the upstream may still be dialled."""
        if self._held is None:
            self._held = bytearray()
        self._held += framed
        if len(self._held) > HELD_BYTES:
            self._client.pause_reading()

    def refuse(self, fault: Fault) -> None:
        """Give up, and tell the client why; where an answer has begun, leave it broken off."""
        if self._is_over:
            return
        self._let_go()
        if self._reply.is_started:
            note_refusal(self._record, fault)
            self._edge.finish(self._record)
            self._reply.break_off()
        else:
            answer = refusal(self._record, fault)
            self._reply.answer(answer)
            self._edge.finish(self._record)

    def leave(self) -> None:
        if not self._is_over:
            self._let_go()
            self._record.reason = "client_gone"
            self._edge.finish(self._record)

    def wait(self) -> None:
        if self._connection is not None:
            self._connection.pause_reading()

    def go_on(self) -> None:
        if self._connection is not None:
            self._connection.resume_reading()

    # --- from the upstream --------------------------------------------------------------------------------------------

    def on_interim(self, head: AnswerHead) -> None:
        self._reply.interim(head.status, head.returned_lines)

    def on_head(self, head: AnswerHead, piece: bytes) -> None:
        record = self._record
        if self._endpoint is not None:
            self._endpoint.note_answer(head.status)
        is_open_ended = head.is_open_ended
        if is_open_ended and self._connection is not None:
            self._connection.allow_idle(self._upstream.idle_timeout_s(head))
            if head.is_event_stream:
                self._is_stream = True
                self._edge.release(record)
                self._edge.gauges.streams_open += 1
        record.status = head.status
        record.bytes_out += len(piece)
        lines = completed_lines(record, head)
        if is_open_ended:
            self._reply.start_open_ended(head.status, lines, piece)
        else:
            self._reply.start(head.status, lines, piece)

    def on_body(self, piece: bytes) -> None:
        self._record.bytes_out += len(piece)
        self._reply.send(piece)

    def on_end(self) -> None:
        self._connection = None
        self._over()
        self._edge.finish(self._record)
        self._reply.end()

    def on_broken(self, failure: UpstreamFailure) -> None:
        self._connection = None
        endpoint = self._endpoint
        if endpoint is not None:
            endpoint.note_failure(failure)
            endpoint.note_end()
        if self._is_over:
            return
        if self._may_try_again(failure) and self._upstream.budget.spend():
            self._record.retries += 1
            self._ask(endpoint)
        else:
            self.refuse(fault_of(failure, self._upstream.name))

    def pause_sending(self) -> None:
        self._client.pause_reading()

    def resume_sending(self) -> None:
        self._client.resume_reading()

    # ------------------------------------------------------------------------------------------------------------------

    def _ask(self, tried: UpstreamEndpoint | None) -> None:
        try:
            self._endpoint = endpoint = self._upstream.pick(tried)
        except Fault as fault:
            self.refuse(fault)
            return
        record = self._record
        record.endpoint = endpoint.name
        head = request_head(record, endpoint.authority, self._plan.head_rest)
        connection = endpoint.pool.acquire_nowait()
        if connection is not None:
            self._begin(connection, head)
        else:
            self._task = self._client.spawn(self._dial(endpoint, head))

    async def _dial(self, endpoint: UpstreamEndpoint, head: bytes) -> None:
        try:
            connection = await endpoint.pool.acquire(connect_timeout_s=self._upstream.connect_timeout_s)
        except UpstreamFailure as failure:
            self._task = None
            self.on_broken(failure)
            return
        self._task = None
        self._begin(connection, head)

    def _begin(self, connection: UpstreamConnection, head: bytes) -> None:
        deadlines = self._upstream.deadlines
        timeout_s = self._plan.route.timeout_s
        if timeout_s is not None:
            deadlines = _with_timeout(deadlines, timeout_s)
        self._connection = connection
        connection.begin(
            self,
            self._record.method,
            head,
            deadlines=deadlines,
            body_follows=self._has_body,
            allows_upgrade=self._allows_upgrade,
        )
        if self._has_body:
            self._send_held(connection)
        if self._client.is_congested:
            connection.pause_reading()

    def _send_held(self, connection: UpstreamConnection) -> None:
        """Send what was held back; what the upstream does not take pauses the client by itself."""
        held, self._held = self._held, None
        if held:
            self._is_body_started = True
            connection.send(bytes(held))
        if self._is_request_whole:
            connection.finish()
        elif connection.is_writable:
            self._client.resume_reading()

    def _may_try_again(self, failure: UpstreamFailure) -> bool:
        return (
            self._record.retries < self._upstream.retries
            and not self._reply.is_started
            and may_retry(
                self._record.method, failure, is_body_started=self._is_body_started, has_other=self._has_other()
            )
        )

    def _has_other(self) -> bool:
        return self._endpoint is not None and self._upstream.has_other(self._endpoint)

    def _let_go(self) -> None:
        """Close the upstream connection, or stop dialling it."""
        self._over()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def _over(self) -> None:
        self._is_over = True
        if self._is_stream:
            self._is_stream = False
            self._edge.gauges.streams_open -= 1
        if self._endpoint is not None:
            self._endpoint.note_end()


@lru_cache(maxsize=1024)
def _with_timeout(deadlines: Deadlines, response_timeout_s: float) -> Deadlines:
    return replace(deadlines, response_timeout_s=response_timeout_s)
