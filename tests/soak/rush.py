"""A crowd of connections as a process of its own, which can be killed: `python -m tests.soak.rush PORT COUNT [ASK]`.

Opens all of them as fast as it can, and says `held` when the last one is there; asks once on each before, if there is
something to ask. A line on its standard input, and it closes them all and says `left`.
"""

import select
import socket
import sys
from collections import deque

from tests.soak.clients import allow_files

CONNECT_TIMEOUT_S = 60
ASKED_AT_ONCE = 32
SPARE_FILES = 64


def main(port: int, count: int, ask: bytes) -> None:
    if not allow_files(count + SPARE_FILES):
        raise SystemExit("may not open as many files")
    clients = _asking(port, count, ask) if ask else _silent(port, count)
    _say("held")
    sys.stdin.readline()
    for client in clients:
        client.close()
    _say("left")


def _silent(port: int, count: int) -> list[socket.socket]:
    clients = []
    opening = select.epoll()
    for _ in range(count):
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex(("127.0.0.1", port))
        opening.register(client, select.EPOLLOUT | select.EPOLLONESHOT)
        clients.append(client)
    while count:
        opened = opening.poll(CONNECT_TIMEOUT_S)
        if not opened:
            raise SystemExit(f"{count} connections were not accepted")
        count -= len(opened)
    return clients


def _asking(port: int, count: int, ask: bytes) -> list[socket.socket]:
    clients: list[socket.socket] = []
    asked: deque[socket.socket] = deque()
    for _ in range(count):
        client = socket.create_connection(("127.0.0.1", port))
        client.sendall(ask)
        clients.append(client)
        asked.append(client)
        if len(asked) >= ASKED_AT_ONCE:
            _check(asked.popleft())
    for client in asked:
        _check(client)
    return clients


def _check(client: socket.socket) -> None:
    answer = client.recv(65536)
    if not answer.startswith(b"HTTP/1.1 200"):
        raise SystemExit(f"was answered {answer[:100]!r}")


def _say(word: str) -> None:
    print(word, flush=True)  # noqa: T201 - the protocol of this process


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), "".join(sys.argv[3:]).encode("latin-1"))
