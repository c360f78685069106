"""Has an agent sum up every text file of a folder, and keeps what it said beside them.

    python examples/headless/digest.py FOLDER

Nothing has to run beforehand: the database is embedded, in FOLDER/.portico. Whatever was begun when the program was
ended is finished when it is started again.
"""

import asyncio
import sys
from pathlib import Path

from app.headless import HeadlessDesk, open_desk

AT_ONCE = 4


async def digest(folder: Path, *, model: str = "") -> list[str]:
    """Write NAME.summary.txt for each NAME.txt that has none; tell what failed, and why."""
    turn = asyncio.Semaphore(AT_ONCE)
    async with open_desk(folder / ".portico", model=model) as desk, asyncio.TaskGroup() as group:
        tasks = [group.create_task(_sum_up(desk, turn, file)) for file in _without_summary(folder)]
    return [problem for task in tasks if (problem := task.result())]


async def _sum_up(desk: HeadlessDesk, turn: asyncio.Semaphore, file: Path) -> str | None:
    async with turn:
        text = await asyncio.to_thread(file.read_text)
        run_id = await desk.ask(f"Sum up in one sentence:\n\n{text[:10_000]}")
        async for _ in desk.follow(run_id):
            pass
        result = await desk.result(run_id)
    if not result.is_completed:
        return f"{file.name}: {result.error.detail if result.error else result.status}"
    await asyncio.to_thread(_summary_of(file).write_text, result.text)
    return None


def _without_summary(folder: Path) -> list[Path]:
    texts = [file for file in sorted(folder.glob("*.txt")) if not file.name.endswith(".summary.txt")]
    return [file for file in texts if not _summary_of(file).exists()]


def _summary_of(file: Path) -> Path:
    return file.with_suffix(".summary.txt")


if __name__ == "__main__":
    sys.exit("\n".join(asyncio.run(digest(Path(sys.argv[1])))) or None)
