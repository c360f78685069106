"""What a request asks of an upstream connection, and who hears of its answer."""

from dataclasses import dataclass
from typing import Protocol

from app.edge.answer_head import AnswerHead
from app.edge.upstream_failures import UpstreamFailure


@dataclass(frozen=True, slots=True)
class Deadlines:
    response_timeout_s: float = 30.0
    """to the final head, from when the whole request was accepted by the socket"""
    idle_timeout_s: float = 60.0
    """between two reads with body in them; stands still while we have paused reading"""
    write_timeout_s: float = 60.0
    """without the upstream taking one byte of what is waiting for it"""


DEFAULT_DEADLINES = Deadlines()


class AnswerSink(Protocol):
    """Whoever takes one answer: `on_head`, any number of `on_body`, then `on_end`; or `on_broken` at any point.

    Interim answers (1xx but 101) come before the head, sixteen at most. An `on_end` before `finish` means that the rest
    of the request is not wanted. Of an accepted upgrade, `on_head` says 101 and `on_body` carries what the upstream
    sends from then on.
    Concurrency: called from the event loop; only `pause_sending` also from within `begin` and `send`. Each may call
    `abort`, `pause_reading`, `resume_reading` and `send`.
    """

    def on_interim(self, head: AnswerHead) -> None: ...
    def on_head(self, head: AnswerHead, piece: bytes) -> None:
        """Take the head, and what of the body came with it, so that a small answer is one write."""

    def on_body(self, piece: bytes) -> None: ...
    def on_end(self) -> None: ...
    def on_broken(self, failure: UpstreamFailure) -> None: ...
    def pause_sending(self) -> None:
        """Stop sending: the upstream reads slower than the request arrives."""

    def resume_sending(self) -> None: ...
