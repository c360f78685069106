"""Search in PostgreSQL.

Facts
- A message's words are a column of its own (`tables.py`), made by the expression that reads the query, too: what is one
  word there is one here.
- A prefix is looked up among the words of everybody. Whether that is cheaper than to look through the owner's own
  messages, which the planner can tell only with the owner and the words before it, depends on both: so each search is
  planned by itself.
- What a page shows is cut out in the database: a message may be long, and its snippet is not.
"""

from collections.abc import Mapping, Sequence

from sqlalchemy import JSON, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.features.chats.domain.chat import Chat
from app.features.chats.domain.message import MessageRole
from app.features.chats.domain.search import MATCHES_LIMIT, FoundChat, Match, snippet_of
from app.features.chats.tables import words_of
from app.infra.db.engine import session_of
from app.kernel.ids import ChatId, MessageId, UserId
from app.kernel.paging import Page
from app.kernel.transaction import Tx

BEFORE_CHARS = 200
WINDOW_CHARS = 600
"""of a message around a hit, of which the snippet is made"""

_PLAN_EACH = text("SET LOCAL plan_cache_mode = force_custom_plan")
_READ_WORDS = text(f"SELECT tsvector_to_array({words_of('CAST(:words AS text)')})")
_FIND = text(f"""
WITH own AS (
  SELECT id, updated_at, {words_of("title")} @@ CAST(:wanted AS tsquery) AS is_titled
  FROM chats WHERE user_id = :owner AND deleted_at IS NULL
), hits AS (
  SELECT chat_id, max(created_at) AS newest, (array_agg(id ORDER BY id DESC))[1\\:{MATCHES_LIMIT}] AS shown
  FROM messages WHERE search @@ CAST(:wanted AS tsquery) AND deleted_at IS NULL
    AND chat_id IN (SELECT id FROM chats WHERE user_id = :owner AND deleted_at IS NULL)
  GROUP BY chat_id
), found AS (
  SELECT own.id, coalesce(newest, updated_at) AS moment, coalesce(shown, '{{}}') AS shown
  FROM own LEFT JOIN hits ON chat_id = own.id WHERE chat_id IS NOT NULL OR is_titled
), page AS (SELECT * FROM found ORDER BY moment DESC, id DESC LIMIT :limit OFFSET :offset)
SELECT (SELECT count(*) FROM found) AS total, page.shown,
  chats.id, user_id, title, agent, metadata, created_at, updated_at, deleted_at
FROM (SELECT) AS always LEFT JOIN page ON true LEFT JOIN chats ON chats.id = page.id
ORDER BY moment DESC, page.id DESC""").columns(metadata=JSON)  # noqa: S608 - our own words
_SHOW = text("""
SELECT id, role, created_at, char_length(content) AS length, start, substr(content, start, :window) AS part
FROM (
  SELECT *, greatest(regexp_instr(content, :pattern, 1, 1, 0, 'i') - :before, 1) AS start
  FROM messages WHERE id = ANY(CAST(:ids AS bigint[]))) AS shown""")


class PostgresChatSearch:
    async def search(self, tx: Tx, words: str, *, owner: UserId, limit: int, offset: int) -> Page[FoundChat]:
        session = session_of(tx)
        read: Sequence[str] = (await session.execute(_READ_WORDS, {"words": words})).scalar_one()
        if not read:
            return Page((), 0, limit, offset)
        await session.execute(_PLAN_EACH)
        wanted = {"owner": owner, "wanted": _wanted(read), "limit": limit, "offset": offset}
        rows = (await session.execute(_FIND, wanted)).all()
        matches = await _matches(session, [id_ for row in rows for id_ in row.shown or ()], read)
        found = [
            FoundChat(
                Chat(
                    id=ChatId(row.id),
                    user_id=UserId(row.user_id),
                    title=row.title,
                    agent=row.agent,
                    metadata=row.metadata,
                    created_at=row.created_at,
                    updated_at=row.updated_at,
                    deleted_at=row.deleted_at,
                ),
                [matches[id_] for id_ in row.shown if id_ in matches],
            )
            for row in rows
            if row.id is not None
        ]
        return Page(found, rows[0].total, limit, offset)


async def _matches(session: AsyncSession, ids: Sequence[int], words: Sequence[str]) -> Mapping[int, Match]:
    if not ids:
        return {}
    pattern = f"(?<![[:alnum:]])(?:{'|'.join(map(_literally, words))})"
    values = {"ids": ids, "pattern": pattern, "before": BEFORE_CHARS, "window": WINDOW_CHARS}
    return {
        row.id: Match(
            MessageId(row.id),
            MessageRole(row.role),
            snippet_of(row.part, words, is_begun=row.start == 1, is_ended=row.start + len(row.part) > row.length),
            row.created_at,
        )
        for row in await session.execute(_SHOW, values)
    }


def _wanted(words: Sequence[str]) -> str:
    """Ask for all of them, each as the beginning of a word."""
    return " & ".join("'" + word.replace("\\", "\\\\").replace("'", "''") + "':*" for word in words)


def _literally(word: str) -> str:
    """Write a word so that it stands for itself in a regular expression of PostgreSQL's."""
    return "".join(char if char.isalnum() else f"\\{char}" for char in word)
