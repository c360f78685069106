"""What is asked of the kernel for a tunnel's connections."""

import socket

import pytest

from app.edge.tcp import DEAD_PEER_S, watch_peer

linux = pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="the options are Linux's")


def test_a_dead_peer_is_found_within_the_promise() -> None:
    assert DEAD_PEER_S == 40


@linux
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_silent_peer_is_probed_and_an_unacknowledged_byte_is_not_waited_for(family: socket.AddressFamily) -> None:
    with socket.socket(family) as stream:
        watch_peer(stream)

        assert stream.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        idle_s = stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
        interval_s = stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL)
        probes = stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT)
        assert idle_s + interval_s * probes == DEAD_PEER_S
        assert stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == DEAD_PEER_S * 1000


def test_a_unix_socket_needs_no_watch() -> None:
    first, second = socket.socketpair()
    with first, second:
        watch_peer(first)

        assert first.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0


def test_a_connection_that_is_gone_needs_none_either() -> None:
    watch_peer(None)
