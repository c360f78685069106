"""What readers of events ask the database: each a single statement, however many runs are asked for.

The table `runs` is the engine's; here it is read for three things of a run: its chat, whether it is over, and the
number of its last event.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text

from app.infra.db.statements import Statements
from app.infra.events.encoding import event_of
from app.infra.events.ports import RunEvent, RunsCursor
from app.kernel.ids import ChatId, RunId, UserId

MAX_ROWS = 1000
PAGE_ROWS = 100
FIRST = RunId(UUID(int=0))

_RUN = text("""
SELECT run_id, seq, chat_id, type, at, data FROM run_events WHERE run_id = :run_id AND seq > :after
ORDER BY seq LIMIT :limit""")

# a run that is asked for has a row even if there is nothing new; one that is gone has none
_RUNS = text("""
SELECT asked.n, runs.state IN ('completed', 'failed', 'interrupted') AS is_over, found.*
FROM unnest(CAST(:run_ids AS uuid[]), CAST(:afters AS bigint[])) WITH ORDINALITY AS asked(id, after, n)
JOIN runs ON runs.id = asked.id
LEFT JOIN LATERAL (
  SELECT run_id, seq, chat_id, type, at, data, octet_length(CAST(data AS text)) AS size_bytes
  FROM run_events WHERE run_id = asked.id AND seq > asked.after ORDER BY seq LIMIT :page
) AS found ON true
ORDER BY asked.n, found.seq LIMIT :most""")

_MOVED = text("""
SELECT runs.id FROM unnest(CAST(:run_ids AS uuid[]), CAST(:seqs AS bigint[])) AS known(id, seq)
JOIN runs ON runs.id = known.id WHERE runs.event_seq > known.seq""")

_NEW_IN_CHATS = text("""
SELECT runs.id, runs.chat_id
FROM unnest(CAST(:chat_ids AS bigint[]), CAST(:run_ids AS uuid[])) AS known(chat_id, run_id)
JOIN runs ON runs.chat_id = known.chat_id AND runs.id > known.run_id ORDER BY runs.id LIMIT :most""")

_NEW_OF_PEOPLE = text("""
SELECT runs.id, runs.owner
FROM unnest(CAST(:owners AS varchar[]), CAST(:run_ids AS uuid[])) AS known(owner, run_id)
JOIN runs ON runs.owner = known.owner AND runs.id > known.run_id ORDER BY runs.id LIMIT :most""")

_OF_CHAT = text("""
SELECT id FROM runs WHERE chat_id = :whose AND id > :after ORDER BY id LIMIT :limit""")
_OF_PERSON = text("""
SELECT id FROM runs WHERE owner = :whose AND id > :after ORDER BY id LIMIT :limit""")

_NEWEST = text("SELECT id FROM runs WHERE chat_id = :chat_id ORDER BY id DESC LIMIT 1")
_NEWEST_OF_PERSON = text("SELECT id FROM runs WHERE owner = :owner ORDER BY id DESC LIMIT 1")
_LIVE_OF_PERSON = text("""
SELECT id, event_seq FROM runs
WHERE owner = :owner AND state IN ('queued', 'running', 'waiting') ORDER BY id DESC LIMIT :most""")

_END_OF_CHAT = text("""
SELECT id, seq FROM (
  (SELECT 1 AS rank, id, 0 AS seq FROM runs
    WHERE chat_id = :chat_id AND state IN ('queued', 'running', 'waiting') ORDER BY id LIMIT 1)
  UNION ALL
  (SELECT 2, id, event_seq FROM runs WHERE chat_id = :chat_id ORDER BY id DESC LIMIT 1)
) AS ends ORDER BY rank LIMIT 1""")


@dataclass(frozen=True, slots=True)
class Page:
    """What was found of one run; with `has_more` there is more to be read behind it.

    `sizes` are in bytes, one an event.
    """

    events: Sequence[RunEvent] = ()
    sizes: Sequence[int] = ()
    has_more: bool = False
    is_over: bool = True


async def read_run(connection: Statements, run_id: RunId, *, after: int, limit: int) -> Sequence[RunEvent]:
    rows = await connection.execute(_RUN, {"run_id": run_id, "after": after, "limit": limit})
    return [event_of(row) for row in rows]


async def read_runs(connection: Statements, asked: Sequence[tuple[RunId, int]]) -> Sequence[Page]:
    """Read on in many runs at once; of those that do not fit into one answer, a page says that it has more.

    Cost: one statement, at most `MAX_ROWS` rows.
    """
    values = {
        "run_ids": [run_id for run_id, _ in asked],
        "afters": [after for _, after in asked],
        "page": PAGE_ROWS,
        "most": MAX_ROWS,
    }
    rows = (await connection.execute(_RUNS, values)).all()
    found: dict[int, list[RunEvent]] = {}
    sizes: dict[int, list[int]] = {}
    over: dict[int, bool] = {}
    for row in rows:
        over[row.n] = row.is_over
        if row.seq is not None:
            found.setdefault(row.n, []).append(event_of(row))
            sizes.setdefault(row.n, []).append(row.size_bytes)
    # the last one of a full answer may have been cut off, and those behind it were
    cut = rows[-1].n if len(rows) == MAX_ROWS else len(asked) + 1
    return [
        Page(
            found.get(n, ()),
            sizes.get(n, ()),
            has_more=n >= cut or len(found.get(n, ())) == PAGE_ROWS,
            is_over=over.get(n, n < cut),
        )
        for n in range(1, len(asked) + 1)
    ]


async def read_moved(connection: Statements, known: Mapping[RunId, int]) -> Sequence[RunId]:
    """Tell which runs have said more than is known of them."""
    rows = await connection.execute(_MOVED, {"run_ids": list(known), "seqs": list(known.values())})
    return [RunId(row.id) for row in rows]


async def read_new_in_chats(connection: Statements, newest: Mapping[ChatId, RunId]) -> Sequence[tuple[ChatId, RunId]]:
    """Tell which runs came to the chats behind the newest that are known."""
    values = {"chat_ids": list(newest), "run_ids": list(newest.values()), "most": MAX_ROWS}
    return [(ChatId(row.chat_id), RunId(row.id)) for row in await connection.execute(_NEW_IN_CHATS, values)]


async def read_new_of_people(connection: Statements, newest: Mapping[UserId, RunId]) -> Sequence[tuple[UserId, RunId]]:
    """Tell which runs people have behind those that are given."""
    values = {"owners": list(newest), "run_ids": list(newest.values()), "most": MAX_ROWS}
    return [(UserId(row.owner), RunId(row.id)) for row in await connection.execute(_NEW_OF_PEOPLE, values)]


async def read_runs_of(
    connection: Statements, whose: ChatId | UserId, *, after: RunId, limit: int = PAGE_ROWS
) -> Sequence[RunId]:
    """Tell the runs of a chat or of a person behind one, in order."""
    statement = _OF_PERSON if isinstance(whose, str) else _OF_CHAT
    rows = await connection.execute(statement, {"whose": whose, "after": after, "limit": limit})
    return [RunId(row.id) for row in rows]


async def read_newest_of_chat(connection: Statements, chat_id: ChatId) -> RunId:
    """Tell the chat's last run; FIRST where there is none."""
    found: UUID | None = (await connection.execute(_NEWEST, {"chat_id": chat_id})).scalar_one_or_none()
    return FIRST if found is None else RunId(found)


async def read_newest_of_person(connection: Statements, owner: UserId) -> RunId:
    """Tell a person's last run; FIRST where there is none."""
    found: UUID | None = (await connection.execute(_NEWEST_OF_PERSON, {"owner": owner})).scalar_one_or_none()
    return FIRST if found is None else RunId(found)


async def read_live_of_person(connection: Statements, owner: UserId) -> Mapping[RunId, int]:
    """Tell the runs of a person that are not over, the newest thousand, each with the number of its last event."""
    rows = await connection.execute(_LIVE_OF_PERSON, {"owner": owner, "most": MAX_ROWS})
    return {RunId(row.id): row.event_seq for row in rows}


async def read_end_of_chat(connection: Statements, chat_id: ChatId) -> RunsCursor | None:
    row = (await connection.execute(_END_OF_CHAT, {"chat_id": chat_id})).first()
    return None if row is None else RunsCursor(RunId(row.id), row.seq)
