"""Driver errors, translated once, here: what a store may raise besides its own facts."""

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
from advanced_alchemy.exceptions import DuplicateKeyError, ForeignKeyError, RepositoryError
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.kernel.errors import Conflict, Unavailable

# asyncpg's classes reach us, wrapped by SQLAlchemy or not. SQLSTATE classes tell what is gone from what is wrong:
# 08 connection, 28 credentials, 3D no such database, 53 out of resources, 57P0x shut down or starting, 25P0x idle
# session ended, 40P01 deadlock and 40001 serialization (begin again), 55P03 lock, 57014 cancelled
_UNAVAILABLE_STATES = ("08", "28", "3D", "53", "57P", "25P", "40P01", "40001", "55P03", "57014")

# the second is what asyncpg says of a connection that the server has ended, until it has noticed
_LOST = (asyncpg.InterfaceError, asyncpg.InternalClientError)


class StorageUnavailable(Unavailable):
    type = "storage-unavailable"
    title = "The database cannot be reached"


class StorageConflict(Conflict):
    type = "storage-conflict"
    title = "The request contradicts what is stored"


@contextmanager
def translated() -> Iterator[None]:
    """Turn what the driver raises inside the block into one of the two facts above; bugs pass as they are."""
    try:
        yield
    except (DuplicateKeyError, ForeignKeyError, IntegrityError, asyncpg.IntegrityConstraintViolationError) as error:
        raise StorageConflict(evidence={"cause": repr(error)}) from error
    except (OSError, PoolTimeout, TimeoutError) as error:
        raise _unavailable(error) from error
    except (DBAPIError, RepositoryError, asyncpg.PostgresError, *_LOST) as error:
        if not _is_unavailable(error):
            raise
        raise _unavailable(error) from error


def _unavailable(error: Exception) -> StorageUnavailable:
    return StorageUnavailable(
        "The database did not answer; try again shortly.", headers={"retry-after": "1"}, evidence={"cause": repr(error)}
    )


def _is_unavailable(error: BaseException) -> bool:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, (OSError, InterfaceError, OperationalError, *_LOST)):
            return True
        if isinstance(cause, DBAPIError) and cause.connection_invalidated:
            return True
        state = getattr(cause, "sqlstate", None)
        if isinstance(state, str) and state.startswith(_UNAVAILABLE_STATES):
            return True
        cause = cause.__cause__ or getattr(cause, "orig", None)
    return False
