"""The protocol mount: one client's connection under `uvicorn.Server`, bytes to requests and answers to bytes.

A proxied request is spliced to its upstream (`splice.py`) and never becomes an ASGI call; a local one does
(`protocol_local.py`). One request is served at a time, in order; what is pipelined behind it waits, bounded.
`uvicorn.Server` asks four things of a protocol: how it is made, that it enters itself in `server_state.connections`
and its tasks in `server_state.tasks`, and `shutdown()`.
"""

import asyncio
from collections.abc import Sequence
from math import inf
from typing import Any

import structlog
import uvicorn
from uvicorn.server import ServerState

from app.edge import faults
from app.edge.answers import refusal
from app.edge.keys import KeysStale
from app.edge.pipeline import Chain, Stage, decide, introduce
from app.edge.plans import Plan
from app.edge.protocol_body import body_reader
from app.edge.protocol_clock import Late
from app.edge.protocol_intake import first_words
from app.edge.protocol_line import Exchange, server_of
from app.edge.protocol_lobby import Arrival
from app.edge.protocol_local import LocalExchange, scope_of
from app.edge.protocol_reply import CONTINUE, Reply
from app.edge.protocol_taking import Taking
from app.edge.protocol_websocket import LocalWebSocket
from app.edge.proxy import BodyFraming, framing_of
from app.edge.proxy import head_rest as make_head_rest
from app.edge.record import Record
from app.edge.splice import Splice
from app.edge.tunnel import Tunnel, tunnel_life_s
from app.kernel.errors import Fault

log = structlog.get_logger()

REQUESTS_A_TURN = 64
"""of one client, before it is somebody else's turn: one read can deliver thousands that are answered at once"""


