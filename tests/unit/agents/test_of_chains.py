"""A chain of models: the next is asked where one is unavailable, and never behind the back of who reads along."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import pytest
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.profiles.openai import OpenAIModelProfile
from pydantic_ai.providers.openai import OpenAIProvider

from app.agents.contract import AgentFailed, ModelUnavailable, ToolContext
from app.agents.llm.models import Models
from app.agents.runner import AgentRunner
from tests.fakes.journal import Died, FakeJournal, FakeSpending
from tests.model_server import Call, Drop, Failure, Hold, ModelServer, Pause, Refuse, Reply, Request
from tests.unit.agents.desk import a_desk, a_turn, an_agent, an_exchange, no_local_model

DOWN = Failure(503)


async def look_up(ctx: ToolContext) -> str:
    """Look."""
    return "found"


def by_model(replies: Mapping[str, Reply]) -> Callable[[Request], Reply]:
    return lambda request: replies[request.body["model"]]


@asynccontextmanager
async def a_chain(
    server: ModelServer, *tools: Callable[..., object], profiles: Mapping[str, OpenAIModelProfile] | None = None
) -> AsyncIterator[AgentRunner]:
    def make(name: str) -> OpenAIChatModel:
        provider = OpenAIProvider(base_url=server.url, api_key="none")
        return OpenAIChatModel(name, provider=provider, profile=(profiles or {}).get(name))

    models = Models("one, two", no_local_model(), make=make)
    async with a_desk(an_agent(tools=tools), models=models) as desk:
        await desk.prepare()
        yield desk


def asked(server: ModelServer) -> list[str]:
    return [request.body["model"] for request in server.requests]


@pytest.mark.parametrize(
    "outage",
    [Failure(503), Failure(500), Failure(429), Failure(529), Failure(401), Failure(404), ["Hel", Drop()], [Drop()]],
    ids=["503", "500", "429", "529", "key", "unknown", "broken off", "broken off before a word"],
)
async def test_the_next_answers_where_one_is_unavailable(
    server: ModelServer, journal: FakeJournal, outage: Reply
) -> None:
    spending = FakeSpending()
    server.answer_with = by_model({"one": outage, "two": ["There."]})

    async with a_chain(server) as desk:
        said = await desk.answer("helper", a_turn(), journal=journal, timeout_s=30, spending=spending)

    assert (said.text, said.model) == ("There.", "two")
    assert journal.fold.text == "There."
    assert journal.of("stream_retry")[-1].data == {"request": 1, "reason": "another_model", "model": "two"}
    assert spending.models[-1] == "two"
    assert said.usage == journal.fold.usage
    assert not spending.open


@pytest.mark.parametrize("reply", [Failure(400), [Refuse()]], ids=["refused", "filtered"])
async def test_what_another_would_be_asked_in_vain_is_a_failure_at_once(server: ModelServer, reply: Reply) -> None:
    server.answer_with = by_model({"one": reply, "two": ["never"]})

    async with a_chain(server) as desk:
        with pytest.raises(AgentFailed):
            await desk.answer("helper", a_turn(), journal=FakeJournal(), timeout_s=30)

    assert asked(server) == ["one"]


async def test_a_model_that_says_nothing_gives_way(
    server: ModelServer, journal: FakeJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.agents.llm.model_step.PATIENCE_S", 0.2)
    server.answer_with = by_model({"one": [Hold()], "two": ["There."]})

    async with a_chain(server) as desk:
        said = await desk.answer("helper", a_turn(), journal=journal, timeout_s=30)

    assert said.text == "There."


async def test_a_slow_answer_that_has_begun_is_waited_for(
    server: ModelServer, journal: FakeJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.agents.llm.model_step.PATIENCE_S", 1.0)
    server.answer_with = by_model({"one": ["Hel", Pause(1.2), "lo."], "two": ["never"]})

    async with a_chain(server) as desk:
        said = await desk.answer("helper", a_turn(), journal=journal, timeout_s=30)

    assert said.text == "Hello."


async def test_where_none_answers_the_last_ones_failure_stands(server: ModelServer) -> None:
    server.answer_with = by_model({"one": DOWN, "two": Failure(429)})

    async with a_chain(server) as desk:
        with pytest.raises(ModelUnavailable, match="takes no more requests"):
            await desk.answer("helper", a_turn(), journal=FakeJournal(), timeout_s=30)
        await desk.check_health()

        card = desk.card("helper")
    assert not card.is_healthy
    assert card.health.startswith("one: ")
    assert "; two: " in card.health


async def test_one_that_failed_is_not_asked_first_by_the_next_turn_and_health_says_so(server: ModelServer) -> None:
    server.answer_with = by_model({"one": DOWN, "two": ["There."]})

    async with a_chain(server) as desk:
        await desk.answer("helper", a_turn(), journal=FakeJournal(), timeout_s=30)
        second = FakeJournal()
        await desk.answer("helper", a_turn(), journal=second, timeout_s=30)
        await desk.check_health()

        card = desk.card("helper")
    assert asked(server) == ["one", "two", "two"]
    assert not second.of("stream_retry")
    assert card.is_healthy
    assert card.health.startswith("answered by two; one: ")


async def test_a_turn_goes_on_with_what_another_model_of_the_chain_said(server: ModelServer) -> None:
    first = FakeJournal()
    first.dies_when = lambda: "run/tool.look_up#1" in first.kept
    server.script(DOWN, ["Wait.", Call("look_up")])
    async with a_chain(server, look_up) as desk:
        with pytest.raises(Died):
            await desk.answer("helper", a_turn(), journal=first, timeout_s=30)

    server.answer_with = by_model({"one": ["It is here."], "two": ["never"]})
    async with a_chain(server, look_up) as desk:  # a process that knows of no outage
        said = await desk.answer("helper", a_turn(), journal=first.resumed(), timeout_s=30)

    assert (said.text, said.model) == ("Wait.\n\nIt is here.", "one")
    assert asked(server) == ["one", "two", "one"]


async def test_a_finished_turn_tells_which_model_answered(server: ModelServer, journal: FakeJournal) -> None:
    server.script(DOWN, ["There."])
    async with a_chain(server) as desk:
        await desk.answer("helper", a_turn(), journal=journal, timeout_s=30)

        again = await desk.answer("helper", a_turn(), journal=journal.resumed(), timeout_s=30)

    assert again.model == "two"


async def test_a_model_that_cannot_call_tools_is_left_out_where_there_are_some(server: ModelServer) -> None:
    server.answer_with = by_model({"one": DOWN, "two": ["never"]})
    mute = OpenAIModelProfile(supports_tools=False)

    async with a_chain(server, look_up, profiles={"two": mute}) as desk:
        with pytest.raises(ModelUnavailable):
            await desk.answer("helper", a_turn(), journal=FakeJournal(), timeout_s=30)

    assert asked(server) == ["one"]


async def test_a_model_with_a_smaller_window_is_sent_what_fits_it(server: ModelServer) -> None:
    server.answer_with = by_model({"one": DOWN, "two": ["There."]})
    small = OpenAIModelProfile(context_window=200)
    history = [message for number in range(9) for message in an_exchange(f"question {number}", "x" * 60)]

    async with a_chain(server, profiles={"two": small}) as desk:
        await desk.answer("helper", a_turn("Now?", history=history), journal=FakeJournal(), timeout_s=30)

    whole, cut = (request.messages for request in server.requests)
    assert len(whole) == 20
    assert len(cut) < 9
    assert (cut[0], cut[-1]) == (("system", "Help."), ("user", "Now?"))
    assert cut[1][0] == "user"
