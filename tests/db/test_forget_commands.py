"""`portico db forget-approvals` and `forget-audit`: a dry run counts, the real one removes, and what is young stays."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from app.agents.approvals.desk import Asker, NewRequest
from app.agents.rules import Risk
from app.features.approvals.repository import PostgresApprovalStore
from app.features.audit.repository import PostgresAuditStore
from app.infra.db.engine import Database, DatabaseOptions
from app.kernel.audit import Act
from app.kernel.ids import ChatId, UserId, new_run_id
from app.surfaces.cli.main import main
from tests.builders import public_pem
from tests.conftest import SCHEMA

type Portico = Callable[..., str]


@pytest.fixture
def portico(
    migrated_dsn: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Iterator[Portico]:
    (tmp_path / "gateway.toml").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("POSTGRES_DSN", migrated_dsn)
    monkeypatch.setenv("JWT_PUBLIC_KEY", public_pem())
    before = signal.getsignal(signal.SIGTERM)

    def run(*arguments: str) -> str:
        assert main(_no_root, arguments) == 0
        return capsys.readouterr().out.strip()

    yield run
    signal.signal(signal.SIGTERM, before)


def _no_root() -> object:
    raise AssertionError("these commands need no composition root")


def _done[T](dsn: str, act: Callable[[Database], Awaitable[T]]) -> T:
    async def done() -> T:
        database = Database(DatabaseOptions(dsn=dsn, schema=SCHEMA))
        try:
            return await act(database)
        finally:
            await database.aclose()

    return asyncio.run(done())


def _counted(said: str) -> int:
    return int(next(word for word in said.split() if word.isdigit()))


async def _make(database: Database, *, owner: str, days: int) -> None:
    """Have a request expire, and something be written down, so many days ago."""
    asker = Asker(new_run_id(), ChatId(1), UserId(owner), "helper")
    request = NewRequest("judged#1.0", "call-1", "shred", Risk.DESTROYS, {}, "It destroys.")
    async with database.begin() as tx:
        await PostgresApprovalStore().add(tx, asker, [request], life=timedelta(days=-days))
        await PostgresAuditStore().record(tx, Act("chat.deleted", "1", UserId(owner), UserId(owner)))
    async with database.engine.begin() as connection:
        await connection.execute(text("SET LOCAL session_replication_role = replica"))  # no trigger minds
        older = text("UPDATE audit SET at = now() - make_interval(days => :days) WHERE owner = :owner")
        await connection.execute(older, {"days": days, "owner": owner})


async def _left(database: Database, owner: str) -> tuple[int, ...]:
    counts = [text(f"SELECT count(*) FROM {table} WHERE owner = :owner") for table in ("approvals", "audit")]
    async with database.engine.connect() as connection:
        return tuple([await connection.scalar(count, {"owner": owner}) for count in counts])


@pytest.mark.parametrize(("command", "what"), [("forget-approvals", 0), ("forget-audit", 1)])
def test_what_is_old_is_counted_by_a_dry_run_and_then_forgotten(
    migrated_dsn: str, portico: Portico, command: str, what: int
) -> None:
    old, young = f"old-{new_run_id()}", f"young-{new_run_id()}"
    _done(migrated_dsn, lambda database: _make(database, owner=old, days=1000))
    _done(migrated_dsn, lambda database: _make(database, owner=young, days=31))

    def left(owner: str) -> tuple[int, ...]:
        return _done(migrated_dsn, lambda database: _left(database, owner))

    would = portico("db", command, "--older-than", "900", "--dry-run")
    kept = left(old)
    did = portico("db", command, "--older-than", "900")
    again = portico("db", command, "--older-than", "900")

    assert would.startswith("would delete")
    assert did.startswith("deleted")
    assert (_counted(would), _counted(again)) == (_counted(did), 0)
    assert _counted(did) >= 1
    assert (kept, left(old)[what], left(young)) == ((1, 1), 0, (1, 1))


@pytest.mark.parametrize("days", ["0", "29", "x"])
def test_the_audit_is_kept_for_a_month_at_least(days: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(_no_root, ["db", "forget-audit", "--older-than", days])

    assert ended.value.code == 2
    assert "30 to 36500" in capsys.readouterr().err
