"""The default agent on the real local model, through the desk; skipped where there is none."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pydantic_ai.models import override_allow_model_requests

from app.agents.contract import ModelUnavailable, PastMessage
from app.agents.factory import AgentFactory
from app.agents.llm.local_model import LocalModel
from app.agents.llm.local_model_errors import LocalModelUnavailable
from app.agents.llm.models import Models
from app.agents.runner import AgentRunner
from app.agents.turns import Unwritten
from tests.fakes.front_door import FakeFrontDoor
from tests.fakes.journal import FakeJournal
from tests.unit.agents.desk import a_turn, an_exchange

DIGITS = "8675309 " * 10


@pytest.fixture
async def local(tmp_path: Path) -> AsyncIterator[LocalModel]:
    local = LocalModel(tmp_path)
    try:
        await local.start()
    except LocalModelUnavailable as unavailable:
        pytest.skip(f"no local model here: {unavailable}")
    yield local
    await local.stop()


@pytest.fixture
async def desk(local: LocalModel) -> AsyncIterator[AgentRunner]:
    runner = AgentRunner(
        AgentFactory.discover(installed=()).agents, models=Models("local", local), front_door=FakeFrontDoor()
    )
    with override_allow_model_requests(allow_model_requests=True):
        await runner.prepare()
        yield runner
    await runner.aclose()


async def test_the_assistant_answers_from_a_real_model(desk: AgentRunner) -> None:
    question = a_turn("What is the capital of France?")
    answers = [await desk.answer("assistant", question, journal=Unwritten(), timeout_s=110) for _ in range(3)]

    assert any("Paris" in said.text for said in answers)  # a small model is not always right, but it is no parrot
    assert desk.card("assistant").is_healthy


async def test_the_real_model_streams_and_says_what_it_took(desk: AgentRunner) -> None:
    journal = FakeJournal()

    said = await desk.answer("assistant", a_turn("Count from one to ten."), journal=journal, timeout_s=110)

    assert len(journal.of("text_delta")) > 3
    assert said.text == journal.fold.text
    assert said.usage.input_tokens > 0
    assert said.usage.output_tokens >= len(journal.of("text_delta")) // 2
    assert not journal.of("usage")[0].data["is_estimated"]


async def test_the_turn_after_a_cancelled_one_is_answered(desk: AgentRunner) -> None:
    journal = FakeJournal()
    async with asyncio.TaskGroup() as group:
        turn = group.create_task(
            desk.answer("assistant", a_turn("Tell me a long story."), journal=journal, timeout_s=110)
        )
        await journal.is_told.wait()
        turn.cancel()

    said = await desk.answer("assistant", a_turn("Say hello."), journal=FakeJournal(), timeout_s=110)

    assert turn.cancelled()
    assert said.text


@pytest.mark.soak
async def test_a_history_of_any_length_still_gets_an_answer(desk: AgentRunner) -> None:
    history: list[PastMessage] = []
    for turn in range(200):
        history += an_exchange(f"Remember number {turn}: {DIGITS}", "I remember it.")

    said = await desk.answer("assistant", a_turn("Say hello.", history=history), journal=Unwritten(), timeout_s=110)

    assert said.text


async def test_a_model_that_went_away_is_unavailable(desk: AgentRunner, local: LocalModel) -> None:
    await local.stop()

    with pytest.raises(ModelUnavailable):
        await desk.answer("assistant", a_turn(), journal=Unwritten(), timeout_s=30)
