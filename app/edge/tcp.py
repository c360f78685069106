"""What is asked of the kernel for a connection that may be silent for hours."""

import socket

_IDLE_S = 20
_INTERVAL_S = 5
_PROBES = 4
DEAD_PEER_S = _IDLE_S + _INTERVAL_S * _PROBES


def watch_peer(stream: socket.socket | None) -> None:
    """Have the kernel end a connection whose peer is gone without a word, within `DEAD_PEER_S`.

    Source: tcp(7), TCP_USER_TIMEOUT, without which unacknowledged bytes keep a dead connection up for a quarter of an
    hour. A Unix socket's peer cannot go without a word.
    """
    if stream is None or stream.family not in {socket.AF_INET, socket.AF_INET6}:
        return
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    wanted = {
        "TCP_KEEPIDLE": _IDLE_S,
        "TCP_KEEPALIVE": _IDLE_S,  # macOS
        "TCP_KEEPINTVL": _INTERVAL_S,
        "TCP_KEEPCNT": _PROBES,
        "TCP_USER_TIMEOUT": DEAD_PEER_S * 1000,
    }
    for name, value in wanted.items():
        if hasattr(socket, name):
            stream.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
