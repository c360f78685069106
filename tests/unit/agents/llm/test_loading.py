"""A model of a real provider library, against a server on loopback that answers badly, or not at all."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

import pytest
from pydantic_ai.models import override_allow_model_requests

from app.agents.contract import AgentFailed, AgentTimedOut, ModelUnavailable, TurnTooLong
from app.agents.llm.models import Models
from app.agents.runner import AgentRunner
from app.agents.turns import Unwritten
from app.kernel.errors import Fault
from tests.unit.agents.desk import a_desk, a_turn, an_agent, an_exchange, no_local_model

COMPLETION = json.dumps(
    {
        "id": "c-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hello."}}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }
).encode()
OVERFLOW = b'{"error": {"code": 400, "message": "too long", "type": "exceed_context_size_error"}}'


@pytest.fixture(autouse=True)
def _requests_on_loopback() -> Iterator[None]:
    with override_allow_model_requests(allow_model_requests=True):
        yield


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator["Server"]:
    made = Server()
    listening = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    async with listening:
        yield made


@dataclass
class Server:
    """Answers every request the same way; `is_deaf` reads it and never does."""

    status: str = "200 OK"
    body: bytes = COMPLETION
    headers: str = ""
    is_deaf: bool = False
    asked: list[bytes] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
        self.asked.append(await reader.readexactly(int(length.split(b":")[1])))
        if self.is_deaf:
            await reader.read()
            self.left.set()
        else:
            writer.write(self._answer())
            await writer.drain()
        writer.close()

    def _answer(self) -> bytes:
        # the SDK is told not to try again, so that no test waits for it
        head = f"HTTP/1.1 {self.status}\r\nx-should-retry: false\r\ncontent-type: application/json\r\n{self.headers}"
        return f"{head}content-length: {len(self.body)}\r\nconnection: close\r\n\r\n".encode() + self.body


def a_served_desk() -> AbstractAsyncContextManager[AgentRunner]:
    return a_desk(an_agent(), models=Models("openai-chat:m", no_local_model()))


async def test_the_model_is_sent_the_instructions_the_history_and_the_question(server: Server) -> None:
    async with a_served_desk() as desk:
        answer = (
            await desk.answer(
                "helper", a_turn("Now?", history=an_exchange("Before", "Yes.")), journal=Unwritten(), timeout_s=30
            )
        ).text

    assert answer == "Hello."
    assert [(message["role"], message["content"]) for message in json.loads(server.asked[0])["messages"]] == [
        ("system", "Help."),
        ("user", "Before"),
        ("assistant", "Yes."),
        ("user", "Now?"),
    ]


@pytest.mark.parametrize(
    ("status", "body", "fact"),
    [
        ("401 Unauthorized", b'{"error": {"message": "bad key sk-1"}}', ModelUnavailable),
        ("404 Not Found", b'{"error": {"message": "no model m"}}', ModelUnavailable),
        ("429 Too Many Requests", b'{"error": {"message": "slow down"}}', ModelUnavailable),
        ("500 Internal Server Error", b"<html>oops</html>", ModelUnavailable),
        ("503 Service Unavailable", b"", ModelUnavailable),
        ("400 Bad Request", b'{"error": {"message": "no such field"}}', AgentFailed),
        ("400 Bad Request", OVERFLOW, TurnTooLong),
        ("200 OK", b"<html>a captive portal</html>", ModelUnavailable),
        ("200 OK", b'{"choices": []}', AgentFailed),
    ],
    ids=["key", "model", "busy", "broken", "gone", "refused", "overflow", "no json", "no choice"],
)
async def test_a_bad_answer_is_one_of_the_known_failures(
    server: Server, status: str, body: bytes, fact: type[Fault]
) -> None:
    server.status, server.body = status, body

    async with a_served_desk() as desk:
        with pytest.raises(fact) as caught:
            await desk.answer("helper", a_turn(), journal=Unwritten(), timeout_s=30)

    assert type(caught.value) is fact
    assert "sk-1" not in caught.value.detail


async def test_the_wait_a_provider_asks_for_is_passed_on(server: Server) -> None:
    server.status, server.body, server.headers = "429 Too Many Requests", b"{}", "retry-after: 17\r\n"

    async with a_served_desk() as desk:
        with pytest.raises(ModelUnavailable) as caught:
            await desk.answer("helper", a_turn(), journal=Unwritten(), timeout_s=30)

    assert caught.value.headers == {"Retry-After": "17"}


async def test_a_refused_connection_is_unavailable(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody else can take the port meanwhile
        monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{taken.getsockname()[1]}/v1")
        async with a_served_desk() as desk:
            with pytest.raises(ModelUnavailable, match="cannot be reached"):
                await desk.answer("helper", a_turn(), journal=Unwritten(), timeout_s=30)


async def test_a_deadline_closes_the_connection_to_the_provider(server: Server) -> None:
    server.is_deaf = True

    async with a_served_desk() as desk:
        await desk.prepare()
        with pytest.raises(AgentTimedOut):
            await desk.answer("helper", a_turn(), journal=Unwritten(), timeout_s=0.5)

        async with asyncio.timeout(10):
            await server.left.wait()
