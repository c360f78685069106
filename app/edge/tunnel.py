"""A WebSocket to an upstream: its handshake is a request like any, and behind the 101 bytes pass both ways unread.

Who the caller is was checked at the handshake. The tunnel ends with the token, and with its withdrawal, and when the
process ends: by a close frame where one may stand, by a cut where not. A peer that is gone without a word is found by
TCP itself. WebSockets are closed by both sides and know no half-closed connection (RFC 6455 §7.1.1), so the end of one
side is the end of the other, behind everything that was sent before it.
"""

import asyncio

from app.edge.answer_head import AnswerHead
from app.edge.answers import completed_lines, note_refusal
from app.edge.edge import Edge
from app.edge.faults import UpstreamAnswerBroken
from app.edge.plans import Plan
from app.edge.protocol_line import ClientSocket
from app.edge.protocol_reply import Reply
from app.edge.splice import Splice
from app.edge.tcp import watch_peer
from app.edge.token_watch import TokenWatch
from app.edge.upstream_failures import UpstreamFailure
from app.edge.upstreams import Upstream
from app.edge.websocket_frames import CLOSE_GOING_AWAY, CLOSE_POLICY_VIOLATION, FrameTracker, close_frame

LAST_WORDS_S = 3
"""before the process ends: for the word that it does, and for the client's answer"""
SWITCHING = 101
_UPGRADED = b"connection: Upgrade\r\nupgrade: websocket\r\n"
"""hop-by-hop, so that it is said by us (RFC 9110 §7.8)"""


def tunnel_life_s(grace_s: float | None) -> float:
    """Tell how long tunnels may live in a process that ends when `grace_s` has passed."""
    return max(0.0, (grace_s or 0) - LAST_WORDS_S)


class Tunnel(Splice):
    """A handshake that was let in. One that the upstream refuses is answered like any request.

    Cost: what the sockets' write buffers hold, 320 KB each way; a frame is never collected.
    """

    __slots__ = ("_drain", "_from_client", "_from_upstream", "_is_open", "_watch")

    def __init__(self, edge: Edge, client: ClientSocket, reply: Reply, plan: Plan, upstream: Upstream) -> None:
        super().__init__(edge, client, reply, plan, upstream)
        self._allows_upgrade = True
        self._is_open = False
        self._from_client = FrameTracker()
        self._from_upstream = FrameTracker()
        self._watch: TokenWatch | None = None
        self._drain: asyncio.TimerHandle | None = None

    def end_at(self, loop_time_s: float) -> None:
        """Say at that time, if it is still open then, that this process is going away."""
        if not self._is_over:
            self._drain = asyncio.get_running_loop().call_at(loop_time_s, self._go_away)

    # --- from the client ----------------------------------------------------------------------------------------------

    def take(self, piece: bytes) -> None:
        connection = self._connection
        if connection is not None:
            self._from_client.feed(piece)
            connection.send(piece)

    def leave(self) -> None:
        if not self._is_open:
            super().leave()
            return
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close(b"")
        if not self._is_closing():
            self._record.reason = "client_gone"
        self._over()
        self._edge.finish(self._record)

    # --- from the upstream --------------------------------------------------------------------------------------------

    def on_head(self, head: AnswerHead, piece: bytes) -> None:
        if head.status != SWITCHING:
            super().on_head(head, piece)
        elif [value.lower() for name, value in head.headers if name == b"upgrade"] == [b"websocket"]:
            self._open(head)
            if piece and self._is_open:
                self.on_body(piece)
        else:
            cause = "it switched to another protocol than WebSocket"
            self.refuse(UpstreamAnswerBroken(evidence={"upstream": self._upstream.name, "cause": cause}))

    def on_body(self, piece: bytes) -> None:
        if self._is_open:
            self._from_upstream.feed(piece)
        super().on_body(piece)

    def on_end(self) -> None:
        if not self._is_open:
            super().on_end()
            return
        self._connection = None
        if not self._is_closing():
            cause = "the WebSocket ended without a close frame"
            note_refusal(self._record, UpstreamAnswerBroken(evidence={"upstream": self._upstream.name, "cause": cause}))
        self._hang_up()

    def on_broken(self, failure: UpstreamFailure) -> None:
        if self._is_open and self._is_closing():
            self.on_end()  # in a hurry, but an end
        else:
            super().on_broken(failure)

    # ------------------------------------------------------------------------------------------------------------------

    def _open(self, head: AnswerHead) -> None:
        edge, record = self._edge, self._record
        self._is_open = True
        edge.gauges.tunnels_open += 1
        edge.release(record)
        record.status = head.status
        if self._endpoint is not None:
            self._endpoint.note_answer(head.status)
        watch_peer(self._client.stream)
        if self._connection is not None:
            watch_peer(self._connection.stream)
        self._client.open_tunnel()
        self._reply.switch(completed_lines(record, head) + _UPGRADED)
        if record.principal is not None:
            self._watch = TokenWatch(edge.tokens, record.principal, self._on_token_end)
            self._watch.begin()

    def _is_closing(self) -> bool:
        """Whether the closing handshake has begun, from either side: then an end of the connection is no surprise."""
        return self._from_client.is_closing or self._from_upstream.is_closing

    def _on_token_end(self, reason: str) -> None:
        self._end(CLOSE_POLICY_VIOLATION, reason)

    def _go_away(self) -> None:
        if self._is_open:
            self._end(CLOSE_GOING_AWAY, "going_away")

    def _end(self, code: int, reason: str) -> None:
        """Close both sides, with a word where a frame may stand."""
        connection, self._connection = self._connection, None
        if self._from_upstream.is_between_frames:
            self._reply.send(close_frame(code, reason, is_masked=False))
        if connection is not None:
            may_speak = self._from_client.is_between_frames
            connection.close(close_frame(code, reason, is_masked=True) if may_speak else b"")
        self._record.reason = reason
        self._hang_up()

    def _hang_up(self) -> None:
        self._over()
        self._edge.finish(self._record)
        self._reply.break_off()

    def _over(self) -> None:
        super()._over()
        if self._watch is not None:
            self._watch.stop()
        if self._drain is not None:
            self._drain.cancel()
        if self._is_open:
            self._is_open = False
            self._edge.gauges.tunnels_open -= 1
