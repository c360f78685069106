"""Files of their owners, each content once, and what was attached to messages."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "6e1f0b84d3a9"
down_revision: str | None = "7c4d9e21b6f0"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    op.create_table(
        "attachment_blobs",
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_attachment_blobs")),
    )
    op.execute("ALTER TABLE attachment_blobs ALTER COLUMN content SET STORAGE EXTERNAL")
    op.create_table(
        "attachments",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("owner", sa.String(length=255), nullable=False),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("media_type", sa.String(length=100), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attachments")),
        sa.ForeignKeyConstraint(
            ["digest"], ["attachment_blobs.digest"], name=op.f("fk_attachments_digest_attachment_blobs")
        ),
    )
    op.create_index(op.f("ix_attachments_owner_id"), "attachments", ["owner", "id"])
    op.create_index(op.f("ix_attachments_digest"), "attachments", ["digest"])
    op.add_column("messages", sa.Column("attachments", sa.JSON(), nullable=True))


def downgrade() -> None:
    op.drop_column("messages", "attachments")
    op.drop_table("attachments")
    op.drop_table("attachment_blobs")
