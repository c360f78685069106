"""A model of a real provider library, against a server on loopback that answers badly, or not at all."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager

import pytest
from pydantic_ai.models import override_allow_model_requests

from app.agents.contract import AgentFailed, AgentTimedOut, ModelUnavailable, TurnTooLong
from app.agents.llm.models import Models
from app.agents.runner import AgentRunner
from app.agents.turns import Unwritten
from app.kernel.errors import Fault
from tests.model_server import Failure, Hold, ModelServer, running_model_server
from tests.unit.agents.desk import a_desk, a_turn, an_agent, an_exchange, no_local_model

OVERFLOW = b'{"error": {"code": 400, "message": "too long", "type": "exceed_context_size_error"}}'


@pytest.fixture(autouse=True)
def _requests_on_loopback() -> Iterator[None]:
    with override_allow_model_requests(allow_model_requests=True):
        yield


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    with running_model_server() as running:
        monkeypatch.setenv("OPENAI_BASE_URL", running.url)
        monkeypatch.delenv("OPENAI_API_KEY", raising=False)
        yield running


def a_served_desk() -> AbstractAsyncContextManager[AgentRunner]:
    return a_desk(an_agent(), models=Models("openai-chat:m", no_local_model()))


async def test_the_model_is_sent_the_instructions_the_history_and_the_question(server: ModelServer) -> None:
    async with a_served_desk() as desk:
        answer = (
            await desk.answer(
                "helper", a_turn("Now?", history=an_exchange("Before", "Yes.")), journal=Unwritten(), timeout_s=30
            )
        ).text

    assert answer == "You said: Now?"
    assert [(message["role"], message["content"]) for message in server.requests[0].body["messages"]] == [
        ("system", "Help."),
        ("user", "Before"),
        ("assistant", "Yes."),
        ("user", "Now?"),
    ]


@pytest.mark.parametrize(
    ("status", "body", "fact"),
    [
        (401, b'{"error": {"message": "bad key sk-1"}}', ModelUnavailable),
        (404, b'{"error": {"message": "no model m"}}', ModelUnavailable),
        (429, b'{"error": {"message": "slow down"}}', ModelUnavailable),
        (500, b"<html>oops</html>", ModelUnavailable),
        (503, b"", ModelUnavailable),
        (400, b'{"error": {"message": "no such field"}}', AgentFailed),
        (400, OVERFLOW, TurnTooLong),
        (200, b"<html>a captive portal</html>", AgentFailed),
        (200, b'{"choices": []}', AgentFailed),
    ],
    ids=["key", "model", "busy", "broken", "gone", "refused", "overflow", "no json", "no choice"],
)
async def test_a_bad_answer_is_one_of_the_known_failures(
    server: ModelServer, status: int, body: bytes, fact: type[Fault]
) -> None:
    server.script(Failure(status, body))

    async with a_served_desk() as desk:
        with pytest.raises(fact) as caught:
            await desk.answer("helper", a_turn(), journal=Unwritten(), timeout_s=30)

    assert type(caught.value) is fact
    assert "sk-1" not in caught.value.detail


async def test_the_wait_a_provider_asks_for_is_passed_on(server: ModelServer) -> None:
    server.script(Failure(429, headers={"x-should-retry": "false", "retry-after": "17"}))

    async with a_served_desk() as desk:
        with pytest.raises(ModelUnavailable) as caught:
            await desk.answer("helper", a_turn(), journal=Unwritten(), timeout_s=30)

    assert caught.value.headers == {"Retry-After": "17"}


@pytest.mark.usefixtures("server")
async def test_a_refused_connection_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody else can take the port meanwhile
        monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{taken.getsockname()[1]}/v1")
        async with a_served_desk() as desk:
            with pytest.raises(ModelUnavailable, match="cannot be reached"):
                await desk.answer("helper", a_turn(), journal=Unwritten(), timeout_s=30)


async def test_a_deadline_closes_the_connection_to_the_provider(server: ModelServer) -> None:
    server.script([Hold()])

    async with a_served_desk() as desk:
        await desk.prepare()
        with pytest.raises(AgentTimedOut):
            await desk.answer("helper", a_turn(), journal=Unwritten(), timeout_s=0.5)

        assert await asyncio.to_thread(server.awaits, lambda: bool(server.aborted))
