"""The examples in which Portico is a part of another program, as their READMEs say to start them: real processes."""

import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect
from websockets.typing import Origin, Subprotocol

from tests.e2e.program import ROOT, Program, a_home, free_port, running
from tests.model_server import Call, ModelServer, running_model_server, words

EXAMPLES = ROOT / "examples"
UVICORN = (sys.executable, "-m", "uvicorn")
PATIENCE_S = 30

type Json = dict[str, Any]  # Any: an endpoint's JSON


@pytest.fixture(scope="module")
def model() -> Iterator[ModelServer]:
    with running_model_server() as server:
        yield server


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """One folder for all of them, one after the other: to make a database takes longer than all they do with it."""
    with a_home() as home:
        yield home


@contextmanager
def started(
    home: Path, model: ModelServer, *command: str, ready: str, port: int | None = None
) -> Iterator[httpx.Client]:
    port = port or free_port()
    env = {
        "DEFAULT_MODEL": "openai-chat:a-model",
        "OPENAI_API_KEY": "x",
        "OPENAI_BASE_URL": model.url,
        "PORT": str(port),
    }
    program: Program
    with running(home, *command, url=f"http://127.0.0.1:{port}", **env) as program:
        with httpx.Client(base_url=program.url, timeout=PATIENCE_S) as client:
            program.awaits(lambda: answers(client, ready))
            yield client
        assert program.stop() in {0, -15}, program.complained()


def answers(client: httpx.Client, path: str) -> bool:
    try:
        return client.get(path).status_code == 200
    except httpx.TransportError:
        return False


def served(home: Path, model: ModelServer, folder: str, app: str, *, ready: str) -> Any:  # Any: a context manager
    port = free_port()
    command = (*UVICORN, "--app-dir", str(EXAMPLES / folder), app, "--port", str(port))
    return started(home, model, *command, ready=ready, port=port)


def made(answer: httpx.Response, status: int = 201) -> Any:  # Any: as they say
    assert answer.status_code == status, answer.text
    return answer.json()


@pytest.mark.soak
def test_an_agent_of_nothing_but_its_instructions(home: Path, model: ModelServer) -> None:
    with served(home, model, "one-agent", "concise:app", ready="/api/health/ready") as client:
        chat_id = made(client.post("/api/v1/chats/", json={"title": "Hello"}))["id"]

        _, answer = made(client.post(f"/api/v1/messages/{chat_id}/exchange", json={"content": "Who are you?"}))

        elsewhere = client.get("/api/v1/chats/", headers={"host": "agent.example"})

    assert answer["content"] == "You said: Who are you?"
    assert (elsewhere.status_code, elsewhere.json()["type"]) == (403, "caller-not-local")
    assert ("system", "You are a concise assistant.") in model.requests[-1].messages


@pytest.mark.soak
def test_an_agent_with_a_tool_of_its_own_and_a_servers(home: Path, model: ModelServer) -> None:
    model.script([Call("roll", {"sides": 1})], [Call("rules_rule_of", {"game": "craps"})], words("One wins nothing."))
    with served(home, model, "one-agent", "dice:app", ready="/api/health/ready") as client:
        chat_id = made(client.post("/api/v1/chats/", json={}))["id"]

        _, answer = made(client.post(f"/api/v1/messages/{chat_id}/exchange", json={"content": "Roll, and explain."}))

    assert answer["content"].endswith("One wins nothing.")
    results = [text for role, text in model.requests[-1].messages if role == "tool"]
    assert results[0] == "1"
    assert "Seven or eleven" in results[1]


