"""A turn that reaches its budget, over HTTP and with a real model client: what its owner is told, and keeps."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx
import pytest
from dishka import Provider, Scope
from pydantic_ai.models import override_allow_model_requests
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from app.agents.contract import Agent, Risk, ToolContext, tool
from app.agents.factory import AgentFactory
from app.agents.llm.models import Models
from tests.builders import some_settings
from tests.gateway import running_gateway
from tests.http.calls import Json, as_, history, open_chat, say, somebody
from tests.model_server import Call, Hold, ModelServer, Reply, running_model_server
from tests.unit.agents.desk import no_local_model

A_DAY_S = 24 * 3600
LOOKING_UP: tuple[Reply, ...] = (["Let me look.", Call("look_up", {"order_id": 7})], ["It is there."])


@tool(risk=Risk.READS)
async def look_up(ctx: ToolContext, order_id: int) -> str:
    """Look an order up."""
    return "found"


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with override_allow_model_requests(allow_model_requests=True), running_model_server() as server:
        yield server


@contextmanager
def a_gateway(server: ModelServer, dsn: str, folder: Path, **budgets: Any) -> Iterator[httpx.Client]:
    """One with a single agent, whose model has a price and is asked over HTTP. Any: budgets, as settings take them."""

    def make(name: str) -> OpenAIChatModel:
        return OpenAIChatModel(name, provider=OpenAIProvider(base_url=server.url, api_key="none"))

    agent = Agent(name="shop", description="Sells", instructions="Be brief.", tools=[look_up])
    provider = Provider(scope=Scope.APP)
    provider.provide(lambda: AgentFactory(MappingProxyType({"shop": agent})), provides=AgentFactory)
    provider.provide(lambda: Models("gpt-4o", no_local_model(), make=make), provides=Models)
    with (
        running_gateway(some_settings(folder, dsn=dsn, **budgets), provider) as url,
        httpx.Client(base_url=url, timeout=30) as client,
    ):
        yield client


def run_of(client: httpx.Client, owner: str, message: Json) -> Json:
    answer = client.get(f"/api/v1/runs/{message['run_id']}", headers=as_(owner))
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    return found


def test_a_run_that_reaches_its_budget_ends_with_the_reason_and_keeps_what_was_said(
    server: ModelServer, migrated_dsn: str, tmp_path: Path
) -> None:
    server.script(*LOOKING_UP)
    owner = somebody()
    with a_gateway(server, migrated_dsn, tmp_path, budget_run="requests=1") as client:
        chat_id = open_chat(client, owner)["id"]
        refused = say(client, owner, chat_id, "Where is it?")
        said = history(client, owner, chat_id)
        run = run_of(client, owner, said[0])
        (spent,) = client.get("/api/v1/usage?by=", headers=as_(owner)).json()["items"]

    assert (refused.status_code, refused.json()["type"]) == (429, "budget-exhausted")
    assert refused.json()["detail"] == "The run's budget of 1 model request is used up."
    assert "retry-after" not in refused.headers
    assert [(one["role"], one["content"], one["status"]) for one in said] == [
        ("user", "Where is it?", "failed"),
        ("assistant", "Let me look.", "failed"),
    ]
    assert len(server.requests) == 1
    assert (run["status"], run["error"]["type"]) == ("failed", "budget-exhausted")
    assert (run["usage"]["requests"], run["usage"]["tool_calls"]) == (1, 1)
    assert float(run["usage"]["cost"]) == float(spent["cost"]) > 0
    assert (run["usage"]["input_tokens"], run["usage"]["output_tokens"]) == (
        spent["input_tokens"],
        spent["output_tokens"],
    )


def test_a_users_day_is_over_for_all_their_chats_and_nobody_elses(
    server: ModelServer, migrated_dsn: str, tmp_path: Path
) -> None:
    owner = somebody()
    with a_gateway(server, migrated_dsn, tmp_path, budget_user="requests=1") as client:
        answers = [say(client, owner, open_chat(client, owner)["id"], "hello") for _ in range(2)]
        stranger = somebody()
        other = say(client, stranger, open_chat(client, stranger)["id"], "hello")
        spent = client.get("/api/v1/usage?by=model", headers=as_(owner)).json()["items"]

    first, second = answers
    assert (first.status_code, second.status_code, other.status_code) == (201, 429, 201)
    assert second.json()["detail"].startswith("Your budget of 1 model request for a day is used up; there is more")
    assert 0 < int(second.headers["retry-after"]) <= A_DAY_S
    assert [(item["model"], item["requests"]) for item in spent] == [("gpt-4o", 1)]


def test_a_chats_budget_lets_its_last_call_pass_it_and_no_other(
    server: ModelServer, migrated_dsn: str, tmp_path: Path
) -> None:
    owner = somebody()
    with a_gateway(server, migrated_dsn, tmp_path, budget_chat="tokens=1") as client:
        first, second = (open_chat(client, owner)["id"] for _ in range(2))
        answers = [say(client, owner, chat_id, "hello") for chat_id in (first, first, second)]

    assert [answer.status_code for answer in answers] == [201, 429, 201]
    assert answers[1].json()["detail"] == "The chat's budget of 1 token is used up."


def test_a_run_that_takes_too_long_is_cut_off_and_keeps_what_was_said(
    server: ModelServer, migrated_dsn: str, tmp_path: Path
) -> None:
    server.script(["Let me ", "think", Hold()])
    owner = somebody()
    with a_gateway(server, migrated_dsn, tmp_path, budget_run="seconds=1") as client:
        chat_id = open_chat(client, owner)["id"]
        refused = say(client, owner, chat_id, "Where is it?")
        said = history(client, owner, chat_id)
        run = run_of(client, owner, said[0])
        was_left = server.awaits(lambda: len(server.aborted) == 1)

    assert (refused.status_code, refused.json()["type"]) == (429, "budget-exhausted")
    assert refused.json()["detail"] == "The run's budget of 1 second of work is used up."
    assert [(one["content"], one["status"]) for one in said] == [("Where is it?", "failed"), ("Let me think", "failed")]
    assert was_left
    assert (run["usage"]["requests"], run["error"]["type"]) == (1, "budget-exhausted")


def test_an_agent_may_have_a_budget_of_its_own(server: ModelServer, migrated_dsn: str, tmp_path: Path) -> None:
    server.script(*LOOKING_UP)
    owner = somebody()
    budgets: dict[str, Any] = {"budget_run": "requests=1,tool_calls=5", "budget_agents": {"shop": "requests=2"}}
    with a_gateway(server, migrated_dsn, tmp_path, **budgets) as client:
        answer = say(client, owner, open_chat(client, owner)["id"], "Where is it?")

    assert answer.status_code == 201
    assert answer.json()[1]["content"] == "Let me look.\n\nIt is there."
