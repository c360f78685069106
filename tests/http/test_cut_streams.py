"""A stream that is cut at any byte, any number of times, at any of two processes, replays to exactly the uncut text."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from types import MappingProxyType

import httpx
import pytest
from dishka import Provider, Scope
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic_ai.models import override_allow_model_requests
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from app.agents.contract import Agent, Risk, ToolContext, tool
from app.agents.factory import AgentFactory
from app.agents.llm.models import Models
from tests.builders import some_settings
from tests.gateway import running_gateway
from tests.http.calls import Json, as_, history, open_chat, somebody
from tests.http.streams import LAST, begin, events_in, followed, text_of
from tests.model_server import Call, Hold, ModelServer, Part, Pause, Think, running_model_server
from tests.unit.agents.desk import no_local_model

SAID = [
    "Grüße, ",
    "\n\n",
    "data: x\r\n",
    "event: run_failed\n\n",
    "id: 7\n",
    "Ann 👋 ",
    "\\u0000 ",
    "end.",
]
MORE: Sequence[Part] = [Think("hm, "), Think("well"), *SAID, Call("look_up", {"order_id": 7})]


@tool(risk=Risk.READS)
def look_up(ctx: ToolContext, order_id: int) -> str:
    """Look an order up."""
    return f"order {order_id}: data: \n\n x"


@pytest.fixture(scope="module")
def server() -> Iterator[ModelServer]:
    with override_allow_model_requests(allow_model_requests=True), running_model_server() as server:
        yield server


@pytest.fixture(scope="module")
def urls(server: ModelServer, migrated_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """Two gateways over one database; whatever one of them begins, the other may work on and tell."""

    def make(name: str) -> OpenAIChatModel:
        return OpenAIChatModel(name, provider=OpenAIProvider(base_url=server.url, api_key="none"))

    def provider() -> Provider:
        agent = Agent(name="shop", description="Sells", instructions="Be brief.", tools=[look_up])
        found = Provider(scope=Scope.APP)
        found.provide(lambda: AgentFactory(MappingProxyType({"shop": agent})), provides=AgentFactory)
        found.provide(lambda: Models("gpt-4o", no_local_model(), make=make), provides=Models)
        return found

    with ExitStack() as stack:
        yield [
            stack.enter_context(
                running_gateway(some_settings(tmp_path_factory.mktemp("gateway"), dsn=migrated_dsn), provider())
            )
            for _ in range(2)
        ]


@pytest.fixture(scope="module")
def told(urls: list[str], server: ModelServer) -> tuple[str, str, list[Json]]:
    """A run that is over: its owner, its id, and its events as an uncut stream gives them."""
    owner = somebody()
    server.script(MORE, SAID)
    with httpx.Client(base_url=urls[0], timeout=30) as client:
        run = begin(client, owner, open_chat(client, owner)["id"], "hello")
        return owner, run["id"], followed(client, owner, run["id"])


@dataclass
class Cutting:
    """A reader whose connections are cut behind so many bytes, or in a silence; it takes what is complete by then."""

    run_id: str
    sub: str
    events: list[Json] = field(default_factory=list)

    @property
    def is_over(self) -> bool:
        return bool(self.events) and self.events[-1]["type"] in LAST

    def read(self, client: httpx.Client, *, limit_bytes: int | None = None) -> None:
        headers = {**as_(self.sub), "accept": "text/event-stream"}
        if self.events:
            headers["last-event-id"] = str(self.events[-1]["seq"])
        whole = bytearray()
        path = f"/api/v1/runs/{self.run_id}/events"
        with suppress(httpx.ReadTimeout), client.stream("GET", path, headers=headers) as answer:
            for piece in answer.iter_raw():
                whole += piece
                if limit_bytes is not None and len(whole) >= limit_bytes:
                    break
        kept = bytes(whole if limit_bytes is None else whole[:limit_bytes])
        self.events += events_in(httpx.Response(200, content=kept[: kept.rfind(b"\n\n") + 2]))


CUTS = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 6000)), max_size=8)


@given(cuts=CUTS)
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_a_stream_of_what_is_over_may_be_cut_anywhere(
    urls: list[str], told: tuple[str, str, list[Json]], cuts: Sequence[tuple[int, int]]
) -> None:
    owner, run_id, whole = told
    reader = Cutting(run_id, owner)
    with ExitStack() as stack:
        clients = [stack.enter_context(httpx.Client(base_url=url, timeout=30)) for url in urls]
        for at, limit_bytes in cuts:
            reader.read(clients[at], limit_bytes=limit_bytes)

        reader.read(clients[0])

    assert reader.events == whole
    assert text_of(reader.events) == "".join(SAID) + "\n\n" + "".join(SAID)


@pytest.mark.parametrize("size_bytes", [1, 90, 250, 700])
def test_a_stream_that_is_cut_while_it_is_said_goes_on_where_it_was(
    urls: list[str], server: ModelServer, size_bytes: int
) -> None:
    owner = somebody()
    server.hold_again()
    server.script([part for word in SAID for part in (word, Pause(0.06))] + [Hold(), "now."])
    with ExitStack() as stack:
        patience = httpx.Timeout(30, read=0.4)
        clients = [stack.enter_context(httpx.Client(base_url=url, timeout=patience)) for url in urls]
        chat_id = open_chat(clients[0], owner)["id"]
        reader = Cutting(begin(clients[0], owner, chat_id, "hello")["id"], owner)
        turn = 0
        while not reader.is_over:
            turn += 1
            reader.read(clients[turn % 2], limit_bytes=size_bytes * turn)
            if text_of(reader.events) == "".join(SAID):
                server.release()
        answer = history(clients[0], owner, chat_id)[1]["content"]

    assert [event["seq"] for event in reader.events] == list(range(1, len(reader.events) + 1))
    assert text_of(reader.events) == answer == "".join(SAID) + "now."
