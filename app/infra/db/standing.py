"""Whether what somebody was allowed once was withdrawn since, asked of the database: for processes without a door."""

from sqlalchemy import exists, func, or_, select

from app.infra.db.engine import session_of
from app.infra.db.revocations import IS_IN_FORCE, ROWS
from app.kernel.authority import Authority
from app.kernel.revocation import Mark
from app.kernel.transaction import Tx


class PostgresStanding:
    async def is_withdrawn(self, tx: Tx, authority: Authority) -> bool:
        """Tell whether the token it was given with, or all of the user's of that time, were withdrawn.

        Cost: one query, at most two rows. Errors: StorageUnavailable.
        """
        named = or_(
            (ROWS.c.mark == Mark.SUBJECT.value) & (ROWS.c.name == authority.user_id),
            (ROWS.c.mark == Mark.JWT_ID.value) & (ROWS.c.name == authority.token_id),
        )
        issued_before = func.extract("epoch", ROWS.c.before) > authority.issued_at
        return bool(await session_of(tx).scalar(select(exists().where(named, IS_IN_FORCE, issued_before))))
