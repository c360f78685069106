"""Titles that chats get by themselves, over HTTP and with a real model client."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from dishka import Provider, Scope
from pydantic_ai.models import override_allow_model_requests
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from app.agents.llm.models import Models
from tests.builders import some_settings
from tests.gateway import running_gateway
from tests.http.calls import Json, as_, open_chat, say, somebody
from tests.model_server import Failure, ModelServer, running_model_server
from tests.unit.agents.desk import no_local_model

QUESTION = "How do I  plan a trip?\nWith children."


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with override_allow_model_requests(allow_model_requests=True), running_model_server() as server:
        yield server


@contextmanager
def a_gateway(server: ModelServer, dsn: str, folder: Path, *, title_model: str = "scripted") -> Iterator[httpx.Client]:
    """One whose models are asked over HTTP; no other works on the same database meanwhile."""

    def make(name: str) -> OpenAIChatModel:
        return OpenAIChatModel(name, provider=OpenAIProvider(base_url=server.url, api_key="none"))

    provider = Provider(scope=Scope.APP)
    provider.provide(lambda: Models("answers", no_local_model(), make=make), provides=Models)
    settings = some_settings(folder, dsn=dsn, title_model=title_model)
    with running_gateway(settings, provider) as url, httpx.Client(base_url=url, timeout=30) as client:
        yield client


def read(client: httpx.Client, owner: str, chat_id: int) -> Json:
    found: Json = client.get(f"/api/v1/chats/{chat_id}", headers=as_(owner)).json()
    return found


def titled(client: httpx.Client, owner: str, chat_id: int) -> str | None:
    """Read the title until there is one."""
    end = time.monotonic() + 20
    title: str | None = None
    while title is None and time.monotonic() < end:
        time.sleep(0.05)
        title = read(client, owner, chat_id)["title"]
    return title


def test_a_chat_has_its_first_words_for_a_title_when_the_answer_is_there(
    server: ModelServer, migrated_dsn: str, tmp_path: Path
) -> None:
    owner = somebody()
    with a_gateway(server, migrated_dsn, tmp_path, title_model="") as client:
        chat = open_chat(client, owner, agent="echo")
        say(client, owner, chat["id"], QUESTION)
        first = read(client, owner, chat["id"])["title"]
        client.put(f"/api/v1/chats/{chat['id']}", json={"title": None}, headers=as_(owner))
        emptied = read(client, owner, chat["id"])["title"]
        say(client, owner, chat["id"], "And then?")
        anew = read(client, owner, chat["id"])["title"]

    assert (first, emptied, anew) == ("How do I plan a trip?", None, "And then?")
    assert server.requests == []


def test_a_model_makes_the_title_and_its_owner_pays(server: ModelServer, migrated_dsn: str, tmp_path: Path) -> None:
    server.script(["By train."], ['"A Trip', ' with Children."'])
    owner = somebody()
    with a_gateway(server, migrated_dsn, tmp_path) as client:
        chat = open_chat(client, owner)
        assert say(client, owner, chat["id"], QUESTION).status_code == 201
        title = titled(client, owner, chat["id"])
        agents = [one["id"] for one in client.get("/v1/models", headers=as_(owner)).json()["data"]]
        refused = client.post("/api/v1/chats/", json={"agent": "portico:titler"}, headers=as_(owner))
        spent = client.get("/api/v1/usage?by=", headers=as_(owner)).json()["items"]

    assert title == "A Trip with Children"
    asked = server.requests[1]
    assert asked.body["model"] == "scripted"
    assert "tools" not in asked.body
    assert "By train." in asked.last_user_text
    assert "assistant" in agents
    assert "portico:titler" not in agents
    assert refused.status_code == 400
    assert [one["requests"] for one in spent] == [2]


def test_a_model_that_fails_leaves_the_first_words(server: ModelServer, migrated_dsn: str, tmp_path: Path) -> None:
    server.script(["By train."], Failure(400))
    owner = somebody()
    with a_gateway(server, migrated_dsn, tmp_path) as client:
        chat = open_chat(client, owner)
        answer = say(client, owner, chat["id"], QUESTION)
        title = titled(client, owner, chat["id"])

    assert answer.status_code == 201
    assert title == "How do I plan a trip?"
