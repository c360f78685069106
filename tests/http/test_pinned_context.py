"""What is pinned to a chat, over HTTP: kept, bounded, and shown to the agent of every turn."""

from collections.abc import Iterator
from types import MappingProxyType

import httpx
import pytest
from dishka import Provider, Scope
from pydantic_ai.models import override_allow_model_requests
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from app.agents.contract import Agent, Turn
from app.agents.factory import AgentFactory
from app.agents.llm.models import Models
from app.agents.llm.told import PINNED
from tests.builders import some_settings
from tests.gateway import running_gateway
from tests.http.calls import as_, fields_of, open_chat, say, somebody
from tests.model_server import ModelServer, running_model_server
from tests.unit.agents.desk import no_local_model

LIMIT_BYTES = 32 * 1024


class Reader:
    """An agent of code that says what is pinned."""

    name = "reader"

    async def generate(self, turn: Turn) -> str:
        return f"pinned: {turn.pinned!r}"


@pytest.fixture(scope="module")
def server() -> Iterator[ModelServer]:
    with override_allow_model_requests(allow_model_requests=True), running_model_server() as server:
        yield server


@pytest.fixture(scope="module")
def client(server: ModelServer, migrated_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A gateway with an agent of a model, which is asked over HTTP, and one of code."""

    def make(name: str) -> OpenAIChatModel:
        return OpenAIChatModel(name, provider=OpenAIProvider(base_url=server.url, api_key="none"))

    model = Agent(name="model", description="Answers", instructions="Be brief.")
    provider = Provider(scope=Scope.APP)
    provider.provide(
        lambda: AgentFactory(MappingProxyType({"model": model, "reader": Reader()})), provides=AgentFactory
    )
    provider.provide(lambda: Models("answers", no_local_model(), make=make), provides=Models)
    settings = some_settings(tmp_path_factory.mktemp("gateway"), dsn=migrated_dsn)
    with running_gateway(settings, provider) as url, httpx.Client(base_url=url, timeout=30) as client:
        yield client


def test_it_is_kept_changed_and_removed_and_no_list_carries_it(client: httpx.Client) -> None:
    owner = somebody()
    chat = open_chat(client, owner, title="Play", context="Act I\n")
    path = f"/api/v1/chats/{chat['id']}"

    read = [client.get(path, headers=as_(owner)).json()["context"]]
    for change in ({"title": "Other"}, {"context": "Act II"}, {"context": None}):
        changed = client.put(path, json=change, headers=as_(owner)).json()
        read.append(changed["context"])
        assert client.get(path, headers=as_(owner)).json() == changed
    (listed,) = client.get("/api/v1/chats/", headers=as_(owner)).json()["items"]

    assert chat["context"] == "Act I\n"
    assert read == ["Act I\n", "Act I\n", "Act II", None]
    assert open_chat(client, owner)["context"] is None
    assert "context" not in listed


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize(
    ("context", "status"),
    [
        ("x" * LIMIT_BYTES, 200),
        ("é" * (LIMIT_BYTES // 2), 200),
        ("x" * (LIMIT_BYTES + 1), 400),
        ("é" * (LIMIT_BYTES // 2) + "x", 400),
        ("a\0b", 400),
        (5, 400),
    ],
    ids=["as long as may be", "in bytes", "too long", "too long in bytes", "not storable", "no text"],
)
def test_it_is_bounded(client: httpx.Client, method: str, context: object, status: int) -> None:
    owner = somebody()
    path = f"/api/v1/chats/{open_chat(client, owner)['id']}" if method == "PUT" else "/api/v1/chats/"

    answer = client.request(method, path, json={"context": context}, headers=as_(owner))

    assert answer.status_code in ({200, 201} if status == 200 else {400})
    assert answer.json().get("context") == context if status == 200 else fields_of(answer) == ["context"]


def test_the_model_of_every_turn_is_shown_it_with_its_instructions(server: ModelServer, client: httpx.Client) -> None:
    server.begin_afresh()
    owner = somebody()
    chat = open_chat(client, owner, agent="model", context="Act I")

    say(client, owner, chat["id"], "one")
    say(client, owner, chat["id"], "two")
    client.put(f"/api/v1/chats/{chat['id']}", json={"context": None}, headers=as_(owner))
    say(client, owner, chat["id"], "three")

    first, second, third = [request.messages for request in server.requests]
    standing = [("system", "Be brief."), ("system", f"{PINNED}\n\n<pinned>\nAct I\n</pinned>")]
    assert first == [*standing, ("user", "one")]
    assert second == [*standing, ("user", "one"), ("assistant", "You said: one"), ("user", "two")]
    assert third[:2] == [standing[0], ("user", "one")]
    assert "Act I" not in str(third)


def test_an_agent_of_code_has_it_on_the_turn(client: httpx.Client) -> None:
    owner = somebody()
    chat = open_chat(client, owner, agent="reader", context="Act I")

    said = say(client, owner, chat["id"], "hello").json()

    assert said[1]["content"] == "pinned: 'Act I'"
