"""The order within a lane: who is next, decided under the lane's lock.

Facts
- A run is put behind its lane, and the next one made ready, in transactions that hold the lane's lock until they
  commit. So nobody is put behind a run that ends at the same moment and is then seen by neither.
- The lock is taken before anything else of such a transaction, so that two of them cannot wait for each other.
- Two lanes may share a lock (the key is a hash); they take turns, nothing else.
"""

from collections.abc import Iterable, Sequence

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

_LOCK = text(
    "SELECT pg_advisory_xact_lock(hashtextextended(word, 4021))"
    " FROM unnest(CAST(:words AS text[])) WITH ORDINALITY AS w(word, n) ORDER BY n"
)

# tried in the order they are named, and no more of them than are wanted
_LOCK_FREE = text("""
SELECT word FROM unnest(CAST(:words AS text[])) WITH ORDINALITY AS w(word, n)
WHERE pg_try_advisory_xact_lock(hashtextextended(word, 4021)) LIMIT :most""")


async def lock(session: AsyncSession, words: Iterable[str]) -> None:
    """Wait for one's turn; in one order, whoever asks."""
    await session.execute(_LOCK, {"words": sorted(words)})


async def lock_free(session: AsyncSession, words: Sequence[str], *, at_most: int) -> frozenset[str]:
    """Take those that nobody has, without waiting for any."""
    return frozenset(await session.scalars(_LOCK_FREE, {"words": list(words), "most": at_most}))


def of_lane(lane: str) -> str:
    return f"lane {lane}"


def of_chat(chat_id: int) -> str:
    return f"chat {chat_id}"
