"""What became of requests that were sent with a key."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "c3f0a86d2e17"
down_revision: str | None = "b7a1c6e0d94f"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "keyed_requests",
        sa.Column("owner", sa.String(length=255), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("hold", sa.Uuid(), nullable=True),
        sa.Column("held_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("made", sa.String(length=64), nullable=True),
        sa.Column("status", sa.SmallInteger(), nullable=True),
        sa.Column("headers", sa.JSON(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("owner", "key", name=op.f("pk_keyed_requests")),
    )
    op.create_index(op.f("ix_keyed_requests_id"), "keyed_requests", ["id"], unique=True)
    op.create_index(op.f("ix_keyed_requests_expires_at"), "keyed_requests", ["expires_at"])


def downgrade() -> None:
    op.drop_table("keyed_requests")
