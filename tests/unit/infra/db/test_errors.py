"""What the driver raises, as it is and as SQLAlchemy wraps it, becomes one of two facts; bugs stay what they are."""

import asyncpg
import pytest
from sqlalchemy.exc import IntegrityError, InterfaceError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.infra.db.errors import StorageConflict, StorageUnavailable, translated

CAUSE = Exception("the driver's")
UNAVAILABLE = (
    OSError("gone"),
    TimeoutError("late"),
    PoolTimeout("full"),
    InterfaceError("SELECT 1", {}, CAUSE),
    OperationalError("SELECT 1", {}, CAUSE),
    asyncpg.InterfaceError("connection is closed"),
    asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is in progress"),
    asyncpg.ConnectionDoesNotExistError("closed in the middle of operation"),
    asyncpg.AdminShutdownError("terminating connection"),
    asyncpg.CannotConnectNowError("starting up"),
    asyncpg.QueryCanceledError("statement timeout"),
    asyncpg.DeadlockDetectedError("begin again"),
)
CONFLICTS = (
    IntegrityError("INSERT", {}, CAUSE),
    asyncpg.UniqueViolationError("there is one"),
    asyncpg.ForeignKeyViolationError("there is none"),
)
BUGS = (
    ProgrammingError("SELEC", {}, CAUSE),
    asyncpg.PostgresSyntaxError("SELEC"),
    asyncpg.DataError("no number"),
    asyncpg.UndefinedTableError("no table"),
    ValueError("ours"),
)


def raised(error: Exception) -> Exception:
    try:
        with translated():
            raise error  # noqa: TRY301 - by whatever is in the block
    except Exception as found:  # noqa: BLE001 - whatever becomes of it
        return found


@pytest.mark.parametrize("error", UNAVAILABLE, ids=lambda error: type(error).__name__)
def test_what_is_lost_or_late_is_storage_that_is_unavailable(error: Exception) -> None:
    found = raised(error)

    assert type(found) is StorageUnavailable
    assert found.__cause__ is error
    assert "retry-after" in found.headers


@pytest.mark.parametrize("error", CONFLICTS, ids=lambda error: type(error).__name__)
def test_what_contradicts_what_is_stored_is_a_conflict(error: Exception) -> None:
    assert type(raised(error)) is StorageConflict


@pytest.mark.parametrize("error", BUGS, ids=lambda error: type(error).__name__)
def test_a_bug_passes_as_it_is(error: Exception) -> None:
    assert raised(error) is error
