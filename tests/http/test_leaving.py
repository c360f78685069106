"""Ways of leaving while an agent works: a run goes on, or ends at the model's side too, as its client had said."""

import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import MappingProxyType
from urllib.parse import urlsplit

import httpx
import pytest
from dishka import Provider, Scope
from pydantic_ai.models import override_allow_model_requests
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from app.agents.contract import Agent, Risk, ToolContext
from app.agents.contract import tool as marked
from app.agents.factory import AgentFactory
from app.agents.llm.models import Models
from tests.builders import a_token, some_settings
from tests.gateway import running_gateway
from tests.http.calls import as_, history, open_chat, somebody
from tests.http.streams import a_socket, begin, followed, listed, read_run, text_of
from tests.model_server import Call, Hold, ModelServer, Reply, running_model_server
from tests.unit.agents.desk import no_local_model

PATIENCE_S = 20
ENDS = {"continue": "completed", "cancel": "interrupted"}


class Tool:
    """A tool that works until the test lets it go on; it is a thread, so it is left alone when it is cancelled."""

    def __init__(self) -> None:
        self.is_called, self.may_end = threading.Event(), threading.Event()

    def work(self, ctx: ToolContext) -> str:
        """Work for a while."""
        self.is_called.set()
        self.may_end.wait(PATIENCE_S)
        return "done"


@pytest.fixture(scope="module")
def tool() -> Tool:
    return Tool()


@pytest.fixture(scope="module")
def server() -> Iterator[ModelServer]:
    with override_allow_model_requests(allow_model_requests=True), running_model_server() as server:
        yield server


@pytest.fixture(scope="module")
def gateway_url(
    server: ModelServer, tool: Tool, migrated_dsn: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    def make(name: str) -> OpenAIChatModel:
        return OpenAIChatModel(name, provider=OpenAIProvider(base_url=server.url, api_key="none"))

    @marked(risk=Risk.READS)
    def work(ctx: ToolContext) -> str:
        """Work for a while."""
        return tool.work(ctx)

    agent = Agent(name="busy", description="Works", instructions="Be brief.", tools=[work])
    provider = Provider(scope=Scope.APP)
    provider.provide(lambda: AgentFactory(MappingProxyType({"busy": agent})), provides=AgentFactory)
    provider.provide(lambda: Models("gpt-4o", no_local_model(), make=make), provides=Models)
    folder = tmp_path_factory.mktemp("gateway")
    with running_gateway(some_settings(folder, dsn=migrated_dsn), provider) as url:
        yield url


@contextmanager
def asking(url: str, owner: str, chat_id: int, accept: str, **fields: str) -> Iterator[socket.socket]:
    """Send an exchange over a socket of our own, so that it can be left in any way."""
    address = urlsplit(url)
    body = json.dumps({"content": "hello", **fields}).encode()
    lines = (
        f"POST /api/v1/messages/{chat_id}/exchange HTTP/1.1",
        f"host: x\r\nauthorization: Bearer {a_token(sub=owner)}",
        f"accept: {accept}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n",
    )
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=PATIENCE_S) as client:
        client.sendall("\r\n".join(lines).encode() + body)
        yield client


def read_until(client: socket.socket, words: bytes) -> None:
    heard = b""
    while words not in heard:
        piece = client.recv(4096)
        assert piece, heard
        heard += piece


def close(client: socket.socket) -> None:
    client.close()


def reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def half_close(client: socket.socket) -> None:
    client.shutdown(socket.SHUT_WR)


type Leave = Callable[[socket.socket], None]
JSON, EVENTS = "application/json", "text/event-stream"
HALF_SAID: Reply = ["One ", "two ", Hold(), "three"]
SILENT: Reply = [Hold(), "One two three"]
IN_A_TOOL: Reply = ["Wait. ", Call("work")]
WAYS: dict[str, tuple[str, Reply, bytes, Leave]] = {
    "sync, before the model says a word": (JSON, SILENT, b"", close),
    "sync, in the midst of the answer": (JSON, HALF_SAID, b"", close),
    "sync, by a reset": (JSON, HALF_SAID, b"", reset),
    "sync, half of the connection": (JSON, HALF_SAID, b"", half_close),
    "sync, during a tool": (JSON, IN_A_TOOL, b"", close),
    "streaming, before anything is read": (EVENTS, SILENT, b"", close),
    "streaming, in the midst of the answer": (EVENTS, HALF_SAID, b"text_delta", close),
    "streaming, by a reset": (EVENTS, HALF_SAID, b"text_delta", reset),
    "streaming, half of the connection": (EVENTS, HALF_SAID, b"text_delta", half_close),
    "streaming, during a tool": (EVENTS, IN_A_TOOL, b"tool_call_start", close),
}


