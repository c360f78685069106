"""Four processes of five hundred spenders each on one budget, of which one is killed: how much is spent in the end."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import text

from app.features.usage.repository.ledger import PostgresLedger
from app.infra.db.engine import Database
from tests.soak.stand import say

pytestmark = [pytest.mark.soak, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
SPENDERS = Path(__file__).with_name("spenders.py")
TOKENS = 600_000
ONE_CALL = 1000
LIFE_S = 10
PATIENCE_S = 240


async def number(database: Database, query: str) -> int:
    async with database.engine.connect() as connection:
        return int(await connection.scalar(text(query)) or 0)


@contextmanager
def spenders(dsn: str) -> Iterator[list[subprocess.Popen[bytes]]]:
    command = [sys.executable, str(SPENDERS), dsn, str(TOKENS), str(LIFE_S), "500"]
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(command, cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL)
            )
            for _ in range(4)
        ]
        try:
            yield processes
        finally:
            for process in processes:
                process.kill()


async def test_no_crash_and_no_crowd_passes_a_budget(database: Database) -> None:
    ledger, began_s = PostgresLedger(database.begin, database.look), time.monotonic()
    with spenders(database.options.dsn) as processes:
        while await number(database, "SELECT sum(requests) FROM usage") < 200:  # noqa: ASYNC110 - nobody sets an event
            await asyncio.sleep(0.2)
        processes[0].kill()
        left_behind = await number(database, "SELECT sum(held) FROM budget_accounts")
        while any(process.poll() is None for process in processes) and time.monotonic() - began_s < PATIENCE_S:
            await ledger.sweep()
            await asyncio.sleep(0.5)
    await ledger.sweep()
    spent = await number(database, "SELECT sum(input_tokens + output_tokens) FROM usage")
    calls = await number(database, "SELECT sum(requests) FROM usage")
    held = await number(database, "SELECT sum(held) FROM budget_accounts")

    seconds = time.monotonic() - began_s
    say(f"2,000 spenders, one process of four killed, {calls} calls in {seconds:.0f} s: {spent} of {TOKENS} tokens")
    assert [process.returncode for process in processes[1:]] == [0, 0, 0]
    assert left_behind > 0
    assert TOKENS <= spent < TOKENS + ONE_CALL
    assert held == 0
