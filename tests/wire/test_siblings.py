"""Workers of one gateway, and what they tell each other: real sockets, and siblings that are slow, mad or gone."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from app.infra.observability.health import NotWell
from app.infra.observability.metrics import counter, exposition
from app.infra.observability.siblings import Siblings
from app.kernel.worker import WorkerPlace
from tests.exposition import read_exposition
from tests.wire.hostile import eventually


@pytest.fixture
def folder() -> Iterator[Path]:
    # not pytest's own: a Unix socket's path has room for about a hundred characters
    made = Path(tempfile.mkdtemp(prefix="sib-"))
    yield made
    shutil.rmtree(made)


def a_worker(folder: Path | None, index: int, count: int = 3) -> Siblings:
    worker = Siblings(WorkerPlace(index, count, folder))
    worker.sources.add(lambda: [counter("c_total", "Counted.", 10**index)])
    return worker


@asynccontextmanager
async def serving(*workers: Siblings) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(worker.serve()) for worker in workers]
        for worker in workers:
            assert worker.place.folder is not None
            await eventually((worker.place.folder / f"metrics-{worker.place.index}.sock").exists)
        yield
        for task in tasks:
            task.cancel()


async def told(worker: Siblings) -> tuple[float, float]:
    """The sum, and of how many workers it is."""
    found = read_exposition(exposition(await worker.read()).decode())
    assert found["portico_workers"].value("portico_workers") == worker.place.count
    return found["c_total"].value("c_total"), found["portico_workers_answering"].value("portico_workers_answering")


async def test_whoever_is_asked_tells_the_sum_of_all(folder: Path) -> None:
    workers = [a_worker(folder, index) for index in range(3)]

    async with serving(*workers):
        assert [await told(worker) for worker in workers] == [(111, 3)] * 3


async def test_one_that_is_gone_is_missing_and_that_is_said(folder: Path) -> None:
    workers = [a_worker(folder, index) for index in range(3)]

    async with serving(*workers[:2]):
        assert await told(workers[0]) == (11, 2)
        with pytest.raises(NotWell, match="2 of 3 answer"):
            await workers[0].check()


async def test_one_that_was_killed_leaves_a_socket_that_its_successor_takes(folder: Path) -> None:
    (folder / "metrics-1.sock").touch()
    listener = await asyncio.start_unix_server(lambda _, writer: writer.close(), folder / "metrics-2.sock")
    listener.close()
    workers = [a_worker(folder, index) for index in (0, 2)]

    async with serving(*workers):
        assert await told(workers[0]) == (101, 2)


@pytest.mark.parametrize("behaviour", ["silent", "mad", "hangs up"])
async def test_one_that_answers_wrongly_or_never_holds_up_nobody(folder: Path, behaviour: str) -> None:
    workers = [a_worker(folder, index) for index in range(2)]
    is_over = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        del reader
        if behaviour == "silent":
            await is_over.wait()
        elif behaviour == "mad":
            writer.write(b"\xff nonsense")
        writer.close()

    async with serving(*workers), await asyncio.start_unix_server(answer, folder / "metrics-2.sock"):
        async with asyncio.timeout(15):
            assert await told(workers[0]) == (11, 2)
        is_over.set()


async def test_one_that_connects_and_reads_nothing_is_let_go(folder: Path) -> None:
    worker = a_worker(folder, 0)
    worker.sources.add(lambda: [counter(f"much{number}_total", "x" * 1000, 1) for number in range(2000)])

    async with serving(worker):
        reader, writer = await asyncio.open_unix_connection(folder / "metrics-0.sock", limit=1)
        await asyncio.sleep(0)
        assert await told(worker) == (1, 1)
        writer.close()
        del reader


async def test_a_worker_alone_opens_no_socket() -> None:
    worker = a_worker(None, 0, count=1)

    await worker.serve()

    assert await told(worker) == (1, 1)
    assert await worker.check() == "worker 0; 1 of 1 answer"
