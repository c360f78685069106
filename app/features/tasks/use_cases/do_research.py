"""Do a piece of research: plan, look into the parts side by side, and report. It asks no agent itself.

Facts
- Whatever an agent is asked is a run of its own, begun by this one: it is asked once, whoever dies meanwhile, and what
  it spends counts for this run's budgets too.
- This handler begins again each time one of them ends. It comes to the same, for what it goes by was kept: the options
  and the sources as steps, the answers as the results of those runs.
- What was told before is read back and not told again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from app.agents.turns import Fold
from app.features.runs.ports import RunStore
from app.features.runs.use_cases.read_answer import TEXT
from app.features.tasks.domain import research, task
from app.features.tasks.domain.order import TaskOrder
from app.features.tasks.domain.report import write_report
from app.features.tasks.domain.research import Finding, Options, PlanUnreadable
from app.features.tasks.domain.sources import CALLS, joined, sources_of
from app.features.tasks.ports import TaskStore
from app.features.tasks.use_cases.check_order import CheckOrder
from app.features.tasks.use_cases.end_task import EndTask
from app.infra.durable.ports import ChildEnd, Ended, NewChild, RunContext, RunError, RunFailed, RunState, StepKey
from app.infra.events.ports import EventType, NewEvent
from app.kernel.ids import RunId
from app.kernel.storable import storable_text
from app.kernel.transaction import Begin, Tx
from app.kernel.values import Json

PIECE_LIMIT_CHARS = 8 * 1024
PROBLEM_LIMIT_CHARS = 300


@dataclass(frozen=True, slots=True)
class DoResearch:
    """The handler of runs of the kind "research".

    A sub-question that fails is reported; when more than half of them do, the run fails. An agent that cannot make a
    plan, told once what is wrong with it, is asked the whole as the only question.
    """

    begin: Begin
    tasks: TaskStore
    runs: RunStore
    check: CheckOrder
    end: EndTask

    async def run(self, context: RunContext) -> Json:
        order = await self.check(context.job)
        work = _Work(context, order, await self._told(context))
        options = Options.of(await context.step("options", lambda _: self._settings(order)))
        questions = await self._plan(work, options)
        await work.tell("planned", done=0, total=len(questions), questions=list(questions))
        asked = await self._look_into(work, questions, at_once=options.at_once)
        findings = [
            await self._finding(work, run_id, question) for run_id, question in zip(asked, questions, strict=True)
        ]
        if research.too_many_failed(findings):
            raise RunFailed(_failure_of(findings))
        await work.tell("writing", done=len(questions), total=len(questions))
        summary = await self._ask(work, "summary", research.ask_for_summary(order.prompt, findings))
        sources = joined([finding.sources for finding in findings])
        report = write_report(order.prompt, summary=summary, findings=findings, sources=sources)
        await work.say(report)
        return {"text": report, "sources": list(sources), "plan": [storable_text(one) for one in questions]}

    async def settle(self, tx: Tx, ended: Ended) -> Sequence[NewEvent]:
        return await self.end.settle(tx, ended)

    async def _told(self, context: RunContext) -> "_Told":
        told = _Told()
        if context.job.epoch > 1:
            async with self.begin() as tx:
                for event in await self.runs.events(tx, context.job.id, (EventType.RUN_PROGRESS, *TEXT)):
                    told.add(event.type, event.data)
        return told

    async def _settings(self, order: TaskOrder) -> Json:
        async with self.begin() as tx:
            found = await self.tasks.find(tx, order.task_id)
        return None if found is None or found.settings is None else dict(found.settings)

    # --- the plan

    async def _plan(self, work: "_Work", options: Options) -> Sequence[str]:
        """Have a plan made, and mended once. Errors: RunFailed, where there is nobody who makes one."""
        most, prompt = options.questions, work.order.prompt
        answer = await self._ask(work, "plan", research.ask_for_plan(prompt, at_most=most))
        for is_last in (False, True):
            if not answer.is_answered:
                raise RunFailed(RunError("research-not-planned", f"No plan could be made: {answer.problem}"))
            try:
                return research.read_plan(answer.text, at_most=most)
            except PlanUnreadable as unreadable:
                if is_last:
                    break
                mend = research.ask_to_mend(prompt, answer=answer.text, problem=str(unreadable), at_most=most)
            answer = await self._ask(work, "plan", mend)
        return [" ".join(prompt.split())[: research.QUESTION_LIMIT_CHARS]]

    # --- the parts

    async def _look_into(self, work: "_Work", questions: Sequence[str], *, at_once: int) -> Sequence[RunId]:
        """Have every question answered, so many at once; give the runs that did."""
        begun: list[RunId] = []
        for question in questions:
            if len(begun) >= at_once:
                await work.join(begun, at_least=len(begun) - at_once + 1, of=questions)
            begun.append(await work.begin("question", research.ask_question(work.order.prompt, question)))
        await work.join(begun, at_least=len(begun), of=questions)
        return begun

    async def _finding(self, work: "_Work", run_id: RunId, question: str) -> Finding:
        async def collect(_key: StepKey) -> Json:
            answer = await self._answer(work, run_id, question)
            async with self.begin() as tx:
                calls = await self.runs.events(tx, run_id, CALLS)
            sources = sources_of(answer.text, calls) if answer.is_answered else ()
            return Finding(question, answer.text, answer.problem, sources).as_json()

        return Finding.of(question, await work.context.step("finding", collect))

    # --- asking

    async def _ask(self, work: "_Work", name: str, prompt: str) -> Finding:
        """Have something answered that the rest waits for."""
        run_id = await work.begin(name, prompt)
        await work.context.join([run_id])
        return await self._answer(work, run_id, name)

    async def _answer(self, work: "_Work", run_id: RunId, question: str) -> Finding:
        """Read what came of a run that is over."""
        end = (await work.context.join([run_id]))[run_id]
        if end.state is not RunState.COMPLETED:
            return Finding(question, problem=_problem_of(end))
        result = await work.context.read_child(run_id)
        text = result.get("text") if isinstance(result, Mapping) else None
        limited = research.clipped(storable_text(text), research.ANSWER_LIMIT_CHARS) if isinstance(text, str) else ""
        return Finding(question, limited) if limited.strip() else Finding(question, problem="It gave no answer.")


@dataclass(slots=True)
class _Told:
    """What a run has said of how far it is, and of its report."""

    steps: set[tuple[Json, Json]] = field(default_factory=set)
    text: Fold = field(default_factory=Fold)

    def add(self, type_: EventType, data: Mapping[str, Json]) -> None:
        if type_ is EventType.RUN_PROGRESS:
            self.steps.add((data.get("step"), data.get("question")))
        else:
            self.text.add(type_, data)


@dataclass(slots=True)
class _Work:
    """A run under way: what it begins, waits for and tells."""

    context: RunContext
    order: TaskOrder
    told: _Told

    async def begin(self, name: str, prompt: str) -> RunId:
        """Have the run's agent asked, in a run of its own, with the rights of this one."""
        job = self.context.job
        asked = {**{key: value for key, value in job.input.items() if key != "extra"}, "prompt": prompt}
        return await self.context.begin(name, NewChild(task.KIND, task.Trigger.RESEARCH.value, asked, job.agent))

    async def join(self, begun: Sequence[RunId], *, at_least: int, of: Sequence[str]) -> None:
        """Wait until so many are over; tell of each that is."""
        ends = await self.context.join(begun, at_least=0)
        for number, run_id in enumerate(begun, start=1):
            if run_id in ends:
                await self._tell_end(ends[run_id], run_id, number, of, done=len(ends))
        await self.context.join(begun, at_least=at_least)

    async def _tell_end(self, end: ChildEnd, run_id: RunId, number: int, of: Sequence[str], *, done: int) -> None:
        step = "answered" if end.state is RunState.COMPLETED else "failed"
        await self.tell(step, question=number, text=of[number - 1], run=str(run_id), done=done, total=len(of))

    async def tell(self, step: str, *, question: int | None = None, **data: Json) -> None:
        """Say how far the work is, once."""
        if (step, question) not in self.told.steps:
            self.told.steps.add((step, question))
            told: dict[str, Json] = {"kind": research.KIND, "step": step, "question": question, **data}
            await self.context.progress([NewEvent(EventType.RUN_PROGRESS, told)])

    async def say(self, report: str) -> None:
        """Say the report, or what is left of it, as every answer is said."""
        start = len(self.told.text.text)
        pieces = [report[at : at + PIECE_LIMIT_CHARS] for at in range(start, len(report), PIECE_LIMIT_CHARS)]
        for piece in pieces:
            await self.context.progress([NewEvent(EventType.TEXT_DELTA, {"request": 1, "text": piece})])


def _problem_of(end: ChildEnd) -> str:
    if end.error is not None:
        return f"{end.error.type}: {end.error.detail}"[:PROBLEM_LIMIT_CHARS]
    return "it was stopped"


def _failure_of(findings: Sequence[Finding]) -> RunError:
    failed = [finding for finding in findings if not finding.is_answered]
    detail = f"{len(failed)} of {len(findings)} sub-questions were not answered; the first: {failed[0].problem}"
    return RunError("research-failed", detail)
