import asyncio

import pytest
from structlog.testing import capture_logs

from app.infra.observability import background as background_module
from app.infra.observability.background import Background, every

PATIENCE_S = 10


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background_module, "FIRST_WAIT_S", 0.001)


async def test_a_loop_that_fails_is_started_again() -> None:
    tries = 0
    is_running = asyncio.Event()

    async def shaky() -> None:
        nonlocal tries
        tries += 1
        if tries < 4:
            raise RuntimeError("not yet")
        is_running.set()
        await asyncio.Event().wait()

    background = Background()
    background.add("shaky", shaky)

    with capture_logs() as events:
        async with background.running():
            await asyncio.wait_for(is_running.wait(), PATIENCE_S)

    assert [(event["loop"], event["again_in_s"]) for event in events] == [
        ("shaky", 0.001),
        ("shaky", 0.002),
        ("shaky", 0.004),
    ]


async def test_a_loop_that_returns_is_done() -> None:
    runs: list[int] = []

    async def once() -> None:
        runs.append(1)

    background = Background()
    background.add("once", once)

    async with background.running():
        await asyncio.sleep(0.01)

    assert runs == [1]


async def test_all_loops_end_together_and_may_clean_up() -> None:
    ended: list[str] = []
    background = Background()
    for name in ("one", "two"):

        async def loop(name: str = name) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(name)

        background.add(name, loop)

    async with background.running():
        await asyncio.sleep(0)

    assert sorted(ended) == ["one", "two"]


async def test_what_fails_inside_is_not_hidden_by_the_loops() -> None:
    background = Background()
    background.add("endless", asyncio.Event().wait)  # type: ignore[arg-type] # what it returns matters to nobody

    with pytest.raises(RuntimeError, match="inside"):
        async with background.running():
            raise RuntimeError("inside")


async def test_every_acts_at_once_and_again() -> None:
    acts: list[int] = []
    has_acted_often = asyncio.Event()

    async def act() -> None:
        acts.append(1)
        if len(acts) == 20:
            has_acted_often.set()

    background = Background()
    background.add("acting", every(0.001, act))

    async with background.running():
        await asyncio.wait_for(has_acted_often.wait(), PATIENCE_S)

    assert len(acts) >= 20


async def late() -> None:
    """Nobody ever starts it."""


async def test_work_that_comes_too_late_is_refused_rather_than_never_begun() -> None:
    background = Background()

    async with background.running():
        with pytest.raises(RuntimeError, match="came too late"):
            background.add("late", late)
