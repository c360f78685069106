"""What every provider of models must do for a turn: its own SDK over HTTP, and a server that speaks its protocol."""

import base64
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from pydantic_ai.models import override_allow_model_requests

from app.agents.contract import AgentFailed, Attachment, ModelUnavailable, ToolContext
from app.agents.llm.models import Models
from app.agents.messages import AttachmentNotTaken
from app.agents.runner import AgentRunner
from tests.fakes.journal import Died, FakeJournal, FakeSpending
from tests.files import PDF, PNG
from tests.model_server import Call, Drop, Failure, ModelServer, Part, Refuse, Think, Trouble, running_model_server
from tests.model_server.providers import PROVIDERS, Provider
from tests.unit.agents.desk import a_desk, a_turn, an_agent, no_local_model

ASK_AGAIN = {"retry-after-ms": "1"}  # what OpenAI, Anthropic and Groq send; Google's SDK waits as it is told when made


@pytest.fixture(scope="module")
def _server() -> Iterator[ModelServer]:
    with override_allow_model_requests(allow_model_requests=True), running_model_server() as running:
        yield running


@pytest.fixture(params=list(PROVIDERS.values()), ids=list(PROVIDERS))
def provider(request: pytest.FixtureRequest) -> Provider:
    found: Provider = request.param
    return found


@pytest.fixture
def server(_server: ModelServer, provider: Provider, monkeypatch: pytest.MonkeyPatch) -> ModelServer:
    monkeypatch.setattr("app.agents.llm.model_step.FIRST_WAIT_S", 0.001)
    monkeypatch.setattr("app.agents.llm.loading.GOOGLE_FIRST_WAIT_S", 0.001)
    for variable, value in provider.environ(_server).items():
        monkeypatch.setenv(variable, value)
    _server.begin_afresh()
    return _server


@pytest.fixture
def journal() -> FakeJournal:
    return FakeJournal()


async def look_up(ctx: ToolContext, order_id: int) -> str:
    """Look up an order."""
    return f"order {order_id} is on its way"


@asynccontextmanager
async def a_served_desk(provider: Provider) -> AsyncIterator[AgentRunner]:
    models = Models(provider.model, no_local_model())
    async with a_desk(an_agent(tools=[look_up]), models=models) as desk:
        await desk.prepare()
        yield desk


async def test_an_answer_streams(server: ModelServer, provider: Provider, journal: FakeJournal) -> None:
    spending = FakeSpending()
    server.script(["Hel", "lo", " there."])

    async with a_served_desk(provider) as desk:
        said = await desk.answer("helper", a_turn("hi"), journal=journal, timeout_s=30, spending=spending)

    assert [event.data["text"] for event in journal.of("text_delta")] == ["Hel", "lo", " there."]
    assert said.text == journal.fold.text == "Hello there."
    assert (said.usage.requests, said.usage.output_tokens) == (1, 3)
    assert said.usage.input_tokens > 0
    assert not journal.of("usage")[0].data["is_estimated"]
    assert not spending.open
    assert server.requests[0].last_user_text == "hi"


@pytest.mark.parametrize(
    ("media_type", "content"), [("image/png", PNG), ("application/pdf", PDF)], ids=["image", "pdf"]
)
async def test_a_file_reaches_the_model_or_is_refused_before_it_is_asked(
    server: ModelServer, provider: Provider, media_type: str, content: bytes
) -> None:
    turn = replace(a_turn("What is it?"), attachments=(Attachment("f", "a", media_type, content),))
    server.script(["A file."])

    async with a_served_desk(provider) as desk:
        try:
            said = await desk.answer("helper", turn, journal=FakeJournal(), timeout_s=30)
        except AttachmentNotTaken:
            assert not server.requests
            assert media_type == "application/pdf"  # all of them take images
            return

    assert said.text == "A file."
    sent = str(server.requests[0].body).translate(str.maketrans("-_", "+/"))  # Gemini's is of the other alphabet
    assert base64.b64encode(content).decode() in sent


async def test_thoughts_stream_and_are_no_part_of_the_answer(
    server: ModelServer, provider: Provider, journal: FakeJournal
) -> None:
    server.script([Think("Let me"), Think(" see."), "Found."])

    async with a_served_desk(provider) as desk:
        said = await desk.answer("helper", a_turn(), journal=journal, timeout_s=30)

    assert [event.data["text"] for event in journal.of("thinking_delta")] == ["Let me", " see."]
    assert said.text == journal.fold.text == "Found."


