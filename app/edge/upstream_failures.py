"""How an exchange with an upstream can fail. What a failure becomes for the client is the caller's business."""

from enum import StrEnum


class Phase(StrEnum):
    """How far the exchange had come: tells 503 (no connection) from 502 and 504, and which deadline passed."""

    WAIT = "wait"
    """for a free connection of the pool"""
    CONNECT = "connect"
    """name lookup, TCP and TLS handshakes"""
    SEND = "send"
    """the request is not completely sent"""
    HEAD = "head"
    """the request is sent, the final answer head is not complete"""
    BODY = "body"
    """the answer head was delivered"""


class UpstreamFailure(Exception):
    """Say in attributes what a caller needs to decide on a retry.

    `sent`: bytes of the request may have reached the upstream. `answered`: at least one byte of an answer came back.
    The message is evidence for the log, not text for a client.
    """

    def __init__(self, message: str, *, phase: Phase, sent: bool = False, answered: bool = False) -> None:
        super().__init__(message)
        self.phase = phase
        self.sent = sent
        self.answered = answered


class PoolExhausted(UpstreamFailure):
    """No connection became free within the bounded wait, or the queue for one is full."""


class ConnectFailed(UpstreamFailure):
    """The upstream's name, address or TLS handshake failed; nothing was sent."""


class ConnectRefused(ConnectFailed):
    """Nobody listens at the upstream's address."""


class ConnectTimedOut(UpstreamFailure):
    """The connection was not ready in time; nothing was sent."""


class UpstreamBroken(UpstreamFailure):
    """The answer was malformed, over a limit, or cut; what was delivered of it is not a complete message."""


class UpstreamTimedOut(UpstreamFailure):
    """The upstream stopped reading the request, did not answer it, or fell silent within its answer."""
