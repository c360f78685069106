"""`portico run`: one agent, one prompt, here and now; the exit code is the run's outcome.

Without a gateway and without an account: the database is embedded, in the state folder. Ctrl-C cancels the run and says
so; whatever else ends the process (a `kill -9`, a machine) leaves a run that the next start goes on with.
"""

import asyncio
import json
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from app.features.notifications.domain.news import DeliveryState
from app.features.runs.schemas import event_json
from app.infra.durable.ports import RunState
from app.infra.events.ports import EventType, RunEvent
from app.kernel.errors import Unavailable, ValidationFailed
from app.kernel.ids import RunId
from app.kernel.values import Json
from app.surfaces.cli.command_failed import CommandFailed
from app.surfaces.cli.root import Root
from app.surfaces.headless.desk import HeadlessDesk, RunResult
from app.surfaces.headless.opening import default_state_dir, opened
from app.surfaces.headless.state import StateBusy

MAX_PROMPT_BYTES = 100_000
INTERRUPTED = "interrupted from the keyboard"


class Output(StrEnum):
    TEXT = "text"
    JSON = "json"
    EVENTS = "events"


@dataclass(frozen=True, slots=True)
class Wish:
    """`prompt` is None where what was left is to be finished instead."""

    prompt: str | None
    agent: str | None = None
    model: str = ""
    notify: Mapping[str, Json] | None = None
    output: Output = Output.TEXT
    state_dir: Path | None = None
    timeout_s: float | None = None


def read_prompt(words: str | None) -> str:
    """Take what was written behind the command, or what comes on stdin. Errors: CommandFailed."""
    if words not in {None, "-"}:
        return str(words)
    if sys.stdin.isatty():
        raise CommandFailed('there is no prompt; write one: portico run "..." (or send it on stdin)', code=2)
    raw = sys.stdin.buffer.read(MAX_PROMPT_BYTES + 1)
    if len(raw) > MAX_PROMPT_BYTES:
        raise CommandFailed(f"the prompt on stdin has more than {MAX_PROMPT_BYTES} bytes", code=2)
    return raw.decode(errors="replace").strip()


def read_notify(words: str | None) -> Mapping[str, Json] | None:
    """Take who is to be told, as a task's `notification_config`. Errors: CommandFailed."""
    if words is None:
        return None
    example = '{"webhook_url": "https://example.com/hook", "on": ["success", "error"]}'
    try:
        config = json.loads(words)
    except ValueError:
        config = None
    if not isinstance(config, dict):
        raise CommandFailed(f"--notify is no JSON object; write one like '{example}'", code=2)
    return config


def run(root: Root, wish: Wish) -> int:
    """Errors: CommandFailed, ConfigurationInvalid, EmbeddedPostgresUnavailable."""
    try:
        return asyncio.run(_run(root, wish))
    except ValidationFailed as wrong:
        raise CommandFailed("; ".join(f"{one.field}: {one.message}" for one in wrong.errors), code=2) from wrong
    except StateBusy as busy:
        raise CommandFailed(str(busy)) from busy
    except Unavailable as fault:
        raise CommandFailed(fault.detail or fault.title) from fault


async def _run(root: Root, wish: Wish) -> int:
    try:
        async with opened(root.create_headless, wish.state_dir, model=wish.model) as desk:
            return await (_resume(desk, wish) if wish.prompt is None else _ask(desk, wish, wish.prompt))
    except OSError as error:
        folder = wish.state_dir or default_state_dir()
        raise CommandFailed(f"{folder} cannot be used ({error.strerror}); name another with --state-dir") from error


async def _ask(desk: HeadlessDesk, wish: Wish, prompt: str) -> int:
    left = [run.id for run in await desk.left()]
    run_id = await desk.ask(prompt, agent=wish.agent, notify=wish.notify)
    for one in left:
        _say(f"run {one} of an earlier start was not over; it goes on beside this one")
    result = await _attend(desk, run_id, wish)
    await _deliver(desk, run_id)
    for one in left:
        if not (await desk.result(one)).status.is_final:
            _say(f"run {one} is still not over; finish it with: portico run --resume")
    return 0 if result.is_completed else 1


