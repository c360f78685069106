"""What `portico run` prints and how it ends, over the use cases of tasks with fakes; the program is in `tests/e2e`."""

import io
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from dishka import Provider

from app.agents.contract import AgentFailed
from app.features.notifications.domain.news import Channel, Delivery, DeliveryState, Target
from app.features.runs.use_cases.cancel_run import CancelRun
from app.infra.observability.background import Background
from app.kernel.ids import RunId
from app.kernel.shared_use import one_at_a_time
from app.kernel.worker import WorkerPlace
from app.settings import Settings
from app.surfaces.cli import run_agent
from app.surfaces.cli.command_failed import CommandFailed
from app.surfaces.cli.root import Root
from app.surfaces.cli.run_agent import Output, Wish, read_notify, read_prompt
from app.surfaces.headless.desk import HeadlessDesk
from app.surfaces.headless.state import MAX_AT_ONCE
from tests.fakes.chat_slice import ANN
from tests.fakes.durable import FakeWorker
from tests.fakes.task_slice import TaskSlice

type Meanwhile = Callable[[TaskSlice], Awaitable[None]]


@dataclass
class FakeRoot:
    """Of the composition root only what this command asks for; `left` are prompts of an earlier start."""

    tasks: TaskSlice = field(default_factory=TaskSlice)
    left: tuple[str, ...] = ()
    meanwhile: Meanwhile | None = None
    settings: Settings | None = None
    places: list[WorkerPlace] = field(default_factory=list)
    told: Delivery | None = None
    states: Sequence[DeliveryState] = (DeliveryState.PENDING, DeliveryState.PENDING, DeliveryState.DELIVERED)
    looks: int = 0

    @asynccontextmanager
    async def create_headless(
        self, settings: Settings, place: WorkerPlace, *overrides: Provider
    ) -> AsyncIterator[HeadlessDesk]:
        tasks, self.settings = self.tasks, settings
        self.places.append(place)
        for prompt in self.left:
            await tasks.a_task(prompt)
        cancel = CancelRun(tasks.begin, tasks.runs, tasks.engine, tasks.log, tasks.audit)
        background = Background()
        background.add("worker", FakeWorker(tasks.kept, tasks.handlers).work)
        if self.meanwhile is not None:
            background.add("meanwhile", partial(self.meanwhile, tasks))
        async with background.running():
            yield HeadlessDesk(ANN, tasks.begin, tasks.create, tasks.runs, tasks.log, cancel, self.deliveries)

    async def deliveries(self, run_id: RunId) -> Sequence[Delivery]:
        del run_id
        self.looks += 1
        return (
            [] if self.told is None else [replace(self.told, state=self.states[min(self.looks, len(self.states)) - 1])]
        )


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeRoot:
    monkeypatch.chdir(tmp_path)
    return FakeRoot()


@pytest.fixture
def printed(capsys: pytest.CaptureFixture[str]) -> Callable[[], tuple[str, str]]:
    return lambda: tuple(capsys.readouterr())  # type: ignore[return-value] # of two texts


type Printed = Callable[[], tuple[str, str]]


def ended(root: FakeRoot, prompt: str | None = "hello", **wish: object) -> int:
    return run_agent.run(cast("Root", root), Wish(prompt, state_dir=Path("state"), **cast("dict[str, Any]", wish)))


async def interrupt(tasks: TaskSlice) -> None:
    """Press Ctrl-C when the agent thinks."""
    await tasks.agents.is_asked.wait()
    os.kill(os.getpid(), signal.SIGINT)


def test_an_answer_goes_to_stdout_and_nothing_else_does(root: FakeRoot, printed: Printed) -> None:
    root.tasks.agents.replies.append("Good morning")

    assert ended(root, agent="support") == 0

    assert printed() == ("Good morning\n", "")
    assert [(name, turn.text) for name, turn in root.tasks.agents.asked] == [("support", "hello")]


def test_one_object_tells_all_of_it(root: FakeRoot, printed: Printed) -> None:
    root.tasks.agents.replies.append("Good morning")

    assert ended(root, output=Output.JSON) == 0

    told = json.loads(printed()[0])
    assert told.keys() == {"run_id", "status", "agent", "text", "error", "usage"}
    assert (told["status"], told["text"], told["agent"], told["error"]) == ("completed", "Good morning", "echo", None)


def test_events_come_as_lines(root: FakeRoot, printed: Printed) -> None:
    assert ended(root, output=Output.EVENTS) == 0

    events = [json.loads(line) for line in printed()[0].splitlines()]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert [events[0]["type"], events[-1]["type"]] == ["run_queued", "run_completed"]


def test_a_run_that_fails_says_why(root: FakeRoot, printed: Printed) -> None:
    root.tasks.agents.replies.append(AgentFailed("It refused."))

    assert ended(root, output=Output.JSON) == 1

    out, err = printed()
    assert json.loads(out)["error"] == {"type": "agent-failed", "detail": "It refused."}
    assert "failed: It refused. (agent-failed)" in err


