"""Limit, redact."""

import pytest

from app.agents.contract import Risk, ToolContext, ToolRefused, tool
from app.agents.llm.scripted import Call, ScriptedModel
from app.agents.tools.interceptors import Interceptors
from app.agents.tools.policies import REDACTED, RateLimit, Redact
from tests.fakes.journal import FakeJournal
from tests.unit.agents.desk import a_desk, a_turn, an_agent

SECRET = "hunter2-hunter2"


@tool(risk=Risk.READS)
async def tell(ctx: ToolContext, word: str) -> object:
    """Tell a word."""
    if word == "fail":
        raise ToolRefused(f"refused with {SECRET}")
    return {"word": word, SECRET: [f"the key is {SECRET}", 7]}


async def told(journal: FakeJournal, *interceptors: object, words: tuple[str, ...] = ("a",)) -> tuple[str, ...]:
    model = ScriptedModel(*[Call("tell", {"word": word}) for word in words], "Done.")
    chain = Interceptors(inner=interceptors)  # type: ignore[arg-type] # each is one
    async with a_desk(an_agent(tools=[tell]), model=model, interceptors=chain) as desk:
        await desk.answer("helper", a_turn(), journal=journal, timeout_s=10)
    return model.seen[-1].results


async def test_too_many_calls_in_a_window_are_refused_until_it_is_over() -> None:
    now_s = 100.0
    limit = RateLimit(2, window_s=60, now_s=lambda: now_s)

    first = await told(FakeJournal(), limit, words=("a", "b", "c"))
    now_s = 161.0
    later = await told(FakeJournal(), limit)

    assert ["too often" in result for result in first] == [False, False, True]
    assert "again in 60 seconds" in first[2]
    assert "too often" not in later[0]


@pytest.mark.parametrize("word", ["a", "fail"])
async def test_a_secret_is_found_nowhere(journal: FakeJournal, word: str) -> None:
    results = await told(journal, Redact(lambda: [SECRET, ""]), words=(word,))

    assert REDACTED in results[0]
    assert SECRET not in repr((results, journal.kept, journal.told))
