"""Agents from a Python program, without a gateway: one call runs one to its end.

    from app.headless import run

    result = await run("Summarise today's events", agent="agenda")

It is what `portico run` does: the same engine, the same database (embedded, in `state_dir`), the same agents. A run
that was begun is not lost with this program; whoever opens the folder next goes on with it.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing
from pathlib import Path

from dishka import Provider

from app.infra.durable.ports import RunState
from app.infra.events.ports import RunEvent
from app.kernel.values import Json
from app.main import create_headless
from app.surfaces.headless.desk import HeadlessDesk, RunResult
from app.surfaces.headless.opening import opened

__all__ = ("HeadlessDesk", "RunEvent", "RunResult", "RunState", "open_desk", "run")

type Hear = Callable[[RunEvent], Awaitable[None] | None]


async def run(
    prompt: str,
    *,
    agent: str | None = None,
    model: str = "",
    context: Mapping[str, Json] | None = None,
    state_dir: Path | None = None,
    timeout_s: float | None = None,
    hear: Hear | None = None,
    notify: Mapping[str, Json] | None = None,
) -> RunResult:
    """Have an agent answer, and give what became of it; `hear` is called with each event as it comes.

    `notify` is a task's `notification_config`: what is told of the run has arrived when this returns, or half a minute
    has passed, and is tried again by whoever opens the folder next.
    After `timeout_s` the run is cancelled, and so it is when this call is; what was said until then is kept.
    Cost: some seconds, once for each new folder, and one for each call: for many, use `open_desk`.
    Errors: ValidationFailed, ConfigurationInvalid, StateBusy.
    """
    async with open_desk(state_dir, model=model) as desk:
        run_id = await desk.ask(prompt, agent=agent, context=context, notify=notify)
        try:
            async with asyncio.timeout(timeout_s), aclosing(desk.follow(run_id)) as events:
                async for event in events:
                    heard = hear(event) if hear is not None else None
                    if heard is not None:
                        await heard
        except TimeoutError:
            await desk.cancel(run_id, reason=f"not done within {timeout_s:g} seconds")
        except asyncio.CancelledError:
            await desk.cancel(run_id, reason="cancelled by the program that began it")
            raise
        if notify is not None:
            await desk.delivered(run_id)
        return await desk.result(run_id)


def open_desk(
    state_dir: Path | None = None, *overrides: Provider, model: str = ""
) -> AbstractAsyncContextManager[HeadlessDesk]:
    """Open the folder's database, and work on runs for as long as the block lasts.

    What was left of earlier programs goes on beside (`HeadlessDesk.left`). Errors: ConfigurationInvalid, StateBusy.
    """
    return opened(create_headless, state_dir, *overrides, model=model)
