"""A WebSocket to an upstream: its handshake is a request like any, and behind the 101 bytes pass both ways unread.

Who the caller is was checked at the handshake. The tunnel ends with the token, and with its withdrawal: by a close
frame (1008) where one may stand, by a cut where not. A peer that is gone without a word is found by TCP itself.
"""

import asyncio
from collections.abc import Callable, Sequence

from app.edge.answers import completed
from app.edge.edge import Edge
from app.edge.protocol_line import ClientSocket
from app.edge.protocol_reply import Reply
from app.edge.proxy import BodyFraming
from app.edge.routes import Route
from app.edge.splice import Splice
from app.edge.tcp import watch_peer
from app.edge.upstream_answer import AnswerHead
from app.edge.upstreams import Upstream
from app.edge.websocket_frames import CLOSE_POLICY_VIOLATION, FrameTracker, close_frame
from app.kernel.identity import Principal
from app.kernel.revocation import Revocation

LONGEST_TIMER_S = 24 * 3600
_SWITCHING = 101
_UPGRADE = [(b"connection", b"Upgrade"), (b"upgrade", b"websocket")]
"""what an answer of 101 must say; hop-by-hop, so that it is said by us (RFC 9110 §7.8)"""
_HANDSHAKE = frozenset({b"sec-websocket-accept", b"sec-websocket-protocol", b"sec-websocket-extensions"})


class Tunnel(Splice):
    """A handshake that was let in. One that the upstream refuses is answered like any request."""

    __slots__ = ("_from_client", "_from_upstream", "_is_open", "_socket", "_timer", "_unsubscribe")

    def __init__(self, edge: Edge, client: ClientSocket, reply: Reply, route: Route, upstream: Upstream) -> None:
        super().__init__(edge, client, reply, route, upstream, BodyFraming.NONE)
        self._socket = client
        self._allows_upgrade = True
        self._is_open = False
        self._from_client = FrameTracker()
        self._from_upstream = FrameTracker()
        self._timer: asyncio.TimerHandle | None = None
        self._unsubscribe: Callable[[], None] | None = None

    def take(self, piece: bytes) -> None:
        if self._connection is not None:
            self._from_client.feed(piece)
            self._connection.send(piece)

    def on_head(self, head: AnswerHead) -> None:
        if head.status != _SWITCHING:
            super().on_head(head)
            return
        record = self._record
        self._is_open = True
        self._edge.gauges.tunnels_open += 1
        record.status = head.status
        if self._endpoint is not None:
            self._endpoint.note_answer(head.status)
        kept = [(name, value) for name, value in head.headers if name in _HANDSHAKE]
        self._reply.start(head.status, completed(record, kept + _UPGRADE), is_open_ended=False)
        watch_peer(self._socket.stream)
        if self._connection is not None:
            watch_peer(self._connection.stream)
        if record.principal is not None:
            self._watch(record.principal)
        self._socket.open_tunnel()

    def on_body(self, piece: bytes) -> None:
        if self._is_open:
            self._from_upstream.feed(piece)
        super().on_body(piece)

    def on_end(self) -> None:
        """Take the upstream's end for the tunnel's: what it sent before is on its way."""
        if not self._is_open:
            super().on_end()
            return
        self._connection = None
        self._over()
        self._edge.finish(self._record)
        self._reply.break_off()

    def _watch(self, who: Principal) -> None:
        self._unsubscribe = self._edge.tokens.revocations.subscribe(self._on_withdrawn)
        self._await_expiry(who)

    def _await_expiry(self, who: Principal) -> None:
        left_s = who.expires_at + self._edge.tokens.rules.leeway_s - self._edge.clock.now().timestamp()
        if left_s <= 0:
            self._end("token_expired")
        else:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(min(left_s, LONGEST_TIMER_S), self._await_expiry, who)

    def _on_withdrawn(self, made: Sequence[Revocation]) -> None:
        del made
        who = self._record.principal
        if who is not None and self._edge.tokens.revocations.refuses(who):
            self._end("token_withdrawn")

    def _end(self, reason: str) -> None:
        """Close both sides, with a word where a frame may stand."""
        if self._is_over:
            return
        connection, self._connection = self._connection, None
        if self._from_upstream.is_between_frames:
            self._reply.send(close_frame(CLOSE_POLICY_VIOLATION, is_masked=False))
        if connection is not None:
            farewell = close_frame(CLOSE_POLICY_VIOLATION, is_masked=True)
            connection.close(farewell if self._from_client.is_between_frames else b"")
        self._over()
        self._record.reason = reason
        self._edge.finish(self._record)
        self._reply.break_off()

    def _over(self) -> None:
        super()._over()
        if self._timer is not None:
            self._timer.cancel()
        if self._unsubscribe is not None:
            self._unsubscribe()
            self._unsubscribe = None
        if self._is_open:
            self._is_open = False
            self._edge.gauges.tunnels_open -= 1
