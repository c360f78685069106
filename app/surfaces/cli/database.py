"""`portico db`, and Litestar's `database` group: migrations and retention by hand, on the database of the settings."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from typing import Protocol

from app.features.approvals.repository import PostgresApprovalStore
from app.features.audit.repository import PostgresAuditStore
from app.features.notifications.repository.notifications import PostgresNotifications
from app.infra.db import migrate
from app.infra.db.engine import Database
from app.infra.db.errors import StorageUnavailable
from app.infra.durable import retention
from app.infra.provider import database_options, embedded_postgres
from app.kernel.transaction import Tx
from app.settings import Settings, find_config, load_dotenv, read_settings
from app.surfaces.cli.command_failed import CommandFailed

DRIVER = "postgresql+asyncpg://"


@contextmanager
def embedded_running(settings: Settings) -> Iterator[None]:
    """Keep our own server up for the block, so that what opens it inside attaches at once; with a DSN, do nothing."""
    if settings.postgres_dsn:
        yield
        return
    embedded = embedded_postgres(settings)
    embedded.acquire()
    try:
        yield
    finally:
        embedded.release()


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Database]:
    """Open the settings' database without migrating it, starting our own server where no DSN is set.

    Errors: CommandFailed, naming the DSN and the mend; EmbeddedPostgresUnavailable.
    """
    embedded = None if settings.postgres_dsn else embedded_postgres(settings)
    if embedded is not None:
        await asyncio.to_thread(embedded.acquire)
    try:
        database = _database(settings, embedded.dsn if embedded else settings.postgres_dsn)
        try:
            yield database
        except StorageUnavailable as error:
            raise _unusable(error.__cause__ or error) from error
        except TimeoutError as error:
            raise _unusable(error) from error
        finally:
            await database.aclose()
    finally:
        if embedded is not None:
            await asyncio.to_thread(embedded.release)


def _database(settings: Settings, dsn: str) -> Database:
    if not dsn.startswith(DRIVER):
        raise CommandFailed(f"POSTGRES_DSN: must begin with {DRIVER}", code=2)
    try:
        return Database(database_options(settings, dsn))
    except ValueError as error:
        # what the library says of an address it cannot read may quote it, with the password
        raise CommandFailed(f"POSTGRES_DSN: must be {DRIVER}USER:PASSWORD@HOST:PORT/DATABASE", code=2) from error


def _unusable(cause: BaseException) -> CommandFailed:
    words = " ".join(str(getattr(cause, "orig", None) or cause).split()) or "no answer in time"
    return CommandFailed(
        f"POSTGRES_DSN: the database cannot be used ({words}); start it, mend the DSN, or unset it to use the"
        " embedded one"
    )


def _settings() -> Settings:
    load_dotenv()
    return read_settings(find_config())


async def upgrade(revision: str = "head") -> None:
    settings = _settings()
    async with opened(settings) as database:
        await migrate.upgrade(database.engine, settings.postgres_schema, revision)
        print(f"at {await migrate.current_revision(database.engine, settings.postgres_schema)}")


async def downgrade(revision: str = "-1") -> None:
    settings = _settings()
    async with opened(settings) as database:
        await migrate.downgrade(database.engine, settings.postgres_schema, revision)
        print(f"at {await migrate.current_revision(database.engine, settings.postgres_schema)}")


async def make_revision(message: str, *, autogenerate: bool) -> None:
    settings = _settings()
    async with opened(settings) as database:
        await migrate.make_revision(database.engine, settings.postgres_schema, message, autogenerate=autogenerate)


async def status() -> None:
    settings = _settings()
    async with opened(settings) as database:
        at, head = await migrate.current_revision(database.engine, settings.postgres_schema), migrate.head_revision()
    print(f"at {at}, this version needs {head}" + ("" if at == head else ": run `portico db upgrade`"))


async def forget(days: int) -> None:
    async with opened(_settings()) as database:
        done = await retention.forget(database, older_than=timedelta(days=days))
    print(f"deleted {_words(done)}")


async def count_forgettable(days: int) -> None:
    async with opened(_settings()) as database:
        found = await retention.count_forgettable(database, older_than=timedelta(days=days))
    print(f"would delete {_words(found)}")


class Forgetful(Protocol):
    """A store that lets go of what is old."""

    async def count_old(self, tx: Tx, *, age: timedelta) -> int: ...

    async def forget(self, tx: Tx, *, age: timedelta) -> int: ...


async def forget_audit(days: int) -> None:
    await _forget(PostgresAuditStore(), "entries of the audit", days)


async def count_old_audit(days: int) -> None:
    await _count_old(PostgresAuditStore(), "entries of the audit", days)


async def forget_approvals(days: int) -> None:
    await _forget(PostgresApprovalStore(), "requests for approval", days)


async def count_old_approvals(days: int) -> None:
    await _count_old(PostgresApprovalStore(), "requests for approval", days)


async def _forget(store: Forgetful, what: str, days: int) -> None:
    """Remove what is so old, a few thousand rows a transaction."""
    found = 0
    async with opened(_settings()) as database:
        while True:
            async with database.begin() as tx:
                part = await store.forget(tx, age=timedelta(days=days))
            found += part
            if not part:
                break
    print(f"deleted {found} {what}")


async def _count_old(store: Forgetful, what: str, days: int) -> None:
    async with opened(_settings()) as database, database.begin() as tx:
        found = await store.count_old(tx, age=timedelta(days=days))
    print(f"would delete {found} {what}")


async def forget_notifications(days: int) -> None:
    """Remove what owners were told so long ago, a thousand a transaction."""
    store, found = PostgresNotifications(), 0
    async with opened(_settings()) as database:
        while True:
            async with database.begin() as tx:
                part = await store.forget(tx, age=timedelta(days=days))
            found += part
            if not part:
                break
    print(f"deleted {found} notifications")


async def count_old_notifications(days: int) -> None:
    async with opened(_settings()) as database, database.begin() as tx:
        found = await PostgresNotifications().count_old(tx, age=timedelta(days=days))
    print(f"would delete {found} notifications")


def _words(found: retention.Forgotten) -> str:
    return f"{found.events} events, {found.steps} steps and {found.signals} answers of {found.runs} runs"
