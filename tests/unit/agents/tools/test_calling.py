"""What a tool is called with and how: its key, its thread, what it shows."""

import asyncio
import threading

import pytest

from app.agents.contract import ToolContext, tool, traits_of
from app.agents.llm.scripted import Call, ScriptedModel
from app.agents.tools.calling import SHOWN_LIMIT_BYTES, THREADS, shown
from tests.fakes.front_door import CALENDARS, FakeFrontDoor
from tests.fakes.journal import FakeJournal
from tests.unit.agents.desk import a_desk, a_turn, an_agent


async def make_two(ctx: ToolContext) -> str:
    """Make two calendars, and look in between."""
    await ctx.call("POST", CALENDARS, json={"name": "a"})
    await ctx.call("GET", CALENDARS)
    await ctx.call("post", CALENDARS, json={"name": "b"})
    return "made"


async def test_each_unsafe_request_of_a_call_has_a_key_of_its_own(journal: FakeJournal) -> None:
    door = FakeFrontDoor()
    model = ScriptedModel(Call("make_two", {}), Call("make_two", {}), "Done.")
    async with a_desk(an_agent(tools=[make_two]), model=model, front_door=door) as desk:
        await desk.answer("helper", a_turn(), journal=journal, timeout_s=10)

    assert [(asked.method, asked.idempotency_key) for asked in door.asked] == [
        ("POST", "run/tool.make_two#1.1"),
        ("GET", ""),
        ("post", "run/tool.make_two#1.2"),
        ("POST", "run/tool.make_two#2.1"),
        ("GET", ""),
        ("post", "run/tool.make_two#2.2"),
    ]


async def test_a_plain_function_works_in_a_thread_of_its_own(journal: FakeJournal) -> None:
    threads: list[int] = []

    def compute(ctx: ToolContext, number: int) -> int:
        """Compute."""
        threads.append(threading.get_ident())
        return number * 2

    model = ScriptedModel(Call("compute", {"number": 21}), "Done.")
    async with a_desk(an_agent(tools=[compute]), model=model) as desk:
        await desk.answer("helper", a_turn(), journal=journal, timeout_s=10)

    assert model.seen[1].results == ("42",)
    assert threads != [threading.get_ident()]


async def test_blocking_functions_hold_up_nobody_and_are_bounded() -> None:
    """As many as there are threads block; the loop goes on, and one more waits until one of them is done."""
    may_end = threading.Event()
    at_work = threading.Semaphore(0)
    began: list[int] = []

    def block(ctx: ToolContext) -> str:
        """Block."""
        began.append(1)
        at_work.release()
        may_end.wait(30)
        return "done"

    turns = THREADS + 1
    model = ScriptedModel(*[Call("block", {})] * turns, *["Done."] * turns)
    async with a_desk(an_agent(tools=[block]), model=model) as desk, asyncio.TaskGroup() as group:
        await desk.prepare()
        asked = [
            group.create_task(desk.answer("helper", a_turn(), journal=FakeJournal(), timeout_s=60))
            for _ in range(turns)
        ]
        for _ in range(THREADS):
            assert await asyncio.to_thread(at_work.acquire, timeout=20)
        await asyncio.sleep(0)

        assert len(began) == THREADS
        may_end.set()

    assert all(turn.result().text == "Done." for turn in asked)
    assert len(began) == turns


async def test_a_plain_function_that_breaks_is_a_result_like_any_other(journal: FakeJournal) -> None:
    def broken(ctx: ToolContext) -> str:
        """Break."""
        raise KeyError("inner secret")

    model = ScriptedModel(Call("broken", {}), "I see")
    async with a_desk(an_agent(tools=[broken]), model=model) as desk:
        await desk.answer("helper", a_turn(), journal=journal, timeout_s=10)

    assert "The tool broken failed" in model.seen[1].results[0]
    assert "inner secret" not in repr(journal.told)


def test_a_tool_is_idempotent_unless_it_says_otherwise() -> None:
    @tool(is_idempotent=False)
    async def pay(ctx: ToolContext) -> str:
        """Pay."""
        return "paid"

    assert not traits_of(pay).is_idempotent
    assert traits_of(make_two).is_idempotent


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"a": [1, None]}, {"a": [1, None]}),
        ("x" * 20_000, '"' + "x" * (SHOWN_LIMIT_BYTES - 1) + "…"),
        (float("nan"), None),
        ("a\0b", "ab"),
        ("\ud83d", "?"),
    ],
    ids=["values", "long", "no number", "nul", "half a pair"],
)
def test_what_is_shown_of_a_value_is_json_and_bounded(value: object, told: object) -> None:
    assert shown(value) == told
