"""The slots of schedules: each is fired once."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "c4e8a25b9f16"
down_revision: str | None = "b41f7d20c9e8"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "task_slots",
        sa.Column("task_id", sa.Uuid(), nullable=False),
        sa.Column("slot", sa.DateTime(timezone=True), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "outcome IN ('fired', 'missed', 'overlap', 'unchanged', 'backoff')", name=op.f("ck_task_slots_outcome")
        ),
        sa.ForeignKeyConstraint(
            ["task_id"], ["tasks.id"], name=op.f("fk_task_slots_task_id_tasks"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("task_id", "slot", name=op.f("pk_task_slots")),
    )
    op.create_index(op.f("ix_task_slots_at"), "task_slots", ["at"])
    op.create_index(
        "ix_task_slots_fired", "task_slots", ["task_id", "slot"], postgresql_where=sa.text("run_id IS NOT NULL")
    )


def downgrade() -> None:
    op.drop_table("task_slots")
