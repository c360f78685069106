"""The children of a run are found when it ends."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "8d3e61f0b2c7"
down_revision: str | None = "5c1b7e93d6a2"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    op.create_index("ix_runs_parent", "runs", ["parent_id", "id"], postgresql_where=sa.text("parent_id IS NOT NULL"))


def downgrade() -> None:
    op.drop_index("ix_runs_parent", table_name="runs")
