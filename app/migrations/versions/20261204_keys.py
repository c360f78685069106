"""API keys, by the hash of their secret, and the conversations of visitors."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "e52a9c07d4b8"
down_revision: str | None = "b41f7a2c9e06"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def _moment(name: str) -> sa.Column[object]:
    return sa.Column(name, sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False)


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner", sa.String(length=255), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("roles", sa.ARRAY(sa.String(length=255)), nullable=False),
        sa.Column("scopes", sa.ARRAY(sa.String(length=255)), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        _moment("created_at"),
        _moment("updated_at"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
    )
    op.create_index(op.f("ix_api_keys_owner_id"), "api_keys", ["owner", "id"])
    op.create_table(
        "widget_sessions",
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("widget", sa.String(length=64), nullable=False),
        sa.Column("history", sa.JSON(), nullable=False),
        sa.Column("turns", sa.BigInteger(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        _moment("created_at"),
        _moment("updated_at"),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_widget_sessions")),
    )
    op.create_index(op.f("ix_widget_sessions_widget_expires_at"), "widget_sessions", ["widget", "expires_at"])


def downgrade() -> None:
    op.drop_table("widget_sessions")
    op.drop_table("api_keys")
