"""The public keys with which tokens of runs are checked."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "8a1d52c9f7b3"
down_revision: str | None = "c41f0d7a9e25"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "signing_keys",
        sa.Column("id", sa.String(length=128), nullable=False),
        sa.Column("n", sa.String(length=2048), nullable=False),
        sa.Column("e", sa.String(length=16), nullable=False),
        sa.Column("not_after", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_signing_keys")),
    )


def downgrade() -> None:
    op.drop_table("signing_keys")
