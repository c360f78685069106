"""The promises of `contract.Agents`, held against the runner for each way there is to write an agent."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from app.agents.contract import Agent, AgentFailed, AgentNotFound, Agents, AgentTimedOut, Responder, ToolContext, Turn
from app.agents.llm.scripted import ScriptedModel, Seen
from app.agents.turns import Unwritten
from tests.fakes.journal import Died, FakeJournal
from tests.unit.agents.desk import a_desk, a_turn, an_agent, models_of


async def reply(text: str) -> str:
    """Answer "echo: TEXT", or as the text says: nothing, never, or with an error."""
    if text == "nothing":
        return ""
    if text == "fail":
        raise RuntimeError("inner words")
    if text == "hang":
        await never()
    return f"echo: {text}"


async def never() -> None:
    await asyncio.Event().wait()


class Whole:
    name = "subject"
    description = "Answers at once."

    async def generate(self, turn: Turn) -> str:
        return await reply(turn.text)


class Pieces:
    name = "subject"
    description = "Answers in pieces."

    async def generate(self, turn: Turn) -> AsyncIterator[str]:
        for piece in (await reply(turn.text)).partition(" "):
            yield piece


async def from_model(seen: Seen) -> str:
    return await reply(seen.said_by_user[0])


async def from_command(ctx: ToolContext) -> str:
    return await reply(ctx.turn.text)


KINDS: dict[str, Agent | Responder] = {
    "model": an_agent("subject"),
    "fallback": an_agent("subject", fallback=from_command),
    "class": Whole(),
    "generator": Pieces(),
}


@pytest.fixture
def journal() -> FakeJournal:
    return FakeJournal()


@pytest.fixture(params=list(KINDS.values()), ids=list(KINDS))
async def agents(request: pytest.FixtureRequest) -> AsyncIterator[Agents]:
    member: Agent | Responder = request.param
    calls_tools = not (isinstance(member, Agent) and member.fallback)
    model = ScriptedModel(*[from_model] * 9, calls_tools=calls_tools)
    async with a_desk(member, models=models_of(model)) as desk:
        await desk.prepare()
        yield desk


class TestAgents:
    async def test_an_answer_is_whole(self, agents: Agents) -> None:
        assert (
            await agents.answer("subject", a_turn("hi there"), journal=Unwritten(), timeout_s=10)
        ).text == "echo: hi there"

    async def test_what_is_told_comes_to_the_answer(self, agents: Agents, journal: FakeJournal) -> None:
        said = await agents.answer("subject", a_turn("hi there"), journal=journal, timeout_s=10)

        assert journal.fold.text == said.text == "echo: hi there"

    async def test_a_finished_turn_that_is_begun_again_comes_to_the_same_in_silence(
        self, agents: Agents, journal: FakeJournal
    ) -> None:
        first = await agents.answer("subject", a_turn("hi there"), journal=journal, timeout_s=10)
        told = len(journal.told)

        second = await agents.answer("subject", a_turn("hi there"), journal=journal.resumed(), timeout_s=10)

        assert (second.text, second.usage, second.model) == (first.text, first.usage, first.model)
        assert len(journal.told) == told

    async def test_a_turn_that_died_in_its_answer_begins_it_again(self, agents: Agents) -> None:
        journal = FakeJournal(dies_at=2)  # behind the first piece
        with pytest.raises(Died):
            await agents.answer("subject", a_turn("hi there"), journal=journal, timeout_s=10)

        later = journal.resumed()
        said = await agents.answer("subject", a_turn("hi there"), journal=later, timeout_s=10)

        assert later.fold.text == said.text == "echo: hi there"
        assert "stream_retry" in later.types

    async def test_no_answer_is_a_failure(self, agents: Agents) -> None:
        with pytest.raises(AgentFailed):
            await agents.answer("subject", a_turn("nothing"), journal=Unwritten(), timeout_s=10)

    async def test_an_error_is_a_failure_without_its_words(self, agents: Agents) -> None:
        with pytest.raises(AgentFailed) as caught:
            await agents.answer("subject", a_turn("fail"), journal=Unwritten(), timeout_s=10)

        assert "inner" not in caught.value.detail

    async def test_a_deadline_is_kept(self, agents: Agents) -> None:
        with pytest.raises(AgentTimedOut):
            await agents.answer("subject", a_turn("hang"), journal=Unwritten(), timeout_s=0.2)

    async def test_a_turn_after_a_failed_one_is_answered(self, agents: Agents) -> None:
        with pytest.raises(AgentFailed):
            await agents.answer("subject", a_turn("fail"), journal=Unwritten(), timeout_s=10)

        assert (
            await agents.answer("subject", a_turn("again"), journal=Unwritten(), timeout_s=10)
        ).text == "echo: again"

    async def test_a_card_is_there_and_well(self, agents: Agents) -> None:
        card = agents.card("subject")

        assert (card.name, card.is_healthy, card.health) == ("subject", True, "ok")
        assert card.description
        assert agents.cards() == [card]

    async def test_an_unknown_name_is_not_found(self, agents: Agents) -> None:
        with pytest.raises(AgentNotFound):
            agents.card("nobody")
        with pytest.raises(AgentNotFound):
            await agents.answer("nobody", a_turn(), journal=Unwritten(), timeout_s=10)

    async def test_the_default_is_one_of_those_there_are(self, agents: Agents) -> None:
        assert agents.card(agents.default_name).name == agents.default_name