def test_ctrl_c_cancels_the_run_and_says_so(root: FakeRoot, printed: Printed) -> None:
    root.tasks.agents.hold()
    root.meanwhile = interrupt

    assert ended(root, output=Output.JSON) == 1

    out, err = printed()
    assert json.loads(out)["status"] == "interrupted"
    assert "interrupted from the keyboard" in err
    assert "was cancelled" in err
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_takes_too_long_is_cancelled(root: FakeRoot, printed: Printed) -> None:
    root.tasks.agents.hold()

    assert ended(root, timeout_s=0.05) == 1

    assert "not done within 0.05 seconds" in printed()[1]


def test_what_was_left_is_told_and_goes_on_beside(root: FakeRoot, printed: Printed) -> None:
    root.left = ("earlier",)

    assert ended(root) == 0

    out, err = printed()
    assert out == "hello\n"
    assert "of an earlier start was not over; it goes on beside this one" in err
    assert {turn.text for _, turn in root.tasks.agents.asked} == {"earlier", "hello"}


def test_to_resume_is_to_finish_what_was_left_and_nothing_more(root: FakeRoot, printed: Printed) -> None:
    root.left = ("one", "two")

    assert ended(root, None) == 0

    out, err = printed()
    assert out == "one\ntwo\n"
    assert err.count("goes on") == 2
    assert len(root.tasks.agents.asked) == 2


def test_where_nothing_was_left_there_is_nothing_to_resume(root: FakeRoot, printed: Printed) -> None:
    assert ended(root, None) == 0

    assert printed() == ("", "portico: no run was left\n")


@pytest.mark.parametrize(
    ("prompt", "agent", "words"), [("hello", "nobody", "agent: "), ("", None, "prompt: "), ("x\0", None, "prompt: ")]
)
def test_what_cannot_be_asked_is_bad_usage(root: FakeRoot, prompt: str, agent: str | None, words: str) -> None:
    with pytest.raises(CommandFailed, match=words) as failed:
        ended(root, prompt, agent=agent)

    assert failed.value.code == 2
    assert root.tasks.kept.runs == {}


def test_a_gateways_database_and_door_are_not_its_business(
    root: FakeRoot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("POSTGRES_DSN", "postgresql://somebody@db/prod")
    monkeypatch.setenv("FRONT_DOOR_URL", "http://gateway.example")
    monkeypatch.setenv("DEFAULT_MODEL", "scripted")

    ended(root, model="none")

    assert root.settings is not None
    assert (root.settings.postgres_dsn, root.settings.front_door_url) == ("", "")
    assert (root.settings.data_dir, root.settings.default_model) == (tmp_path / "state", "none")
    assert root.settings.approval_unattended == "deny"


def test_each_takes_a_place_of_its_own_and_follows_who_had_it_before(root: FakeRoot) -> None:
    ended(root)
    ended(root)

    first, second = root.places
    assert (first.predecessor, second.predecessor) == ("", first.name)
    assert first.name != second.name


def test_no_more_use_a_folder_at_once_than_have_a_place(root: FakeRoot) -> None:
    with ExitStack() as others:
        for number in range(MAX_AT_ONCE):
            others.enter_context(one_at_a_time(Path("state").absolute() / f"place-{number}.lock"))

        with pytest.raises(CommandFailed, match="16 programs use"):
            ended(root)


def test_a_folder_that_cannot_be_made_is_told(root: FakeRoot) -> None:
    Path("state").write_text("a file")

    with pytest.raises(CommandFailed, match="name another with --state-dir"):
        ended(root)


@pytest.mark.parametrize("words", [None, "-"])
def test_a_prompt_may_come_on_stdin(monkeypatch: pytest.MonkeyPatch, words: str | None) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b" how are you?\n")))

    assert read_prompt(words) == "how are you?"


def test_a_prompt_on_stdin_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"x" * 100_001)))

    with pytest.raises(CommandFailed, match="more than 100000 bytes"):
        read_prompt(None)


def test_a_prompt_that_was_written_is_taken_as_it_is() -> None:
    assert read_prompt(" hello ") == " hello "


def test_what_is_told_of_a_run_is_waited_for(root: FakeRoot, printed: Printed) -> None:
    root.told = a_delivery()

    assert ended(root, notify={"webhook_url": "https://hooks.test/x", "on": ["success"]}) == 0

    assert root.looks == len(root.states)
    assert printed()[1] == ""


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (DeliveryState.PENDING, "has not arrived (it is away); the next start with this folder tries it again"),
        (DeliveryState.DEAD, "has not arrived (it is away); it was given up"),
    ],
)
def test_what_does_not_arrive_is_said(
    root: FakeRoot, printed: Printed, monkeypatch: pytest.MonkeyPatch, state: DeliveryState, words: str
) -> None:
    monkeypatch.setattr(HeadlessDesk.delivered, "__kwdefaults__", {"within_s": 0.2})
    root.told, root.states = a_delivery(), (state,)

    assert ended(root) == 0

    assert words in printed()[1]


@pytest.mark.parametrize("words", ["[]", "webhook", '"x"'])
def test_what_says_nobody_to_tell_is_refused(words: str) -> None:
    with pytest.raises(CommandFailed, match="--notify is no JSON object") as refused:
        read_notify(words)
    assert refused.value.code == 2


def a_delivery() -> Delivery:
    target = Target(Channel.WEBHOOK, "https://hooks.test/x")
    return Delivery(target, DeliveryState.PENDING, 1, datetime.now(UTC), error="it is away")