@pytest.mark.parametrize("on_disconnect", ENDS)
@pytest.mark.parametrize(("accept", "reply", "words", "leave"), WAYS.values(), ids=WAYS.keys())
def test_what_becomes_of_a_run_whose_client_leaves(
    client: httpx.Client,
    gateway_url: str,
    server: ModelServer,
    tool: Tool,
    on_disconnect: str,
    accept: str,
    reply: Reply,
    words: bytes,
    leave: Leave,
) -> None:
    owner = somebody()
    chat_id = open_chat(client, owner)["id"]
    server.hold_again()
    server.script(reply)
    asked, aborted = len(server.requests), len(server.aborted)
    tool.is_called.clear()
    tool.may_end.clear()
    with asking(gateway_url, owner, chat_id, accept, on_disconnect=on_disconnect) as ours:
        assert server.awaits(lambda: len(server.requests) > asked)
        if reply is IN_A_TOOL:
            assert tool.is_called.wait(PATIENCE_S)
        run_id = history(client, owner, chat_id)[0]["run_id"]
        if reply is HALF_SAID:
            assert server.awaits(lambda: text_of(listed(client, owner, run_id)["items"]) == "One two ")
        read_until(ours, words) if words else None
        leave(ours)
        if on_disconnect == "cancel":
            ending = followed(client, owner, run_id)[-1]  # before anybody lets the model or the tool go on
            assert ending["data"] == {"reason": "its client left"}
            assert reply is IN_A_TOOL or server.awaits(lambda: len(server.aborted) == aborted + 1)
        else:
            assert read_run(client, owner, run_id)["status"] == "running"
        tool.may_end.set()
        server.release()
        followed(client, owner, run_id)

    assert read_run(client, owner, run_id)["status"] == ENDS[on_disconnect]
    assert len(server.aborted) - aborted == (on_disconnect == "cancel" and reply is not IN_A_TOOL)
    kept = [(message["content"], message["status"]) for message in history(client, owner, chat_id)]
    if on_disconnect == "continue":
        assert kept[0] == ("hello", "complete")
        assert (len(kept), kept[1][1]) == (2, "complete")
    else:
        said = [(text, "interrupted") for text in PARTLY.get(id(reply), ())]
        assert kept == [("hello", "interrupted"), *said]


PARTLY = {id(HALF_SAID): ["One two "], id(IN_A_TOOL): ["Wait. "]}


@pytest.mark.parametrize("on_disconnect", ENDS)
@pytest.mark.parametrize("is_abrupt", [False, True], ids=["closing", "by a reset"])
def test_what_becomes_of_a_run_whose_websocket_is_left(
    client: httpx.Client, gateway_url: str, server: ModelServer, on_disconnect: str, *, is_abrupt: bool
) -> None:
    owner = somebody()
    chat_id = open_chat(client, owner)["id"]
    server.hold_again()
    server.script(HALF_SAID)
    aborted = len(server.aborted)
    with a_socket(gateway_url, owner, chat_id) as ours:
        ours.send(type="send", content="hello", on_disconnect=on_disconnect)
        run_id = ours.until("text_delta")["run_id"]
        if is_abrupt:
            reset(ours.connection.socket)

    if on_disconnect == "cancel":
        assert followed(client, owner, run_id)[-1]["data"] == {"reason": "its client left"}
        assert server.awaits(lambda: len(server.aborted) == aborted + 1)
    server.release()
    followed(client, owner, run_id)

    assert read_run(client, owner, run_id)["status"] == ENDS[on_disconnect]
    assert len(server.aborted) - aborted == (on_disconnect == "cancel")


def test_a_run_whose_client_leaves_while_it_waits_in_line_never_asks_the_model(
    client: httpx.Client, gateway_url: str, server: ModelServer
) -> None:
    owner = somebody()
    chat_id = open_chat(client, owner)["id"]
    server.hold_again()
    server.script(HALF_SAID)
    asked = len(server.requests)
    first = begin(client, owner, chat_id, "first")
    assert server.awaits(lambda: len(server.requests) > asked)
    with asking(gateway_url, owner, chat_id, JSON, on_busy="queue", on_disconnect="cancel") as ours:
        assert server.awaits(lambda: len(history(client, owner, chat_id)) == 2)
        waiting = history(client, owner, chat_id)[1]["run_id"]
        close(ours)

    ended = followed(client, owner, waiting)
    server.release()
    followed(client, owner, first["id"])

    assert [event["type"] for event in ended] == ["run_queued", "run_interrupted"]
    assert len(server.requests) == asked + 1


def test_a_reader_who_leaves_ends_nothing_whatever_the_run_says(
    client: httpx.Client, gateway_url: str, server: ModelServer
) -> None:
    owner = somebody()
    chat_id = open_chat(client, owner)["id"]
    server.hold_again()
    server.script(HALF_SAID)
    asked = len(server.requests)
    with asking(gateway_url, owner, chat_id, JSON, on_disconnect="cancel") as ours:
        assert server.awaits(lambda: len(server.requests) > asked)
        run_id = history(client, owner, chat_id)[0]["run_id"]
        headers = {**as_(owner), "accept": EVENTS}
        with client.stream("GET", f"/api/v1/runs/{run_id}/events", headers=headers) as reader:
            next(reader.iter_bytes())
        with a_socket(gateway_url, owner, chat_id) as other:
            other.until("text_delta")

        server.release()
        read_until(ours, b"three")

    assert read_run(client, owner, run_id)["status"] == "completed"
