"""What agents keep between turns: memories of people, and notes of threads."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "3b8f1d6c2a97"
down_revision: str | None = "e52a9c07d4b8"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def _moment(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False)


def upgrade() -> None:
    op.create_table(
        "memories",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("owner", sa.String(length=255), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("tags", sa.ARRAY(sa.String(length=64)), nullable=False),
        sa.Column("search", postgresql.TSVECTOR(), nullable=False),
        _moment("created_at"),
        _moment("updated_at"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_memories")),
        sa.UniqueConstraint("owner", "digest", name=op.f("uq_memories_owner_digest")),
    )
    op.create_index(op.f("ix_memories_owner_id"), "memories", ["owner", "id"])
    op.create_table(
        "agent_notes",
        sa.Column("owner", sa.String(length=255), nullable=False),
        sa.Column("thread", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        _moment("written_at"),
        sa.PrimaryKeyConstraint("owner", "thread", "name", name=op.f("pk_agent_notes")),
    )
    op.create_index(op.f("ix_agent_notes_owner_written_at"), "agent_notes", ["owner", "written_at"])


def downgrade() -> None:
    op.drop_table("agent_notes")
    op.drop_table("memories")
