"""A turn whose program dies, wherever it does: it goes on in the next one, and what was finished is not done again."""

from collections import Counter
from collections.abc import AsyncIterator, Callable

import pytest

from app.agents.contract import ToolContext, Turn, TurnUnreadable, tool
from app.agents.llm.scripted import ScriptedModel
from app.agents.turns import Said, TurnEvent
from app.kernel.values import Json
from tests.fakes.front_door import CALENDARS, FakeFrontDoor
from tests.fakes.journal import Died, FakeJournal, FakeSpending
from tests.model_server import Call, Failure, ModelServer, Reply, Request
from tests.unit.agents.desk import a_desk, a_turn, an_agent, an_exchange
from tests.unit.agents.served import a_served_desk

ANSWER = "I add them.\n\nOne more.\n\nAll are there."
REQUESTS = 3
EFFECTS = ["Ann", "Bob", "Cid"]


def adding(request: Request) -> Reply:
    """Add three names in two steps, by what was added before: as a model would, which has no memory of its own."""
    results = [message for message in request.body["messages"] if message["role"] == "tool"]
    if not results:
        return ["I add ", "them.", Call("add", {"name": "Ann"}), Call("add", {"name": "Bob"})]
    return ["One more.", Call("add", {"name": "Cid"})] if len(results) == 2 else ["All ", "are ", "there."]


