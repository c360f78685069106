"""A shop of yours, in FastAPI, with an assistant inside. `uvicorn shop:app`; Starlette is mounted in the same way.

FastAPI does not run the lifespan of what it mounts: it is handed over, here around the shop's own.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.requests import HTTPConnection
from fastapi.responses import Response

from app.agents.contract import Risk, ToolContext, tool
from app.embedding import Caller, create_agent

ORDERS: dict[str, list[str]] = {}
SESSIONS = {"secret-of-ann": "ann", "secret-of-bob": "bob"}


async def customer(scope: Any) -> Caller | None:  # Any: an ASGI scope
    """Say who is shopping; the assistant takes the shop's word for it."""
    name = SESSIONS.get(HTTPConnection(scope).cookies.get("session", ""))
    return Caller(name) if name else None


@tool(risk=Risk.READS)
async def my_orders(ctx: ToolContext) -> list[str]:
    """List what the customer has ordered."""
    return ORDERS.get(ctx.turn.caller.user_id, [])


assistant = create_agent(
    "You serve the customers of a small shop. Look their orders up before you speak of them.",
    name="clerk",
    tools=[my_orders],
    state_dir=Path("state"),
    authenticate=customer,
)


@asynccontextmanager
async def open_shop(_: FastAPI) -> AsyncIterator[None]:
    ORDERS.update(ann=["a kettle", "two cups"], bob=["a lamp"])
    yield
    ORDERS.clear()


app = FastAPI(lifespan=assistant.around(open_shop))
app.mount("/assistant", assistant)


@app.post("/login/{name}", status_code=204)
async def login(name: str) -> Response:
    """Let anybody in, as nobody should."""
    answer = Response(status_code=204)
    answer.set_cookie("session", f"secret-of-{name}", httponly=True)
    return answer


@app.get("/orders")
async def orders(request: Request) -> list[str]:
    return ORDERS.get(SESSIONS.get(request.cookies.get("session", ""), ""), [])
