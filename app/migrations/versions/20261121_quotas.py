"""The ledger of the rate limits, and the processes that share it."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "b7a1c6e0d94f"
down_revision: str | None = "5d0c7be13f62"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "quotas",
        sa.Column("key", sa.LargeBinary(length=16), nullable=False),
        sa.Column("full_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_quotas")),
        prefixes=["UNLOGGED"],
        postgresql_with={"fillfactor": 50},
    )
    op.create_table(
        "quota_processes",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_quota_processes")),
        prefixes=["UNLOGGED"],
    )


def downgrade() -> None:
    op.drop_table("quota_processes")
    op.drop_table("quotas")
