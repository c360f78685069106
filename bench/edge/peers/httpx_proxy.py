"""A Python proxy of general parts, uvicorn and httpx: what most Python gateways are made of."""

import sys
from collections.abc import Awaitable, Callable, Iterable

import httpx
import uvicorn
from litestar.types import HTTPScope, Receive, Send

from bench.edge.peers.peer import Peer, Ports
from bench.edge.site import Site

DROPPED = {b"connection", b"keep-alive", b"transfer-encoding", b"host"}
MAX_CONNECTIONS = 1024

type Fields = list[tuple[bytes, bytes]]


def command(binary: str, site: Site, ports: Ports) -> list[str]:
    return [binary, "-m", "bench.edge.peers.httpx_proxy", str(ports.plain), str(site.static_port)]


def forwarding(origin: str) -> Callable[[HTTPScope, Receive, Send], Awaitable[None]]:
    """Make an application that forwards requests without bodies and passes on the answers piece by piece."""
    limits = httpx.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_CONNECTIONS)
    client = httpx.AsyncClient(base_url=origin, limits=limits, trust_env=False)

    async def forward(scope: HTTPScope, receive: Receive, send: Send) -> None:
        del receive
        async with client.stream(scope["method"], scope["path"], headers=_passed(scope["headers"])) as answer:
            fields = _passed(answer.headers.raw)
            await send({"type": "http.response.start", "status": answer.status_code, "headers": fields})
            async for piece in answer.aiter_raw():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    return forward


def _passed(fields: Iterable[tuple[bytes, bytes]]) -> Fields:
    return [(name, value) for name, value in fields if name.lower() not in DROPPED]


PEER = Peer("httpx", "plain proxying by uvicorn and httpx", command, program=sys.executable)

if __name__ == "__main__":
    port, origin_port = sys.argv[1:]
    app = forwarding(f"http://127.0.0.1:{origin_port}")
    uvicorn.run(app, host="127.0.0.1", port=int(port), lifespan="off", log_level="error", access_log=False)
