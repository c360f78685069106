"""Reads of one answer are made at once, in one step; whatever is no read keeps its order."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from app.agents.contract import Offer, Risk, ToolContext, ToolRefused, tool
from app.agents.rules import Verdict
from app.agents.tools.binding import bind
from app.agents.tools.interceptors import UNGUARDED, Interceptors, ToolCall
from app.agents.tools.performing import perform
from app.agents.tools.together import AT_ONCE, fitted, side_by_side
from app.agents.turns import BudgetReached
from app.agents.work import Judged, WantedCall, Work
from app.kernel.values import Json
from tests.fakes.front_door import FakeFrontDoor
from tests.fakes.journal import Died, FakeJournal, FakeSpending
from tests.model_server import Call, ModelServer, Part, Request
from tests.unit.agents.desk import a_turn
from tests.unit.agents.served import a_served_desk


@dataclass
class Office:
    """Tools that tell how many of them worked at the same moment; `keys` are those of the calls."""

    rest_s: float = 0.0
    working: int = 0
    most: int = 0
    done: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)

    @property
    def tools(self) -> list[Offer]:
        @tool(risk=Risk.READS)
        async def read(ctx: ToolContext, name: str) -> str:
            """Read a page."""
            return await self._work("read", name, ctx)

        @tool(risk=Risk.WRITES_OUTSIDE)
        async def write(ctx: ToolContext, name: str) -> str:
            """Write a page."""
            return await self._work("write", name, ctx)

        @tool(risk=Risk.READS, is_idempotent=False)
        async def draw(ctx: ToolContext, name: str) -> str:
            """Draw a number, which is gone then."""
            return await self._work("draw", name, ctx)

        return [read, write, draw]

    async def _work(self, what: str, name: str, ctx: ToolContext) -> str:
        self.keys.append(ctx.idempotency_key)
        self.working += 1
        self.most = max(self.most, self.working)
        try:
            await asyncio.sleep(self.rest_s)
            if name == "secret":
                raise ToolRefused("Not this one.")
            if name == "broken":
                raise RuntimeError("no")
        finally:
            self.working -= 1
        self.done.append(f"{what} {name}")
        return f"{what} {name}"

    def work(self, journal: FakeJournal, *wanted: str, spending: FakeSpending | None = None) -> Work:
        """A turn whose model wants `TOOL NAME`s."""
        bound = [bind(one) for one in self.tools]  # type: ignore[arg-type] # each is a function
        calls = [WantedCall(f"call-{at}", *_split(one)) for at, one in enumerate(wanted)]
        tools = {one.name: one for one in bound}
        return Work(a_turn(), FakeFrontDoor(), journal, spending or FakeSpending(), request=2, tools=tools, calls=calls)

    async def perform(self, work: Work, interceptors: Interceptors = UNGUARDED) -> list[str]:
        """Make the calls one after the other, as the model library does."""
        came_to = []
        for wanted in work.calls:
            call = ToolCall(wanted.id, work.tools[wanted.tool], wanted.arguments or {}, work)
            try:
                came_to.append(str(await perform(call, interceptors)))
            except ToolRefused as refused:
                came_to.append(refused.reason)
        return came_to


def _split(text: str) -> tuple[str, Mapping[str, Json]]:
    what, _, name = text.partition(" ")
    return what, {"name": name}


async def test_six_reads_of_a_second_take_about_a_second(server: ModelServer) -> None:
    office = Office(rest_s=1.0)

    def answer(request: Request) -> Sequence[Part]:
        results = [message["content"] for message in request.body["messages"] if message["role"] == "tool"]
        return ["; ".join(results)] if results else [Call("read", {"name": str(at)}) for at in range(6)]

    server.answer_with = answer
    async with a_served_desk(server, *office.tools) as desk:
        began_s = time.monotonic()
        said = await desk.answer("helper", a_turn(), journal=FakeJournal(), timeout_s=30)
        seconds = time.monotonic() - began_s

    print(f"six reads of one second took {seconds:.2f} s")  # noqa: T201 - a figure
    assert said.text == "; ".join(f"read {at}" for at in range(6))
    assert office.most == 6
    assert seconds < 4


async def test_reads_side_by_side_are_one_step_and_each_is_told_paid_and_keyed() -> None:
    office, journal, spending = Office(0.01), FakeJournal(), FakeSpending()

    came_to = await office.perform(office.work(journal, "read a", "read secret", "read broken", spending=spending))

    assert came_to == ["read a", "Not this one.", "The tool read failed; the failure was logged. Do without it."]
    assert list(journal.kept) == ["run/reads#1"]
    assert sorted(office.keys) == ["run/reads#1.0", "run/reads#1.1", "run/reads#1.2"]
    assert sorted(key for key, _ in spending.settled) == sorted(office.keys)
    assert spending.open == set()
    told = {
        call: [one.type for one in journal.told if one.data["tool_call_id"] == call] for call in ("call-0", "call-1")
    }
    assert set(map(tuple, told.values())) == {("tool_call_start", "tool_call_complete")}


@pytest.mark.parametrize(
    ("wanted", "steps", "most"),
    [
        pytest.param(["read a", "write b", "read c"], ["tool.read#1", "tool.write#1", "tool.read#2"], 1, id="apart"),
        pytest.param(
            ["read a", "read b", "write c", "read d", "read e"], ["reads#1", "tool.write#1", "reads#2"], 2, id="runs"
        ),
        pytest.param(["write a", "write b"], ["tool.write#1", "tool.write#2"], 1, id="writes"),
        pytest.param(["draw a", "draw b"], ["tool.draw#1", "tool.draw#2"], 1, id="not to be done again"),
        pytest.param([f"read {at}" for at in range(AT_ONCE + 2)], ["reads#1", "reads#2"], AT_ONCE, id="bounded"),
    ],
)  # fmt: skip
async def test_only_reads_that_stand_side_by_side_are_made_at_once(
    wanted: list[str], steps: list[str], most: int
) -> None:
    office, journal = Office(0.01), FakeJournal()

    came_to = await office.perform(office.work(journal, *wanted))

    assert came_to == wanted
    assert [name.removeprefix("run/") for name in journal.kept] == steps
    assert office.most == most


async def test_a_turn_that_goes_on_reads_nothing_again() -> None:
    office, journal = Office(), FakeJournal()
    first = await office.perform(office.work(journal, "read a", "read b", "read secret"))
    told = len(journal.told)

    again = await office.perform(office.work(journal.resumed(), "read a", "read b", "read secret"))

    assert again == first
    assert office.done == ["read a", "read b"]
    assert len(journal.told) == told


async def test_wherever_the_program_dies_the_turn_comes_to_the_same() -> None:
    dies_at, is_through = 0, False

    while not is_through:
        dies_at += 1
        office, journal = Office(), FakeJournal(dies_at=dies_at)
        try:
            came_to = await office.perform(office.work(journal, "read a", "read b"))
            is_through = True
        except Died:
            came_to = await office.perform(office.work(journal.resumed(), "read a", "read b"))

        assert came_to == ["read a", "read b"]
        void = {one.data["tool_call_id"] for one in journal.of("stream_retry")}
        started = [one.data["tool_call_id"] for one in journal.of("tool_call_start")]
        assert {call for call in started if started.count(call) > 1} <= void

    assert dies_at > 5


async def test_what_a_person_has_yet_to_approve_is_not_among_them() -> None:
    office, journal = Office(), FakeJournal()
    work = office.work(journal, "read a", "read b", "read c")
    work.judged = [Judged("call-1", Verdict.ALLOW), Judged("call-2", Verdict.ASK)]
    call = ToolCall("call-0", work.tools["read"], {"name": "a"}, work)

    assert [one.id for one in side_by_side(call, is_guarded=True)] == ["call-0", "call-1"]
    assert [one.id for one in side_by_side(call, is_guarded=False)] == ["call-0", "call-1", "call-2"]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"id": "call-0"}, id="an id that came before"),
        pytest.param({"tool": "unknown"}, id="no such tool"),
        pytest.param({"arguments": None}, id="no arguments"),
        pytest.param({"arguments": {"colour": "red"}}, id="other arguments"),
    ],
)
async def test_what_will_not_be_made_as_it_was_asked_for_is_not_among_them(change: dict[str, Any]) -> None:
    office = Office()
    work = office.work(FakeJournal(), "read a", "read b")
    other = {"id": "call-1", "tool": "read", "arguments": {"name": "b"}, **change}
    work.calls = [work.calls[0], WantedCall(**other)]
    call = ToolCall("call-0", work.tools["read"], {"name": "a"}, work)

    assert side_by_side(call, is_guarded=False) == [call]


async def test_a_budget_that_is_reached_among_them_ends_the_turn_and_leaves_nothing_reserved() -> None:
    office, journal, spending = Office(0.01), FakeJournal(), FakeSpending(allows=2)

    with pytest.raises(BudgetReached):
        await office.perform(office.work(journal, "read a", "read b", "read c", spending=spending))

    assert spending.open == set()
    assert office.working == 0
    assert not journal.kept


async def test_a_turn_that_is_cancelled_stops_all_of_them() -> None:
    office, journal, spending = Office(30), FakeJournal(), FakeSpending()
    work = office.work(journal, "read a", "read b", spending=spending)

    async with asyncio.TaskGroup() as turns:
        turn = turns.create_task(office.perform(work))
        await journal.until(lambda: len(journal.told) == 2)
        turn.cancel()

    assert turn.cancelled()
    assert (office.working, office.done, spending.open) == (0, [], set())


def test_what_is_long_is_shortened_until_all_of_it_can_be_kept() -> None:
    made: dict[str, Mapping[str, Json]] = {
        "a": {"result": '"' * 5000},
        "b": {"result": "short"},
        "c": {"result": {"x": "y" * 900}},
    }

    kept = fitted(made, 4000)

    assert len(str(kept)) < 4000
    assert kept["b"] == {"result": "short"}
    assert "[cut: the result has 5000 bytes" in str(kept["a"])
    assert fitted(made, 100_000) == made
