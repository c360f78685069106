"""Withdrawn tokens, and the counter that puts their changes in order."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "5d0c7be13f62"
down_revision: str | None = "9ecfb2eab84a"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "revocations",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("mark", sa.String(length=3), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("before", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.String(length=255), nullable=False),
        sa.Column("lifted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("mark IN ('sub', 'jti')", name=op.f("ck_revocations_mark")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_revocations")),
        sa.UniqueConstraint("mark", "name", name=op.f("uq_revocations_mark_name")),
    )
    op.create_index(op.f("ix_revocations_number"), "revocations", ["number"])
    op.create_index(op.f("ix_revocations_expires_at"), "revocations", ["expires_at"])
    op.create_table(
        "revocation_counter",
        sa.Column("id", sa.SmallInteger(), server_default=sa.text("1"), autoincrement=False, nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_revocation_counter_single")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_revocation_counter")),
    )


def downgrade() -> None:
    op.drop_table("revocation_counter")
    op.drop_table("revocations")
