"""Clients that behave badly, many at once, in this process: idle, slow to read, slow to be read, gone."""

import asyncio
import resource
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

CONNECTING_AT_ONCE = 200


def allow_files(count: int) -> bool:
    """Raise this process's limit of open files to at least so many, if that may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= count:
        return True
    if hard < count:
        return False
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
    return True


async def connect(port: int, *, receive_bytes: int | None = None) -> socket.socket:
    client = socket.socket()
    client.setblocking(False)
    if receive_bytes is not None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", port))
    return client


@asynccontextmanager
async def connected(port: int, count: int, *, receive_bytes: int | None = None) -> AsyncIterator[list[socket.socket]]:
    """Open so many connections, not all in the same moment, and close them at the end."""
    places = asyncio.Semaphore(CONNECTING_AT_ONCE)

    async def one() -> socket.socket:
        async with places:
            return await connect(port, receive_bytes=receive_bytes)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one()) for _ in range(count)]
    clients = [task.result() for task in tasks]
    try:
        yield clients
    finally:
        for client in clients:
            client.close()


def reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
