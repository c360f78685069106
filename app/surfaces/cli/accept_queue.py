"""How a listening socket is closed without a reset for whoever waits in its queue.

Facts:
- The kernel completes handshakes by itself and queues the connections; when the last descriptor of the socket is
  closed, it resets those that wait and those whose handshake is under way. There is no call that only stops the queue.
- A socket filter on a listening TCP socket sees each segment from its TCP header on (net/ipv4/tcp_ipv4.c,
  `tcp_filter` in `tcp_v4_rcv`), for handshakes under way as well. It belongs to the socket, not to the descriptor: it
  holds for every process that shares it.
- A client whose SYN is dropped asks again after one second, and meets whoever listens then, or is refused.
"""

import ctypes
import select
import socket
import struct
import sys
from collections.abc import Sequence
from contextlib import suppress

_SO_ATTACH_FILTER = 26  # asm-generic/socket.h; the module `socket` does not name it
# Load byte 13 of the TCP header (its flags); if SYN is set take nothing of the segment, else all of it.
_DROP_SYN = ((0x30, 0, 0, 13), (0x45, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))


def refuse_newcomers(listening: socket.socket) -> bool:
    """Let nobody new into the queue; those who are in it, or nearly, may still be accepted.

    False where that cannot be had: elsewhere than on Linux, or where the kernel forbids it. There the moment between
    the last look and the close stays a moment.
    """
    if sys.platform != "linux" or listening.family not in {socket.AF_INET, socket.AF_INET6}:
        return False
    program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in _DROP_SYN))
    with suppress(OSError):  # a sandbox may forbid it
        filter_ = struct.pack("@HP", len(_DROP_SYN), ctypes.addressof(program))
        listening.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, filter_)
        return True
    return False


def has_waiting(listening: Sequence[socket.socket]) -> bool:
    """Tell whether somebody waits to be accepted."""
    look = select.poll()
    for one in listening:
        look.register(one, select.POLLIN)
    return bool(look.poll(0))
