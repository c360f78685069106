"""What a piece of research does: plans, asks side by side, goes on after its workers died, and reports."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pytest

from app.agents.contract import ALONE, UNMETERED, AgentFailed, Turn
from app.agents.errands import Errands
from app.agents.turns import Journal, Said, Spending, TurnEvent
from app.features.runs.domain.run import Run
from app.features.tasks.domain.task import TaskType
from app.infra.durable.ports import RunState
from app.infra.events.ports import EventType, RunEvent
from app.kernel.errors import ValidationFailed
from app.kernel.ids import RunId
from app.kernel.values import Json
from tests.fakes.agents import ScriptedAgents
from tests.fakes.chat_slice import ANN, PATIENCE_S
from tests.fakes.task_slice import TaskSlice

QUESTIONS = [f"What of part {number}?" for number in range(1, 11)]


@dataclass
class Researchers(ScriptedAgents):
    """Give a plan, an answer to each question, and a summary; `fails` names parts that cannot be answered.

    Each answer takes one of `turns`; `done` counts what was answered to its end.
    """

    plans: list[str] = field(default_factory=lambda: [json.dumps(QUESTIONS)])
    fails: set[str] = field(default_factory=set)
    done: Counter[str] = field(default_factory=Counter)
    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1000))
    at_once: int = 0
    most_at_once: int = 0

    async def answer(
        self,
        name: str,
        turn: Turn,
        *,
        journal: Journal,
        timeout_s: float,
        spending: Spending = UNMETERED,
        errands: Errands = ALONE,
    ) -> Said:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await self.turns.acquire()
            part = part_of(turn.text)
            self.replies.append(lambda turn: self._reply(part_of(turn.text)))
            if part.startswith("What"):
                called: dict[str, Json] = {"tool_call_id": "c", "tool": "search"}
                asked: dict[str, Json] = {**called, "request": 1, "arguments": {"at": f"https://in.test/{part[-2]}"}}
                await journal.tell(TurnEvent("tool_call_start", asked))
                await journal.tell(TurnEvent("tool_call_complete", {**called, "is_error": False, "result": "x"}))
            said = await super().answer(
                name, turn, journal=journal, timeout_s=timeout_s, spending=spending, errands=errands
            )
            self.done[part] += 1
            return said
        finally:
            self.at_once -= 1

    def _reply(self, part: str) -> str:
        if part in self.fails:
            raise AgentFailed("It knows nothing of that.")
        if part == "plan":
            return self.plans.pop(0) if len(self.plans) > 1 else self.plans[0]
        return f"{part} is known, see [the book](https://book.test/a)."


def part_of(prompt: str) -> str:
    found = re.search(r"Your part is:\n\n(.*?)\n\n", prompt)
    if found:
        return found[1]
    return "plan" if "You plan a piece of research" in prompt else "summary"


def a_desk(**agents: object) -> tuple[TaskSlice, Researchers]:
    researchers = Researchers(**agents)  # type: ignore[arg-type] # a test may say any
    return TaskSlice(agents=researchers), researchers


async def researched(desk: TaskSlice, prompt: str = "What of everything?") -> Run:
    async with desk.working():
        made = await desk.a_task(prompt, type_=TaskType.RESEARCH)
        return await desk.ended(made.run_id)


def progress_of(desk: TaskSlice, run_id: RunId) -> list[RunEvent]:
    return [event for event in desk.kept.runs[run_id].events if event.type is EventType.RUN_PROGRESS]


async def test_it_plans_asks_each_part_once_and_reports_with_its_sources() -> None:
    desk, agents = a_desk()

    run = await researched(desk)

    assert (run.status, run.trigger) == (RunState.COMPLETED, "research")
    assert agents.done == Counter(["plan", *QUESTIONS, "summary"])
    result = desk.kept.runs[run.id].result
    assert isinstance(result, dict)
    assert result["plan"] == QUESTIONS
    assert result["text"] == run.answer
    assert run.answer is not None
    assert run.answer.startswith("# What of everything?\n\n## Summary\n\nsummary is known")
    assert all(f"### {number}. {one}\n\n{one} is known" for number, one in enumerate(QUESTIONS, 1))
    assert "## Not answered" not in run.answer
    sources = {source["url"]: source["questions"] for source in result["sources"]}
    assert sources["https://book.test/a"] == list(range(1, 11))
    assert sources["https://in.test/3"] == [3]
    assert "1. [the book](https://book.test/a) (in 1, 2, 3, 4, 5, 6, 7, 8, 9, 10)" in run.answer


async def test_it_says_how_far_it_is_and_at_last_its_report() -> None:
    desk, _ = a_desk()

    run = await researched(desk)

    steps = [event.data for event in progress_of(desk, run.id)]
    assert [step["step"] for step in steps] == ["planned", *["answered"] * 10, "writing"]
    assert {step["question"] for step in steps[1:-1]} == set(range(1, 11))
    done = [step["done"] for step in steps]
    assert done == sorted(done)  # type: ignore[type-var] # numbers
    assert (done[0], done[-1], {step["total"] for step in steps}) == (0, 10, {10})
    said = [event.data["text"] for event in desk.kept.runs[run.id].events if event.type is EventType.TEXT_DELTA]
    assert "".join(map(str, said)) == run.answer
    assert desk.outcomes.noted[0].text == run.answer
    assert len(desk.outcomes.noted) == 1  # the parts are not the task's runs


async def test_so_many_are_looked_into_at_the_same_time() -> None:
    desk, agents = a_desk()
    agents.turns = asyncio.Semaphore(1)

    async with desk.working():
        made = await desk.a_task("All?", type_=TaskType.RESEARCH, settings={"at_once": 3})
        for _ in range(11):
            await asyncio.sleep(0.05)
            agents.turns.release()
        await desk.ended(made.run_id)

    assert agents.most_at_once == 3


async def test_workers_that_go_twice_repeat_no_part_that_was_finished() -> None:
    desk, agents = a_desk()
    agents.turns = asyncio.Semaphore(0)
    made = await desk.a_task("What of everything?", type_=TaskType.RESEARCH)

    for enough in (4, 8):  # the plan, and a few of the parts, each time
        async with desk.working():
            agents.turns = asyncio.Semaphore(4)
            await until(lambda enough=enough: agents.done.total() >= enough)  # type: ignore[misc] # its default
            await asyncio.sleep(0.05)  # for their ends to be written down
    agents.turns = asyncio.Semaphore(1000)
    async with desk.working():
        run = await desk.ended(made.run_id)

    assert run.status is RunState.COMPLETED
    assert agents.done == Counter(["plan", *QUESTIONS, "summary"])
    steps = [event.data["step"] for event in progress_of(desk, run.id)]
    assert steps == ["planned", *["answered"] * 10, "writing"]


async def test_parts_that_fail_are_reported() -> None:
    desk, agents = a_desk()
    agents.fails = set(QUESTIONS[:3])

    run = await researched(desk)

    assert run.status is RunState.COMPLETED
    assert run.answer is not None
    assert "## Not answered\n\n- 1. What of part 1? (agent-failed: It knows nothing of that.)" in run.answer
    assert "### 1." not in run.answer
    assert "### 4. What of part 4?" in run.answer
    assert [event.data["step"] for event in progress_of(desk, run.id)].count("failed") == 3


async def test_too_many_that_fail_are_a_failure() -> None:
    desk, agents = a_desk()
    agents.fails = set(QUESTIONS[:6])

    run = await researched(desk)

    assert run.status is RunState.FAILED
    assert run.error is not None
    assert run.error.type == "research-failed"
    assert run.error.detail.startswith("6 of 10 sub-questions were not answered; the first: agent-failed")
    assert "summary" not in agents.done


async def test_a_plan_that_cannot_be_read_is_mended_once() -> None:
    desk, agents = a_desk()
    agents.plans = ["1. Part one\n2. Part two", '```json\n["What of part 1?"]\n```']

    run = await researched(desk)

    assert run.status is RunState.COMPLETED
    assert agents.done == Counter(["plan", "plan", QUESTIONS[0], "summary"])
    mend = [turn.text for _, turn in agents.asked][1]
    assert "1. Part one\n2. Part two" in mend
    assert "It is no JSON array of strings" in mend


async def test_without_a_plan_the_whole_is_the_question() -> None:
    desk, agents = a_desk()
    agents.plans = ["no"]

    run = await researched(desk, "What of\n  everything?")

    assert run.status is RunState.COMPLETED
    assert agents.done == Counter(["plan", "plan", "What of everything?", "summary"])


async def test_who_cannot_even_plan_fails_at_once() -> None:
    desk, agents = a_desk()
    agents.fails = {"plan"}

    run = await researched(desk)

    assert run.error is not None
    assert run.error.type == "research-not-planned"


async def test_a_summary_that_fails_leaves_the_findings() -> None:
    desk, agents = a_desk()
    agents.fails = {"summary"}

    run = await researched(desk)

    assert run.answer is not None
    assert "No summary could be written (agent-failed: It knows nothing of that.)" in run.answer
    assert "### 10. What of part 10?" in run.answer


async def test_whoever_stops_it_stops_its_parts() -> None:
    desk, agents = a_desk()
    agents.turns = asyncio.Semaphore(3)

    async with desk.working():
        made = await desk.a_task("All?", type_=TaskType.RESEARCH)
        assert made.run_id is not None
        await until(lambda: agents.done.total() == 3 and agents.at_once == 5)
        await desk.engine.cancel(made.run_id)
        await until(lambda: all(run.state.is_final for run in desk.kept.runs.values()))

    states = Counter(run.state for run in desk.kept.runs.values())
    assert states[RunState.COMPLETED] == 3
    assert states[RunState.INTERRUPTED] == len(desk.kept.runs) - 3 >= 6


@pytest.mark.parametrize(
    ("settings", "field_"),
    [
        ({"questions": 0}, "settings.questions"),
        ({"questions": 21}, "settings.questions"),
        ({"at_once": True}, "settings.at_once"),
        ({"depth": 3}, "settings.depth"),
    ],
    ids=["none", "too many", "no number", "unknown"],
)
async def test_options_that_cannot_be_are_refused(settings: Mapping[str, Json], field_: str) -> None:
    desk, _ = a_desk()

    with pytest.raises(ValidationFailed) as refused:
        await desk.a_task("All?", type_=TaskType.RESEARCH, settings=settings)

    assert [error.field for error in refused.value.errors] == [field_]


async def test_everybody_acts_in_the_owners_name() -> None:
    desk, agents = a_desk()

    await researched(desk)

    assert {turn.caller.user_id for _, turn in agents.asked} == {ANN.user_id}
    acting = [turn.caller.acting for _, turn in agents.asked]
    assert len({one.run_id for one in acting if one is not None}) == 12


async def until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not is_so():  # noqa: ASYNC110 - polled, with a deadline
            await asyncio.sleep(0.005)
