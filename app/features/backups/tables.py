"""Which tables a backup holds, and which of their rows: one line each.

Rules
- Whatever a row refers to stands above it. Within a table the order is that of the primary key.
- `identity` are the columns by which a row here is the same thing as the row of that id in the archive; where they
  differ, the archive is of another database, and bringing it back would mix up two people's things.
- What is under way is left out: an unfinished run would begin anew wherever it is brought back.
- `unique` are columns of which the table has each value once: a row here that has them is the one of the archive, under
  another id since it was let go of and came anew.
- `at_once` rows are in memory together: few of those that are large.
- Nothing secret: `webhook_secrets` and the keys stay where they are, and so do tokens, quotas and workers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Table, select

from app.features.attachments.tables import ATTACHMENTS, BLOBS
from app.features.chats.tables import BRANCHES, CHATS, MESSAGES
from app.features.memory.tables import MEMORIES, NOTES
from app.features.tasks.tables import DEPENDENCIES, TASKS
from app.infra.durable.ports import RunState
from app.infra.durable.tables import RUNS
from app.infra.events.tables import EVENTS


@dataclass(frozen=True, slots=True)
class Kept:
    """`only` is the rows that are kept, all for None."""

    table: Table
    identity: Sequence[str] = ()
    only: ColumnElement[bool] | None = None
    unique: Sequence[str] = ()
    at_once: int = 200


_IS_OVER = RUNS.c.state.in_([state.value for state in RunState if state.is_final])

KEPT: Sequence[Kept] = (
    Kept(CHATS, identity=("user_id", "created_at")),
    Kept(BRANCHES, identity=("parent", "until_place", "until_id")),
    Kept(TASKS, identity=("owner", "created_at")),
    Kept(DEPENDENCIES),
    Kept(RUNS, identity=("owner", "created_at"), only=_IS_OVER),
    Kept(EVENTS, identity=("type", "at"), only=EVENTS.c.run_id.in_(select(RUNS.c.id).where(_IS_OVER))),
    Kept(BLOBS, at_once=2),
    Kept(ATTACHMENTS, identity=("owner", "digest")),
    Kept(MEMORIES, identity=("owner", "created_at"), unique=("owner", "digest")),
    Kept(NOTES),
    Kept(MESSAGES, identity=("chat_id", "created_at"), only=MESSAGES.c.status != "pending"),
)
