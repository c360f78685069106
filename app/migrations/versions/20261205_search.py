"""Words of messages, to be searched, and what is pinned to chats.

The words of every message there is are written once: about five minutes for a million, in which nobody else reads or
writes messages.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "7c4d9e21b6f0"
down_revision: str | None = "3b8f1d6c2a97"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

_NO_WORD = (
    r"\u0001-\u002f\u003a-\u0040\u005b-\u0060\u007b-\u00a9\u00ab-\u00b1\u00b4\u00b6-\u00b8\u00bb\u00bf\u00d7\u00f7"
    r"\u2000-\u200b\u2010-\u206f\u20a0-\u20cf\u2190-\u2bff\u2e00-\u2e7f\u3000-\u3004\u3008-\u303f\ufe30-\ufe4f"
    r"\uff00-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65\ufffc-\uffff\U0001f000-\U0001faff"
)
_SPACED = f"""regexp_replace("left"(content, 100000), '[{_NO_WORD}]+'::text, ' '::text, 'g'::text)"""
_WORDS = f"strip(to_tsvector('simple'::regconfig, {_SPACED}))"
_LONGEST = "2h"
"""for this migration, whatever bounds the others"""


def upgrade() -> None:
    op.execute(f"SET LOCAL statement_timeout = '{_LONGEST}'")
    op.add_column("chats", sa.Column("context", sa.Text(), nullable=True))
    op.add_column(
        "messages",
        sa.Column("search", postgresql.TSVECTOR(), sa.Computed(_WORDS, persisted=True), nullable=False),
    )
    op.create_index(
        op.f("ix_messages_search"),
        "messages",
        ["search"],
        postgresql_using="gin",
        postgresql_with={"gin_pending_list_limit": 64},
    )


def downgrade() -> None:
    op.drop_index(op.f("ix_messages_search"), table_name="messages")
    op.drop_column("messages", "search")
    op.drop_column("chats", "context")
