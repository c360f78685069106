"""Turns are runs: messages know theirs, chats have no lease any more; which workers there are."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "2f6a90c4b7d1"
down_revision: str | None = "e7d25b90c1f4"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    op.drop_column("chats", "turn_id")
    op.drop_column("chats", "turn_until")
    op.add_column("messages", sa.Column("run_id", sa.Uuid(), nullable=True))
    op.add_column("messages", sa.Column("question_id", sa.BigInteger(), nullable=True))
    # a turn that was under way when the program was replaced has no run that would end it
    op.execute("UPDATE messages SET status = 'interrupted' WHERE status = 'pending'")
    op.drop_index("ix_messages_pending", table_name="messages")
    op.create_index("ix_messages_place", "messages", ["chat_id", sa.text("coalesce(question_id, id)"), "id"])
    op.create_table(
        "workers",
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("report", sa.JSON(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_workers")),
    )


def downgrade() -> None:
    op.drop_table("workers")
    op.drop_index("ix_messages_place", table_name="messages")
    op.create_index("ix_messages_pending", "messages", ["chat_id"], postgresql_where=sa.text("status = 'pending'"))
    op.drop_column("messages", "question_id")
    op.drop_column("messages", "run_id")
    op.add_column("chats", sa.Column("turn_until", sa.DateTime(timezone=True), nullable=True))
    op.add_column("chats", sa.Column("turn_id", sa.Uuid(), nullable=True))
