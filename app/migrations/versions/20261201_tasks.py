"""Tasks, and which of them wait for others."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "7d3e81f0ac54"
down_revision: str | None = "8d3e61f0b2c7"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

ENDS = "IN ('completed', 'failed', 'interrupted')"


def upgrade() -> None:
    op.create_table(
        "tasks",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner", sa.String(length=255), nullable=False),
        sa.Column("task_type", sa.String(length=16), nullable=False),
        sa.Column("prompt", sa.Text(), nullable=False),
        sa.Column("agent", sa.String(length=255), nullable=True),
        sa.Column("enabled", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("authority", sa.JSON(), nullable=False),
        sa.Column("schedule_expression", sa.String(length=255), nullable=True),
        sa.Column("timezone", sa.String(length=64), nullable=True),
        sa.Column("schedule", sa.JSON(), nullable=True),
        sa.Column("next_run_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_run_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_run_id", sa.Uuid(), nullable=True),
        sa.Column("last_status", sa.String(length=16), nullable=True),
        sa.Column("trigger_config", sa.JSON(), nullable=True),
        sa.Column("notification_config", sa.JSON(), nullable=True),
        sa.Column("settings", sa.JSON(), nullable=True),
        sa.Column("context_data", sa.JSON(), nullable=False),
        sa.Column("batch_id", sa.Uuid(), nullable=True),
        sa.Column("token_id", sa.String(length=255), nullable=True),
        sa.Column("issued_at", sa.Double(), nullable=True),
        sa.Column("withdrawn_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "task_type IN ('delegation', 'scheduled', 'triggered', 'research', 'heartbeat')",
            name=op.f("ck_tasks_task_type"),
        ),
        sa.CheckConstraint(f"last_status {ENDS}", name=op.f("ck_tasks_last_status")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tasks")),
    )
    op.create_index(op.f("ix_tasks_owner_id"), "tasks", ["owner", "id"])
    op.create_index("ix_tasks_batch", "tasks", ["batch_id"], postgresql_where=sa.text("batch_id IS NOT NULL"))
    op.create_index(
        "ix_tasks_due", "tasks", ["next_run_at"], postgresql_where=sa.text("enabled AND deleted_at IS NULL")
    )
    op.create_table(
        "task_dependencies",
        sa.Column("task_id", sa.Uuid(), nullable=False),
        sa.Column("needs", sa.Uuid(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=True),
        sa.CheckConstraint(f"state {ENDS}", name=op.f("ck_task_dependencies_state")),
        sa.ForeignKeyConstraint(
            ["task_id"], ["tasks.id"], name=op.f("fk_task_dependencies_task_id_tasks"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["needs"], ["tasks.id"], name=op.f("fk_task_dependencies_needs_tasks"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("task_id", "needs", name=op.f("pk_task_dependencies")),
    )
    op.create_index(op.f("ix_task_dependencies_needs"), "task_dependencies", ["needs"])


def downgrade() -> None:
    op.drop_table("task_dependencies")
    op.drop_table("tasks")