def test_a_calculator_its_agent_and_a_page(home: Path, model: ModelServer) -> None:
    model.begin_afresh()
    program = str(EXAMPLES / "calculator" / "calculator.py")
    with started(home, model, sys.executable, program, ready="/assistant/api/health/ready") as client:
        page = client.get("/")
        assert made(client.post("/calculator/multiply", json={"a": 12, "b": 7}), 200) == {"result": 84}
        chat_id = made(client.post("/assistant/api/v1/chats/", json={"title": "Sums"}))["id"]
        path = f"/assistant/api/v1/messages/{chat_id}/exchange"

        model.script([Call("multiply", {"a": 12, "b": 7})], words("It is 84."))
        _, waited_for = made(client.post(path, json={"content": "What is 12 times 7?", "run_mode": "sync"}))

        slowly = {"numbers": [1, 2, 3], "seconds_each": 0.05}
        model.script([Call("add_up", slowly)], [Call("divide", {"a": 6, "b": 0})], words("No result."))
        told = {"content": "Add up, and divide by 0.", "run_mode": "background"}
        begun = client.post(path, json=told)
        run_id = made(begun, 202)["run"]["id"]
        events = events_of(client, chat_id, run_id)

        described = client.get("/openapi.json").json()["paths"]
        assistants = client.get("/assistant/openapi.json").json()

    assert waited_for["content"] == "It is 84."
    assert begun.headers["location"] == f"/assistant/api/v1/runs/{run_id}"
    results = [event["data"]["result"] for event in events if event["type"] == "tool_call_complete"]
    assert "6" in str(results[0])
    assert "There is no result: b is 0." in str(results[1])
    assert "".join(one["data"]["text"] for one in events if one["type"] == "text_delta") == "No result."
    assert events[-1]["type"] == "run_completed"
    assert set(described) == {f"/calculator/{name}" for name in ("add", "subtract", "multiply", "divide", "add-up")}
    assert assistants["servers"] == [{"url": "/assistant"}]
    assert page.headers["content-type"].startswith("text/html")
    assert_knows(assistants, page.text)


def events_of(client: httpx.Client, chat_id: int, run_id: str) -> list[Json]:
    """Follow a run as the page does: over the chat's WebSocket, as a browser that shows the page."""
    url = str(client.base_url).rstrip("/")
    address = f"{url.replace('http', 'ws')}/assistant/api/v1/chats/{chat_id}/events"
    events: list[Json] = []
    with connect(address, subprotocols=[Subprotocol("portico.events")], origin=Origin(url), proxy=None) as socket:
        while not events or events[-1]["type"] not in {"run_completed", "run_failed", "run_interrupted"}:
            frame = json.loads(socket.recv(timeout=PATIENCE_S))
            events += [frame] if frame.get("run_id") == run_id else []
    return events


def assert_knows(description: Json, page: str) -> None:
    """Hold the page to the API: whatever it calls is there."""
    called = {re.sub(r"\$\{\w+\}", "{}", path).partition("?")[0] for path in re.findall(r'call\([`"]([^`"]+)', page)}
    known = {re.sub(r"\{\w+\}", "{}", path).rstrip("/") for path in description["paths"]}
    assert called >= {"/chats/", "/messages/{}/exchange", "/chats/{}/messages"}
    assert {f"/api/v1{path}".rstrip("/") for path in called} <= known


@pytest.mark.soak
@pytest.mark.parametrize("host", ["inside-litestar", "inside-fastapi"])
def test_an_assistant_inside_another_app(home: Path, model: ModelServer, host: str) -> None:
    model.begin_afresh()
    model.script([Call("my_orders", {})], words("A kettle and two cups."))
    with served(home, model, host, "shop:app", ready="/assistant/api/health/ready") as client:
        nobody = client.get("/assistant/api/v1/chats/")
        client.post("/login/ann")
        orders = client.get("/orders")
        chat_id = made(client.post("/assistant/api/v1/chats/", json={}))["id"]
        asked = {"content": "What did I order?"}
        _, answer = made(client.post(f"/assistant/api/v1/messages/{chat_id}/exchange", json=asked))
        client.post("/login/bob")
        anothers = client.get(f"/assistant/api/v1/chats/{chat_id}")
        missing = client.get("/nothing")

    assert (nobody.status_code, nobody.json()["type"]) == (401, "token-missing")
    assert orders.json() == ["a kettle", "two cups"]
    assert answer["content"] == "A kettle and two cups."
    assert "two cups" in str(model.requests[-1].messages)
    assert (anothers.status_code, anothers.json()["type"]) == (404, "chat-not-found")
    assert (missing.status_code, missing.headers["content-type"]) == (404, "application/json")