class Effects:
    """What was done outside; `done` is what an outside that knows its keys did."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.done: dict[str, str] = {}

    @property
    def add(self) -> Callable[..., object]:
        async def add(ctx: ToolContext, name: str) -> str:
            """Add a name."""
            self.calls.append(name)
            self.done.setdefault(ctx.idempotency_key, name)
            return f"added {name}"

        return add


async def test_a_turn_that_dies_at_any_border_comes_to_the_same(server: ModelServer) -> None:
    server.answer_with = adding
    whole = FakeJournal()
    async with a_served_desk(server, Effects().add) as desk:
        said = await desk.answer("helper", a_turn("Add them"), journal=whole, timeout_s=30)
    assert said.text == ANSWER
    assert whole.borders > 30

    for dies_at in range(1, whole.borders + 1):
        effects, journal = Effects(), FakeJournal(dies_at=dies_at)
        server.requests.clear()
        async with a_served_desk(server, effects.add) as desk:
            with pytest.raises(Died):
                await desk.answer("helper", a_turn("Add them"), journal=journal, timeout_s=30)
            next_one = journal.resumed()
            again = await desk.answer("helper", a_turn("Add them"), journal=next_one, timeout_s=30)

        assert again.text == next_one.fold.text == ANSWER, dies_at
        assert list(effects.done.values()) == EFFECTS, dies_at
        assert len(effects.calls) <= len(EFFECTS) + 1, dies_at
        assert len(server.requests) <= REQUESTS + 1, dies_at
        assert again.usage.tool_calls == len(EFFECTS), dies_at
        assert again.usage.requests == REQUESTS, dies_at


async def test_a_turn_that_dies_at_every_border_comes_to_its_end(server: ModelServer) -> None:
    server.answer_with = adding
    effects, journal, deaths = Effects(), FakeJournal(dies_at=9), 0
    said = None
    while said is None:
        async with a_served_desk(server, effects.add) as desk:
            try:
                said = await desk.answer("helper", a_turn("Add them"), journal=journal, timeout_s=30)
            except Died:
                deaths += 1
                journal = journal.resumed(dies_at=9)

    assert deaths > 2
    assert said.text == journal.fold.text == ANSWER
    assert list(effects.done.values()) == EFFECTS


async def test_a_finished_turn_that_is_begun_again_says_and_does_nothing(
    server: ModelServer, journal: FakeJournal
) -> None:
    server.answer_with = adding
    effects, spending = Effects(), FakeSpending()
    async with a_served_desk(server, effects.add) as desk:
        first = await desk.answer("helper", a_turn(), journal=journal, timeout_s=30)
        told, asked = list(journal.told), len(server.requests)

        second = await desk.answer("helper", a_turn(), journal=journal.resumed(), timeout_s=30, spending=spending)

    assert (second.text, second.usage, second.model) == (first.text, first.usage, first.model)
    assert (journal.told, len(server.requests), effects.calls) == (told, asked, EFFECTS)
    assert spending.reserved == []


async def test_the_names_of_steps_never_change(server: ModelServer, journal: FakeJournal) -> None:
    server.answer_with = adding
    async with a_served_desk(server, Effects().add) as desk:
        await desk.answer("helper", a_turn(), journal=journal, timeout_s=30)

    assert list(journal.kept) == [
        *("run/model#1", "run/tool.add#1", "run/tool.add#2", "run/model#2", "run/tool.add#3", "run/model#3"),
    ]


async def test_what_was_said_of_an_interrupted_request_is_void(server: ModelServer) -> None:
    server.answer_with = adding
    journal = FakeJournal(dies_at=3)  # before the body, behind two words
    async with a_served_desk(server, Effects().add) as desk:
        with pytest.raises(Died):
            await desk.answer("helper", a_turn(), journal=journal, timeout_s=30)
        await desk.answer("helper", a_turn(), journal=journal.resumed(), timeout_s=30)

    assert journal.told[:4] == [
        TurnEvent("text_delta", {"request": 1, "text": "I add "}),
        TurnEvent("text_delta", {"request": 1, "text": "them."}),
        TurnEvent("stream_retry", {"request": 1, "reason": "resumed"}),
        TurnEvent("text_delta", {"request": 1, "text": "I add "}),
    ]
    assert Counter(journal.types)["stream_retry"] == 1


async def test_a_call_nobody_knows_of_is_not_made_again_and_the_model_is_told(server: ModelServer) -> None:
    server.answer_with = adding
    effects = Effects()
    pay = tool(is_idempotent=False)(effects.add)
    sure = FakeJournal()
    async with a_served_desk(server, pay) as desk:
        await desk.answer("helper", a_turn(), journal=sure, timeout_s=30)
    effects.calls.clear()
    during_the_call = sure.types.index("tool_call_start") + 5
    journal = FakeJournal(dies_at=during_the_call)

    async with a_served_desk(server, pay) as desk:
        with pytest.raises(Died):
            await desk.answer("helper", a_turn(), journal=journal, timeout_s=30)
        said = await desk.answer("helper", a_turn(), journal=journal.resumed(), timeout_s=30)
        again = await desk.answer("helper", a_turn(), journal=journal.resumed(), timeout_s=30)

    assert Counter(effects.calls)["Ann"] <= 1
    assert said.text == again.text == ANSWER
    (doubt,) = [event for event in journal.of("tool_call_complete") if event.data["is_error"]]
    assert "not known whether" in str(doubt.data["result"])
    results = [m["content"] for m in server.requests[-1].body["messages"] if m["role"] == "tool"]
    assert ["not known whether" in result for result in results] == [True, False, False]


async def test_an_agent_of_code_that_finished_is_not_asked_again(journal: FakeJournal) -> None:
    asked: list[str] = []

    class Code:
        name = "code"

        async def generate(self, turn: Turn) -> AsyncIterator[str]:
            asked.append(turn.text)
            yield "Hel"
            yield "lo"

    journal.dies_at = 5  # behind what was kept
    async with a_desk(Code()) as desk:
        with pytest.raises(Died):
            await desk.answer("code", a_turn(), journal=journal, timeout_s=10)
        said = await desk.answer("code", a_turn(), journal=journal.resumed(), timeout_s=10)

    assert said == Said("Hello")
    assert (len(asked), journal.fold.text) == (1, "Hello")


async def test_an_agent_of_code_that_was_interrupted_begins_afresh(journal: FakeJournal) -> None:
    class Code:
        name = "code"

        async def generate(self, turn: Turn) -> AsyncIterator[str]:
            yield "Hel"
            yield "lo"

    journal.dies_at = 2
    async with a_desk(Code()) as desk:
        with pytest.raises(Died):
            await desk.answer("code", a_turn(), journal=journal, timeout_s=10)
        next_one = journal.resumed()
        said = await desk.answer("code", a_turn(), journal=next_one, timeout_s=10)

    assert said.text == next_one.fold.text == "Hello"
    assert next_one.types == ["text_delta", "stream_retry", "text_delta", "text_delta"]


async def test_a_fallback_is_one_step_with_a_key(journal: FakeJournal) -> None:
    async def obey(ctx: ToolContext) -> str:
        await ctx.call("POST", CALENDARS, json={"name": "x"})
        return "made"

    door = FakeFrontDoor()
    async with a_desk(an_agent(fallback=obey), model=ScriptedModel(calls_tools=False), front_door=door) as desk:
        await desk.answer("helper", a_turn(), journal=journal, timeout_s=10)
        await desk.answer("helper", a_turn(), journal=journal.resumed(), timeout_s=10)

    assert [asked.idempotency_key for asked in door.asked] == ["run/answer#1.1"]


def emptied(kept: dict[str, Json]) -> dict[str, Json]:
    return {name: {} if name in {"response", "result"} else value for name, value in kept.items()}


@pytest.mark.parametrize("step", ["run/model#1", "run/tool.add#1", "run/model#3"])
@pytest.mark.parametrize(
    "change",
    [lambda kept: {"what": kept}, lambda kept: None, lambda kept: {**kept, "format": 99}, lambda kept: "text", emptied],
    ids=["another shape", "nothing", "another format", "a text", "empty inside"],
)
async def test_a_step_that_cannot_be_read_fails_the_turn_with_a_reason(
    server: ModelServer, journal: FakeJournal, step: str, change: Callable[..., Json]
) -> None:
    server.answer_with = adding
    effects = Effects()
    async with a_served_desk(server, effects.add) as desk:
        await desk.answer("helper", a_turn(), journal=journal, timeout_s=30)
        kept, told, asked = journal.kept[step], len(journal.told), len(server.requests)
        journal.kept[step] = change(kept)

        with pytest.raises(TurnUnreadable, match="another version"):
            await desk.answer("helper", a_turn(), journal=journal.resumed(), timeout_s=30)

    assert (len(journal.told), len(server.requests), effects.calls) == (told, asked, EFFECTS)


async def test_a_turn_whose_tools_came_out_differently_is_not_gone_on_with(
    server: ModelServer, journal: FakeJournal
) -> None:
    """As where a newer version has given a tool another name: what the model said next was said of something else."""
    server.answer_with = adding
    async with a_served_desk(server, Effects().add) as desk:
        await desk.answer("helper", a_turn(), journal=journal, timeout_s=30)
    asked = len(server.requests)

    async def add_name(ctx: ToolContext, name: str) -> str:
        """Add a name."""
        return f"added {name}"

    async with a_served_desk(server, add_name) as desk:
        with pytest.raises(TurnUnreadable):
            await desk.answer("helper", a_turn(), journal=journal.resumed(), timeout_s=30)

    assert len(server.requests) == asked


async def test_a_history_that_changed_meanwhile_stops_no_turn(server: ModelServer, journal: FakeJournal) -> None:
    server.answer_with = adding
    journal.dies_at = 12
    async with a_served_desk(server, Effects().add) as desk:
        with pytest.raises(Died):
            await desk.answer("helper", a_turn(history=an_exchange("a", "b")), journal=journal, timeout_s=30)
        said = await desk.answer("helper", a_turn(), journal=journal.resumed(), timeout_s=30)

    assert said.text == ANSWER


async def test_a_prompt_that_was_too_long_is_remembered(server: ModelServer, journal: FakeJournal) -> None:
    overflow = Failure(400, {"error": {"message": "too long", "type": "exceed_context_size_error"}})
    server.script(overflow, ["Hello."])
    turn = a_turn(history=an_exchange("a " * 400, "b"))
    async with a_served_desk(server) as desk:
        said = await desk.answer("helper", turn, journal=journal, timeout_s=30)
        again = await desk.answer("helper", turn, journal=journal.resumed(), timeout_s=30)

    assert said.text == again.text == "Hello."
    assert list(journal.kept) == ["run/model#1", "run/model#2"]
    assert len(server.requests) == 2


async def test_a_turn_whose_model_said_nothing_at_first_is_gone_on_with(journal: FakeJournal) -> None:
    async with a_desk(an_agent(), model=ScriptedModel("", "Hello.", "never")) as desk:
        said = await desk.answer("helper", a_turn(), journal=journal, timeout_s=10)
        again = await desk.answer("helper", a_turn(), journal=journal.resumed(), timeout_s=10)

    assert said.text == again.text == "Hello."


async def test_a_call_whose_arguments_were_wrong_is_gone_on_with(server: ModelServer, journal: FakeJournal) -> None:
    server.script(
        [Call("add", {"nom": 1})], [Call("nothing")], [Call("add", "{")], [Call("add", {"name": "x"})], ["Ok."]
    )
    effects = Effects()
    async with a_served_desk(server, effects.add) as desk:
        said = await desk.answer("helper", a_turn(), journal=journal, timeout_s=10)
        again = await desk.answer("helper", a_turn(), journal=journal.resumed(), timeout_s=10)

    assert said.text == again.text == "Ok."
    assert effects.calls == ["x"]
