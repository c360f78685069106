"""A shop of yours, in Litestar, with an assistant inside. `uvicorn shop:app`.

The shop knows its customers by a cookie, and says so to the assistant. Neither sees the other's routes, dependencies or
exception handlers.
"""

from pathlib import Path
from typing import Any

from litestar import Litestar, Request, Response, get, post
from litestar.connection import ASGIConnection
from litestar.datastructures import Cookie

from app.agents.contract import Risk, ToolContext, tool
from app.embedding import Agent, Caller, PorticoPlugin, embedded_settings

ORDERS = {"ann": ["a kettle", "two cups"], "bob": ["a lamp"]}
SESSIONS = {"secret-of-ann": "ann", "secret-of-bob": "bob"}


async def customer(scope: Any) -> Caller | None:  # Any: an ASGI scope
    """Say who is shopping; the assistant takes the shop's word for it."""
    name = SESSIONS.get(ASGIConnection(scope).cookies.get("session", ""))
    return Caller(name) if name else None


@tool(risk=Risk.READS)
async def my_orders(ctx: ToolContext) -> list[str]:
    """List what the customer has ordered."""
    return ORDERS.get(ctx.turn.caller.user_id, [])


clerk = Agent(
    name="clerk",
    description="Knows your orders",
    instructions="You serve the customers of a small shop. Look their orders up before you speak of them.",
    tools=[my_orders],
)


@post("/login/{name:str}")
async def login(name: str) -> Response[None]:
    """Let anybody in, as nobody should."""
    return Response(None, status_code=204, cookies=[Cookie("session", value=f"secret-of-{name}", httponly=True)])


@get("/orders")
async def orders(request: Request[Any, Any, Any]) -> list[str]:
    return ORDERS.get(SESSIONS.get(request.cookies.get("session", ""), ""), [])


app = Litestar(
    route_handlers=[login, orders],
    plugins=[PorticoPlugin(embedded_settings(Path("state")), agents=[clerk], authenticate=customer)],
)
