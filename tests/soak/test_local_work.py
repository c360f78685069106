"""Local work beside proxied requests: an agent's first turn, large bodies and long histories hold nobody up."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from app.infra.db.engine import Database
from tests.builders import a_token, bearer
from tests.e2e.program import Program
from tests.model_server import Pause, running_model_server
from tests.model_server.providers import PROVIDERS, Provider
from tests.soak.load import Running, a_request, load_on
from tests.soak.stand import HEALTH, LOCAL, Origin, a_gateway, port_of, route, say, stay_for, upstream

pytestmark = [pytest.mark.soak, pytest.mark.timeout(600)]
PER_S = 2000
P99_LIMIT_MS = 60
WINDOW_S = 2.0
TURN_SHARE = 1.2
TURN_FLOOR_MS = 2.0
"""below this a p99 is the machine's own: load, origin, model and database share its cores"""
BODY_BYTES = 2_000_000
HISTORY = 5000
ROWS = """
INSERT INTO portico.messages (chat_id, role, content, status)
SELECT :chat, CASE WHEN n % 2 = 1 THEN 'user' ELSE 'assistant' END, n || repeat(' and so on', 20), 'complete'
FROM generate_series(1, :count) AS n
"""


@asynccontextmanager
async def beside_load(
    home: Path,
    dsn: str,
    origin: Origin,
    **env: Any,  # texts of the environment, which mypy would take for other arguments
) -> AsyncIterator[tuple[Program, Running]]:
    rows = upstream("origin", origin) + route("/echo", "origin") + HEALTH + LOCAL
    with (
        a_gateway(home, rows, role="all", POSTGRES_DSN=dsn, **env) as gateway,
        load_on(port_of(gateway), a_request("/echo", token=a_token()), connections=64, per_s=PER_S) as load,
    ):
        stay_for(WINDOW_S)
        yield gateway, load


async def in_a_window(load: Running, name: str, act: Callable[[], Awaitable[object]]) -> None:
    """Act in a phase that lasts as long as the act, and two seconds at least."""
    load.begin(name)
    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.sleep(WINDOW_S))
        await act()
    load.begin("after")


def judge(load: Running, title: str) -> None:
    say(load.told(title))
    assert load.failed == {}
    slow = {
        name: phase.p99_ms for name, phase in load.phases.items() if phase.p99_ms > P99_LIMIT_MS and name != "after"
    }
    assert slow == {}


def api(gateway: Program) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=f"{gateway.url}/api/v1", headers=bearer(), timeout=60)


async def a_chat(client: httpx.AsyncClient, agent: str) -> int:
    made = await client.post("/chats/", json={"agent": agent})
    chat_id: int = made.json()["id"]
    return chat_id


@pytest.mark.parametrize("provider", [None, *PROVIDERS.values()], ids=["scripted", *PROVIDERS])
async def test_the_first_turns_of_a_model(
    home: Path, migrated_dsn: str, origin: Origin, provider: Provider | None
) -> None:
    model = provider.model if provider else "scripted"
    with running_model_server() as server:
        env = {"DEFAULT_MODEL": model, **(provider.environ(server) if provider else {})}
        async with beside_load(home, migrated_dsn, origin, **env) as (gateway, load), api(gateway) as client:
            chat_id = await a_chat(client, "assistant")

            async def say_hello() -> None:
                answer = await client.post(f"/messages/{chat_id}/exchange", json={"content": "Hello"})
                answer.raise_for_status()

            for turn in ("first", "second", "third"):
                await in_a_window(load, f"{turn} turn", say_hello)

    judge(load, f"the first turns of {model}")


async def test_a_turn_that_runs(home: Path, migrated_dsn: str, origin: Origin) -> None:
    """In windows that take turns, so that a machine that drifts slows both."""
    words = [part for n in range(100) for part in (f"word {n} ", Pause(0.02))]
    with running_model_server() as server:
        env = {"DEFAULT_MODEL": "openai-chat:a-model", "OPENAI_API_KEY": "x", "OPENAI_BASE_URL": server.url}
        async with beside_load(home, migrated_dsn, origin, **env) as (gateway, load), api(gateway) as client:
            chat_id = await a_chat(client, "assistant")

            async def take_a_turn() -> None:
                server.script(words)
                (await client.post(f"/messages/{chat_id}/exchange", json={"content": "Hello"})).raise_for_status()

            await in_a_window(load, "the first turn", take_a_turn)
            for _ in range(10):
                load.begin("idle")
                await asyncio.sleep(WINDOW_S)
                await in_a_window(load, "a turn", take_a_turn)

    say(load.told(f"{PER_S:,} requests a second, with and without a turn that streams"))
    assert load.failed == {}
    assert load.phases["a turn"].p99_ms <= max(load.phases["idle"].p99_ms * TURN_SHARE, TURN_FLOOR_MS)


async def test_large_bodies(home: Path, migrated_dsn: str, origin: Origin) -> None:
    bodies = {
        "a long text": json.dumps({"content": "x" * BODY_BYTES}),
        "many numbers": json.dumps({"agent": "echo", "metadata": {"numbers": list(range(BODY_BYTES // 8))}}),
        "many objects": json.dumps({"agent": "echo", "metadata": {"rows": [{"a": 1}] * (BODY_BYTES // 10)}}),
        "many unknown fields": json.dumps({f"field{n}": n for n in range(BODY_BYTES // 20)}),
    }
    async with beside_load(home, migrated_dsn, origin) as (gateway, load), api(gateway) as client:
        for name, body in bodies.items():
            path = "/messages/1/exchange" if name == "a long text" else "/chats/"

            async def post(path: str = path, body: str = body, name: str = name) -> None:
                answer = await client.post(path, content=body, headers={"content-type": "application/json"})
                say(f"{name}: {len(body):,} bytes, {answer.status_code}")

            for _ in range(3):
                await in_a_window(load, name, post)

    judge(load, "2 MB of JSON to a local endpoint, three times each")


async def test_a_long_history(home: Path, migrated_dsn: str, database: Database, origin: Origin) -> None:
    async with beside_load(home, migrated_dsn, origin) as (gateway, load), api(gateway) as client:
        chats = {agent: await a_chat(client, agent) for agent in ("echo", "assistant")}
        async with database.engine.begin() as connection:
            for chat_id in chats.values():
                await connection.execute(text(ROWS), {"chat": chat_id, "count": HISTORY})
        load.begin("before")
        stay_for(1)
        acts: dict[str, Callable[[], Awaitable[httpx.Response]]] = {
            f"a turn of {agent}": lambda chat=chat_id: client.post(  # type: ignore[misc]
                f"/messages/{chat}/exchange", json={"content": "Hello"}
            )
            for agent, chat_id in chats.items()
        }
        for words in ("messages?limit=100", "messages?limit=100&after=4000"):
            acts[words] = lambda words=words: client.get(f"/chats/{chats['echo']}/{words}")  # type: ignore[misc]
        for name, act in acts.items():

            async def once(act: Callable[[], Awaitable[httpx.Response]] = act, name: str = name) -> None:
                answer = await act()
                seconds = answer.elapsed.total_seconds()
                say(f"{name}: {answer.status_code}, {len(answer.content):,} bytes in {seconds:.2f} s")

            for _ in range(3):
                await in_a_window(load, name, once)

    judge(load, f"a chat of {HISTORY:,} messages, three times each")
