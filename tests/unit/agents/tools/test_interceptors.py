"""The wrappers around a call: they see it, change it, refuse it, and come to the same when the turn goes on."""

from dataclasses import dataclass, field, replace

import pytest

from app.agents.contract import ToolContext, ToolRefused, tool
from app.agents.llm.scripted import Call, ScriptedModel
from app.agents.tools.interceptors import Interceptors, Proceed, ToolCall
from app.agents.turns import TurnEvent
from tests.fakes.journal import Died, FakeJournal
from tests.unit.agents.desk import a_desk, a_turn, an_agent


@dataclass
class Watching:
    name: str
    seen: list[str]

    async def __call__(self, call: ToolCall, proceed: Proceed) -> object:
        self.seen.append(f"{self.name} {call.tool.name} {dict(call.arguments)}")
        result = await proceed(call)
        self.seen.append(f"{self.name} {result}")
        return result


@dataclass
class Refusing:
    async def __call__(self, call: ToolCall, proceed: Proceed) -> object:
        del call, proceed
        raise ToolRefused("Not today.")


@dataclass
class Editing:
    async def __call__(self, call: ToolCall, proceed: Proceed) -> object:
        return await proceed(replace(call, arguments={"name": "edited", "fixed": "edited"}))


@dataclass
class Effects:
    done: list[str] = field(default_factory=list)

    def agent(self) -> object:
        @tool(overrides={"fixed": "by the author"}, is_idempotent=False)
        async def add(ctx: ToolContext, name: str, fixed: str) -> str:
            """Add a name."""
            self.done.append(f"{name} {fixed}")
            return f"added {name}"

        return an_agent(tools=[add])


def calling() -> ScriptedModel:
    return ScriptedModel(Call("add", {"name": "Ann"}), "Done.")


async def ask(journal: FakeJournal, effects: Effects, model: ScriptedModel, interceptors: Interceptors) -> str:
    async with a_desk(effects.agent(), model=model, interceptors=interceptors) as desk:  # type: ignore[arg-type] # an agent
        return (await desk.answer("helper", a_turn(), journal=journal, timeout_s=10)).text


async def test_they_stand_around_a_call_in_their_order(journal: FakeJournal) -> None:
    seen: list[str] = []
    chain = Interceptors(guards=[Watching("a", seen), Watching("b", seen)], inner=[Watching("c", seen)])

    await ask(journal, Effects(), calling(), chain)

    called = "add {'name': 'Ann'}"
    assert seen == [f"a {called}", f"b {called}", f"c {called}", "c added Ann", "b added Ann", "a added Ann"]


@pytest.mark.parametrize("place", ["guards", "inner"])
async def test_a_refusal_is_a_result_in_its_words_and_is_told_once(journal: FakeJournal, place: str) -> None:
    effects, model = Effects(), calling()

    said = await ask(journal, effects, model, Interceptors(**{place: [Refusing()]}))

    assert said == "Done."
    assert model.seen[1].results == ('{"error":"Not today."}',)
    assert effects.done == []
    start, end = journal.of("tool_call_start") + journal.of("tool_call_complete")
    assert start.data["arguments"] == {"name": "Ann"}
    assert (end.data["is_error"], end.data["result"]) == (True, "Not today.")


@pytest.mark.parametrize("place", ["guards", "inner"])
async def test_no_interceptor_beats_an_override(journal: FakeJournal, place: str) -> None:
    effects = Effects()

    await ask(journal, effects, calling(), Interceptors(**{place: [Editing()]}))

    assert effects.done == ["edited by the author"]


@pytest.mark.parametrize("place", ["guards", "inner"])
async def test_a_refused_call_is_told_once_wherever_the_program_dies(place: str) -> None:
    chain = Interceptors(**{place: [Refusing()]})
    whole = FakeJournal()
    await ask(whole, Effects(), calling(), chain)

    for dies_at in range(1, whole.borders + 1):
        journal = FakeJournal(dies_at=dies_at)
        model = calling()
        with pytest.raises(Died):
            await ask(journal, Effects(), model, chain)
        began = any(step.startswith("run/model#1") for step in journal.kept)
        ended = any(step.startswith("run/model#2") for step in journal.kept)
        rest = () if ended else ("Done.",) if began else (Call("add", {"name": "Ann"}), "Done.")
        said = await ask(journal.resumed(), Effects(), ScriptedModel(*rest), chain)

        assert said == "Done.", dies_at
        assert len(_not_void(journal, "tool_call_complete")) == 1, dies_at


def _not_void(journal: FakeJournal, type_: str) -> list[TurnEvent]:
    """Give the events of a type that no `stream_retry` made void."""
    left: list[TurnEvent] = []
    for event in journal.told:
        if event.type == "stream_retry":
            left = [one for one in left if one.data.get("tool_call_id") != event.data.get("tool_call_id")]
        elif event.type == type_:
            left.append(event)
    return left
