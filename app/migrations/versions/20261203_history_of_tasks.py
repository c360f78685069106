"""The history of tasks is read by the time at which runs began and ended."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "b41f7a2c9e06"
down_revision: str | None = "9d3e5a1c7f42"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

INDEXES = {
    "ix_runs_starts": ["started_at", "id"],
    "ix_runs_owners_starts": ["owner", "started_at", "id"],
    "ix_runs_ends": ["finished_at", "id"],
    "ix_runs_owners_ends": ["owner", "finished_at", "id"],
}


def upgrade() -> None:
    for name, columns in INDEXES.items():
        told = f"task_id IS NOT NULL AND parent_id IS NULL AND {columns[-2]} IS NOT NULL"
        op.create_index(name, "runs", columns, postgresql_where=sa.text(told))


def downgrade() -> None:
    for name in INDEXES:
        op.drop_index(name, table_name="runs")
