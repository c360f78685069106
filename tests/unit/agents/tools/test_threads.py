"""Threads for functions that block: bounded whatever happens to those who wait, and no hindrance to a process's end."""

import asyncio
import contextvars
import subprocess
import sys
import threading

import pytest

from app.agents.tools.threads import Threads


async def test_a_function_is_called_in_a_thread_with_the_callers_context() -> None:
    word = contextvars.ContextVar[str]("word")
    word.set("here")

    result = await Threads(1).run(lambda: (word.get(), threading.get_ident()))

    assert isinstance(result, tuple)
    assert result[0] == "here"
    assert result[1] != threading.get_ident()


@pytest.mark.parametrize(
    ("raised", "heard"), [(KeyError("x"), KeyError), (SystemExit(3), RuntimeError), (StopIteration(), RuntimeError)]
)
async def test_what_a_function_raises_is_raised_to_who_waits(raised: BaseException, heard: type[BaseException]) -> None:
    def fail() -> None:
        raise raised

    with pytest.raises(heard):
        await asyncio.wait_for(Threads(1).run(fail), 10)


async def test_a_place_is_taken_until_its_function_ends_not_until_nobody_waits() -> None:
    threads, may_end, at_work = Threads(1), threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def block() -> None:
        loop.call_soon_threadsafe(at_work.set)
        may_end.wait(30)

    async with asyncio.TaskGroup() as group:
        first = group.create_task(threads.run(block))
        await at_work.wait()
        first.cancel()
        second = group.create_task(threads.run(may_end.is_set))
        for _ in range(10):
            await asyncio.sleep(0)

        assert first.cancelled()
        assert not second.done()
        may_end.set()

    assert second.result() is True


def test_a_function_that_hangs_does_not_keep_the_process() -> None:
    code = (
        "import asyncio, time\n"
        "from app.agents.tools.threads import Threads\n"
        "async def main():\n"
        "    turn = asyncio.ensure_future(Threads(1).run(lambda: time.sleep(600)))\n"
        "    await asyncio.sleep(0.05)\n"
        "    turn.cancel()\n"
        "asyncio.run(main())\n"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, done.stderr) == (0, "")