async def test_a_tool_is_called_and_its_result_goes_back(
    server: ModelServer, provider: Provider, journal: FakeJournal
) -> None:
    server.script(["Wait.", Call("look_up", {"order_id": 7})], ["It comes."])

    async with a_served_desk(provider) as desk:
        said = await desk.answer("helper", a_turn(), journal=journal, timeout_s=30)

    (start,), (end,) = journal.of("tool_call_start"), journal.of("tool_call_complete")
    assert (start.data["tool"], start.data["arguments"]) == ("look_up", {"order_id": 7})
    assert (end.data["is_error"], end.data["result"]) == (False, "order 7 is on its way")
    assert "order 7 is on its way" in str(server.requests[1].body)
    assert said.text == "Wait.\n\nIt comes."
    assert (said.usage.requests, said.usage.tool_calls) == (2, 1)


async def test_calls_at_once_are_all_answered(server: ModelServer, provider: Provider, journal: FakeJournal) -> None:
    server.script([Call("look_up", {"order_id": 1}), Call("look_up", {"order_id": 2})], ["Both."])

    async with a_served_desk(provider) as desk:
        await desk.answer("helper", a_turn(), journal=journal, timeout_s=30)

    assert [event.data["arguments"] for event in journal.of("tool_call_start")] == [{"order_id": 1}, {"order_id": 2}]
    assert all(f"order {number} is on its way" in str(server.requests[1].body) for number in (1, 2))


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_request_that_is_refused_for_now_is_made_again(
    server: ModelServer, provider: Provider, journal: FakeJournal, status: int
) -> None:
    server.script(Failure(status, headers=ASK_AGAIN), ["There."])

    async with a_served_desk(provider) as desk:
        said = await desk.answer("helper", a_turn(), journal=journal, timeout_s=30)

    assert said.text == "There."
    assert len(server.requests) == 2
    assert "stream_retry" not in journal.types  # nothing had been said


@pytest.mark.parametrize(
    ("status", "fact", "detail"),
    [
        (401, ModelUnavailable, "refused this gateway's key"),
        (404, ModelUnavailable, "does not know the language model"),
        (429, ModelUnavailable, "takes no more requests"),
        (500, ModelUnavailable, "cannot be reached"),
        (400, AgentFailed, "refused the request"),
    ],
    ids=["key", "unknown model", "too many", "broken", "refused"],
)
async def test_what_cannot_be_mended_is_one_of_the_known_failures(
    server: ModelServer, provider: Provider, status: int, fact: type[Exception], detail: str
) -> None:
    server.script(*[Failure(status, headers={"x-should-retry": "false", "retry-after": "17"})] * 3)

    async with a_served_desk(provider) as desk:
        with pytest.raises(fact, match=detail) as caught:
            await desk.answer("helper", a_turn(), journal=FakeJournal(), timeout_s=30)

    assert status != 429 or getattr(caught.value, "headers", {}) == {"Retry-After": "17"}


BREAKS: Mapping[str, Part] = {
    "connection lost": Drop(),
    "ended without its end": Drop(is_clean=True),
    "error in the stream": Trouble("overloaded"),
}


@pytest.mark.parametrize("broken", BREAKS.values(), ids=BREAKS.keys())
async def test_a_stream_that_breaks_is_taken_back_and_said_again(
    server: ModelServer, provider: Provider, journal: FakeJournal, broken: Part
) -> None:
    server.script(["Hel", broken], ["Hello."])

    async with a_served_desk(provider) as desk:
        said = await desk.answer("helper", a_turn(), journal=journal, timeout_s=30)

    assert [event.data["reason"] for event in journal.of("stream_retry")] == ["broken_off"]
    assert said.text == journal.fold.text == "Hello."


async def test_a_refused_answer_is_a_failure(server: ModelServer, provider: Provider, journal: FakeJournal) -> None:
    server.script([Refuse()])

    async with a_served_desk(provider) as desk:
        with pytest.raises(AgentFailed, match="content filter"):
            await desk.answer("helper", a_turn(), journal=journal, timeout_s=30)

    assert len(server.requests) == 1


async def test_what_was_said_before_a_refusal_stays(
    server: ModelServer, provider: Provider, journal: FakeJournal
) -> None:
    server.script(["So far", Refuse()])

    async with a_served_desk(provider) as desk:
        said = await desk.answer("helper", a_turn(), journal=journal, timeout_s=30)

    assert said.text == journal.fold.text == "So far"


async def test_a_turn_that_died_behind_a_tool_goes_on_without_asking_twice(
    server: ModelServer, provider: Provider
) -> None:
    server.script([Think("Hm."), "Wait.", Call("look_up", {"order_id": 7})], ["It comes."])
    first = FakeJournal()
    first.dies_when = lambda: "run/tool.look_up#1" in first.kept

    async with a_served_desk(provider) as desk:
        with pytest.raises(Died):
            await desk.answer("helper", a_turn(), journal=first, timeout_s=30)

        said = await desk.answer("helper", a_turn(), journal=first.resumed(), timeout_s=30)

    assert said.text == "Wait.\n\nIt comes."
    assert len(server.requests) == 2
