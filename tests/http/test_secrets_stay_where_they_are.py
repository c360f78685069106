"""Secrets that are planted where secrets are, or where somebody careless puts them, and then looked for everywhere."""

import asyncio
import io
import logging
from collections.abc import Iterator
from contextlib import redirect_stderr
from pathlib import Path
from types import MappingProxyType

import asyncpg
import httpx
import pytest
from dishka import Provider, Scope
from pydantic_ai.models import override_allow_model_requests

from app.agents.contract import Agent, Risk, ToolContext, tool
from app.agents.factory import AgentFactory
from app.infra.observability.logs import configure_logs
from tests.builders import some_settings
from tests.gateway import running_gateway
from tests.http.calls import as_, history, open_chat, say, somebody
from tests.model_server import Call, Drop, Failure, ModelServer, Reply, Trouble, running_model_server

KEY = "sk-planted-key-1f9c"
"""what the provider's SDK sends"""
WORDS = "sk-planted-words-2e8d"
"""what a provider repeats in its errors"""
HEADER = "planted-header-3d7b"
"""what a tool sends to somebody else"""
PLANTED = (KEY, WORDS, HEADER)


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with override_allow_model_requests(allow_model_requests=True), running_model_server() as server:
        yield server


@pytest.fixture
def _quiet_again() -> Iterator[None]:
    """Loggers are the process's: the tests to come have theirs as they were."""
    yield
    configure_logs(level=logging.ERROR, as_json=False)


def an_agent(elsewhere: str) -> Agent:
    @tool(risk=Risk.READS)
    @tool(risk=Risk.READS)
    async def look_up(ctx: ToolContext) -> str:
        """Look an order up at another company's."""
        async with httpx.AsyncClient() as client:
            answer = await client.post(elsewhere, headers={"authorization": HEADER}, json={"model": "m"})
            answer.raise_for_status()
        return "never"

    return Agent(name="shop", description="Sells", instructions="Be brief.", tools=[look_up])


async def everything_kept(dsn: str) -> str:
    """Read every row of every table as text."""
    connection = await asyncpg.connect(dsn.replace("+asyncpg", ""), server_settings={"search_path": "portico"})
    try:
        tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
        rows = [
            row[0]
            for (table,) in tables
            for row in await connection.fetch(f'SELECT left(t::text, 100000) FROM "{table}" t')
        ]
    finally:
        await connection.close()
    assert rows
    return "\n".join(rows)


def refusal(message: str) -> dict[str, object]:
    return {"error": {"message": message, "type": message, "code": message, "param": message}}


@pytest.mark.usefixtures("_quiet_again")
def test_no_secret_is_in_rows_events_logs_health_or_answers(
    server: ModelServer,
    migrated_dsn: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", server.url)
    agents, owner = AgentFactory(MappingProxyType({"shop": an_agent(server.url)})), somebody()
    provider = Provider(scope=Scope.APP)
    provider.provide(lambda: agents, provides=AgentFactory)
    broken: Reply = ["Hel", Trouble(f"broken: {WORDS}", WORDS)]
    lost: Reply = ["Hel", Drop()]
    server.script(
        *(Failure(status, refusal(f"{status}: {WORDS} and {KEY}")) for status in (400, 401, 404, 429, 500)),
        *[broken] * 3,
        *[lost] * 3,
        [Call("look_up")],
        Failure(401, refusal(WORDS)),  # the tool's own request
        ["It did not work."],
    )
    settings = some_settings(tmp_path, dsn=migrated_dsn, default_model="openai-chat:m, openai-chat:m2", log_level=10)
    logs = io.StringIO()
    with (
        redirect_stderr(logs),
        running_gateway(settings, provider) as url,
        httpx.Client(base_url=url, timeout=30) as client,
    ):
        shown = []
        while server.is_scripted:
            chat_id = open_chat(client, owner)["id"]
            shown.append(say(client, owner, chat_id, "Where is it?").text)
            run_id = history(client, owner, chat_id)[0]["run_id"]
            shown.append(client.get(f"/api/v1/runs/{run_id}", headers=as_(owner)).text)
            shown.append(client.get(f"/api/v1/runs/{run_id}/events", headers=as_(owner)).text)
        told = ("/api/health/service_health", "/metrics", "/api/v1/usage")
        shown += [client.get(path, headers=as_("root", "admin")).text for path in told]
        kept = asyncio.run(everything_kept(migrated_dsn))

    assert KEY in {request.headers["authorization"].removeprefix("Bearer ") for request in server.requests}
    assert HEADER in {request.headers["authorization"] for request in server.requests}
    assert "tool_call_complete" in "".join(shown)
    assert "model.unavailable" in logs.getvalue()
    for where, text in {"rows": kept, "answers": "".join(shown), "logs": logs.getvalue()}.items():
        assert [secret for secret in PLANTED if secret in text] == [], where