async def _resume(desk: HeadlessDesk, wish: Wish) -> int:
    """Finish what was left, one after the other; Ctrl-C cancels the one that is followed, and leaves the others."""
    code = 0
    left = await desk.left()
    if not left:
        _say("no run was left")
    for run in left:
        _say(f"run {run.id} goes on")
        result = await _attend(desk, run.id, wish)
        await _deliver(desk, run.id)
        code = code if result.is_completed else 1
        if result.status is RunState.INTERRUPTED:
            break
    return code


async def _attend(desk: HeadlessDesk, run_id: RunId, wish: Wish) -> RunResult:
    """Follow a run to its end, telling of it as was asked; stop it on Ctrl-C, or when its time is over."""
    stop = asyncio.Event()
    telling = _Telling(wish.output)
    with _heard_signals(stop):
        async with asyncio.TaskGroup() as group:
            stopping = group.create_task(_stop(desk, run_id, stop, wish.timeout_s))
            async with aclosing(desk.follow(run_id)) as events:
                async for event in events:
                    telling.tell(event)
            stopping.cancel()
    result = await desk.result(run_id)
    telling.end(result)
    return result


async def _deliver(desk: HeadlessDesk, run_id: RunId) -> None:
    """Wait for what is told of a run, and say what did not arrive."""
    for one in await desk.delivered(run_id):
        is_tried = one.state is DeliveryState.PENDING
        then = "the next start with this folder tries it again" if is_tried else "it was given up"
        _say(f"what was to be told by {one.target.channel} has not arrived ({one.error or 'no answer yet'}); {then}")


async def _stop(desk: HeadlessDesk, run_id: RunId, stop: asyncio.Event, timeout_s: float | None) -> None:
    reason = INTERRUPTED
    try:
        async with asyncio.timeout(timeout_s):
            await stop.wait()
    except TimeoutError:
        reason = f"not done within {timeout_s:g} seconds"
    _say(f"cancelling run {run_id}: {reason}")
    await desk.cancel(run_id, reason=reason)


@contextmanager
def _heard_signals(stop: asyncio.Event) -> Iterator[None]:
    """Have the first signal stop the run, and a second one end this process as usual; its run is then left."""
    loop = asyncio.get_running_loop()

    def hear() -> None:
        stop.set()
        forget()

    def forget() -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, hear)
    try:
        yield
    finally:
        forget()


@dataclass(slots=True)
class _Telling:
    """What goes to stdout, which is for results; how it went goes to stderr."""

    output: Output
    _is_in_a_line: bool = False

    def tell(self, event: RunEvent) -> None:
        if self.output is Output.EVENTS:
            print(event_json(event), flush=True)
        elif self.output is Output.TEXT and event.type is EventType.TEXT_DELTA:
            text = str(event.data.get("text", ""))
            print(text, end="", flush=True)
            self._is_in_a_line = not text.endswith("\n") if text else self._is_in_a_line
        elif self.output is Output.TEXT and event.type is EventType.STREAM_RETRY:
            self._end_line()
            _say("the model's answer broke off, and begins anew")

    def end(self, result: RunResult) -> None:
        self._end_line()
        if self.output is Output.JSON:
            print(json.dumps(_json_of(result), ensure_ascii=False))
        if result.error is not None:
            _say(f"run {result.run_id} failed: {result.error.detail} ({result.error.type})")
        elif result.status is RunState.INTERRUPTED:
            _say(f"run {result.run_id} was cancelled")
        elif not result.is_completed:
            _say(f"run {result.run_id} waits for somebody to decide, which nobody can here")

    def _end_line(self) -> None:
        if self._is_in_a_line:
            print(flush=True)
            self._is_in_a_line = False


def _json_of(result: RunResult) -> dict[str, object]:
    return {
        "run_id": str(result.run_id),
        "status": result.status.value,
        "agent": result.agent,
        "text": result.text,
        "error": None if result.error is None else {"type": result.error.type, "detail": result.error.detail},
        "usage": {
            "input_tokens": result.input_tokens,
            "output_tokens": result.output_tokens,
            "cost": result.cost,
        },
    }


def _say(words: str) -> None:
    print(f"portico: {words}", file=sys.stderr, flush=True)