class EdgeProtocol(Taking):
    """One client's connection.

    Cost: some 4 KB while it is idle; while it is served, what was pipelined (64 KB) and a write buffer each way.
    """

    __slots__ = (
        "_arrival", "_config", "_is_counted", "_is_draining", "_server", "_state", "_tunnels_end_at_s",
    )  # fmt: skip

    def __init__(
        self,
        arrival: Arrival,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],  # Any: the ASGI state is whatever its makers put there
    ) -> None:
        super().__init__(server_state, asyncio.get_running_loop(), arrival)
        self._arrival = arrival
        self._config = config
        self._state = app_state
        self._tunnels_end_at_s = inf
        self._is_counted = True
        self._is_draining = False

    @property
    def _is_leaving(self) -> bool:
        return self._is_draining or self._edge.draining.has_begun

    @property
    def _connections(self) -> set[Any]:
        return self.server_state.connections  # typed as uvicorn's own protocols

    # --- from the transport -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._scheme = "https" if transport.get_extra_info("sslcontext") else "http"
        self._server = server_of(transport.get_extra_info("sockname"))
        self._connections.add(self)
        self._edge.on_request(self._server, self._scheme)
        waited_s = self._loop.time() - self._arrival.at_s
        self._clock.expect(Late.HEAD, max(0.0, self._edge.options.head_s - waited_s))

    def eof_received(self) -> bool:
        """Take a client that sends no more for one that is gone, as other proxies do. True: it is closed soon."""
        is_idle = self._reply is None and not self.is_deaf
        self._leave()
        if is_idle and self._scheme == "http":  # TLS has no half of a connection, and none of its ends waits
            self._edge.leavers.add(self._close_at_once)
            return True
        self._close(self._edge.options.client_write_s)
        return False

    def _close_at_once(self) -> None:
        self._close(self._edge.options.client_write_s)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._leave()
        self._watch_no_more()
        self._connections.discard(self)
        self.count_out()
        self._come_apart()

    def count_out(self) -> None:
        """Hear, once or more often, that the connection is gone, or came to nothing."""
        if self._is_counted:
            self._is_counted = False
            self._arrival.count_out()

    def pause_writing(self) -> None:
        self._note_congestion(self._edge.options.client_write_s)
        if self._exchange is not None:
            self._exchange.wait()

    def resume_writing(self) -> None:
        self._note_room()
        if self._exchange is not None:
            self._exchange.go_on()
        elif self._reply is None and self._intake.has_bytes:
            self._next_requests()

    def shutdown(self) -> None:
        """Serve what is under way, and what is on its way here by now; then close."""
        self._is_draining = True
        self.keeps_alive = False
        self._tunnels_end_at_s = self._loop.time() + tunnel_life_s(self._config.timeout_graceful_shutdown)
        if isinstance(self._exchange, Tunnel):
            self._exchange.end_at(self._tunnels_end_at_s)
        if self._reply is None and not self._intake.has_bytes:
            self._clock.expect(Late.IDLE, self._edge.options.last_call_s)

    # --- one request --------------------------------------------------------------------------------------------------

    def _enter(self, block: bytes, chain: Chain) -> None:
        """Decide on a head, and have it served; one that was let in a moment ago is not read again."""
        edge = self._edge
        plan = edge.plans.find(block, self._peer, self._scheme, edge.table)
        if plan is not None:
            self._enter_again(plan, chain)
            return
        head = self._intake.head
        try:
            head.parse(block)
        except Fault as fault:
            self._refuse_head(fault, block)
            return
        now_s = edge.clock.monotonic_s()
        path, _, query = head.target.partition(b"?")
        record = Record(head.method, path, query, head.headers, self._peer, self._scheme, now_s)
        if head.asks_upgrade:
            # of HTTP/1.0 and of other methods it is ignored (RFC 9110 §7.8, RFC 6455 §4.1)
            is_handshake = head.method == b"GET" and not head.is_http_1_0
            record.is_upgrade = is_handshake and (record.first(b"upgrade") or b"").lower() == b"websocket"
        self.keeps_alive = head.is_persistent and not self._is_leaving
        self._reply = reply = Reply(self, record)
        reply.is_http_1_0 = head.is_http_1_0
        self._decide(reply, chain.new, None, block)

    def _enter_again(self, plan: Plan, chain: Chain) -> None:
        now_s = self._edge.clock.monotonic_s()
        self.keeps_alive = plan.is_persistent and not self._is_leaving
        self._reply = reply = Reply(self, plan.record.again(now_s))
        reply.is_http_1_0 = plan.is_http_1_0
        self._decide(reply, chain.known, plan)

    def _decide(self, reply: Reply, stages: Sequence[Stage], plan: Plan | None = None, block: bytes = b"") -> None:
        """Let a request in, or answer it. `block` is the head, where a plan of it may be kept for the next."""
        record = reply.record
        try:
            answer = decide(stages, record)
            if answer is None:
                self._serve(reply, plan or self._plan(reply, block))
                return
            if record.route is None and framing_of(record) is not BodyFraming.NONE:
                self.keeps_alive = False  # it was turned away before anybody looked whether its end is certain
        except KeysStale as stale:
            self._task = self.spawn(self._decide_later(reply, stale))
            return
        except faults.UNFRAMED as fault:
            self._answer_last(reply, refusal(record, fault))
            return
        except Fault as fault:
            answer = refusal(record, fault)
        except Exception:
            # the edge's last step: whatever went wrong, the client gets an answer and the log the trace
            log.exception("request.failed", request_id=record.id, path=record.path.decode("latin-1"))
            answer = refusal(record, faults.InternalFault("The error was logged under this request id."))
        self._answer(reply, answer)

    async def _decide_later(self, reply: Reply, stale: KeysStale) -> None:
        await self._edge.refresh(stale)
        self._task = None
        reply.record.are_keys_fresh = True
        self._decide(reply, self._edge.stages)
        self._feed_from_intake()
        self._next_requests()

    def _plan(self, reply: Reply, block: bytes) -> Plan:
        """Make what the next request with the same head is spared.

        Errors: HeadMalformed, UpgradeNotOffered, ForwardingLoop.
        """
        record, route, edge = reply.record, reply.record.route, self._edge
        if route is None or (record.is_upgrade and record.upstream is not None and not route.websocket):
            raise faults.UpgradeNotOffered("This route takes no WebSocket.")
        framing = framing_of(record)
        head_rest = b""
        if record.upstream is not None:
            head_rest = make_head_rest(
                record,
                route,
                session_cookies=edge.options.session_cookies,
                framing=framing,
                version=b"1.0" if reply.is_http_1_0 else b"1.1",
                is_upgrade=record.is_upgrade,
            )
        plan = Plan(
            record, route, framing, reply.is_http_1_0, self.keeps_alive, head_rest, edge.table, edge.tokens.keys(),
            edge.tokens.ends_at_s(record.principal),
        )  # fmt: skip
        if block and not self._is_leaving:
            edge.plans.keep(block, plan)
        return plan

    def _serve(self, reply: Reply, plan: Plan) -> None:
        """Give a request that was let in to whom its row names."""
        record = reply.record
        if plan.is_plain and record.upstream is not None:
            self._exchange = splice = Splice(self._edge, self, reply, plan, record.upstream)
            splice.begin()
            return
        if record.is_upgrade and record.upstream is None:
            self._hand_over(record)
            return
        self._body = body = body_reader(record, plan.framing)
        self._exchange = exchange = self._exchange_of(reply, plan)
        if body is not None:
            self._body_from_bytes = 0
            self._clock.expect(Late.BODY, self._edge.options.body_idle_s)
            if (record.first(b"expect") or b"").lower() == b"100-continue":
                reply.interim(CONTINUE)
        if body is not None:
            exchange.expect_body()
        exchange.begin()

    def _exchange_of(self, reply: Reply, plan: Plan) -> Exchange:
        record = reply.record
        if record.upstream is None:
            scope = scope_of(record, server=self._server, state=self._known(record))
            return LocalExchange(self._edge, self._config.loaded_app, self, reply, scope)
        if record.is_upgrade:
            tunnel = Tunnel(self._edge, self, reply, plan, record.upstream)
            if self._is_draining:
                tunnel.end_at(self._tunnels_end_at_s)
            return tunnel
        return Splice(self._edge, self, reply, plan, record.upstream)

    def _hand_over(self, record: Record) -> None:
        """Let uvicorn's own protocol speak WebSocket with a client of ours. Errors: HeadMalformed."""
        server, state = self.server_state, self._state
        websocket = LocalWebSocket(record, self.count_out, self._config, server, state, self._loop)
        received = self._intake.take_all()
        self._pace()
        self._connections.discard(self)
        websocket.take_over(self._transport, self._edge.tokens, received)
        self._come_apart()

    def _known(self, record: Record) -> dict[str, Any]:
        """Make the ASGI state of a request: the lifespan's, and what was decided here (`asgi.py` reads it)."""
        return {**self._state, "edge_record": record}

    def _refuse_head(self, fault: Fault, block: bytes = b"") -> None:
        self.waits = False
        method, path = first_words(block or self._intake.beginning)
        record = Record(method, path, b"", [], self._peer, self._scheme, self._edge.clock.monotonic_s())
        introduce(self._edge.stages, record)
        self._reply = reply = Reply(self, record)
        self._answer_last(reply, refusal(record, fault))
