"""Requests for approval; and the audit, which takes nothing back."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "5c1b7e93d6a2"
down_revision: str | None = "2f6a90c4b7d1"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None

# a row may go when it is a month old, and whoever removes it has said in this transaction that it is for that
KEEP = """
CREATE FUNCTION keep_audit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' AND current_setting('portico.audit_retention', true) = 'on'
      AND OLD.at < now() - interval '30 days' THEN
    RETURN OLD;
  END IF;
  RAISE EXCEPTION 'the audit takes nothing back' USING ERRCODE = 'insufficient_privilege';
END $$"""


def _dated() -> Sequence[sa.Column[object]]:
    return [
        sa.Column(name, sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False)
        for name in ("created_at", "updated_at")
    ]


def upgrade() -> None:
    op.create_table(
        "approvals",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("run_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.String(length=512), nullable=False),
        sa.Column("chat_id", sa.BigInteger(), nullable=True),
        sa.Column("owner", sa.String(length=255), nullable=False),
        sa.Column("agent", sa.String(length=255), nullable=False),
        sa.Column("tool_call_id", sa.Text(), nullable=False),
        sa.Column("tool", sa.String(length=255), nullable=False),
        sa.Column("risk", sa.String(length=32), nullable=False),
        sa.Column("arguments", sa.JSON(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("question", sa.Text(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("scope", sa.String(length=8), nullable=True),
        sa.Column("edited", sa.JSON(), nullable=True),
        sa.Column("decided_by", sa.String(length=255), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        *_dated(),
        sa.CheckConstraint("status IN ('pending', 'approved', 'denied', 'expired')", name=op.f("ck_approvals_status")),
        sa.CheckConstraint(
            "(status IN ('approved', 'denied')) = (decided_by IS NOT NULL)", name=op.f("ck_approvals_decided")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_approvals")),
        sa.UniqueConstraint("run_id", "key", name=op.f("uq_approvals_run_id_key")),
    )
    op.create_index(op.f("ix_approvals_owner_id"), "approvals", ["owner", "id"])
    op.create_index(
        "ix_approvals_chat", "approvals", ["chat_id", "id"], postgresql_where=sa.text("chat_id IS NOT NULL")
    )
    _create_standing()
    _create_audit()


def _create_standing() -> None:
    op.create_table(
        "standing_approvals",
        sa.Column("chat_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("agent", sa.String(length=255), nullable=False),
        sa.Column("tool", sa.String(length=255), nullable=False),
        sa.Column("approval_id", sa.Uuid(), nullable=False),
        sa.Column("given_by", sa.String(length=255), nullable=False),
        *_dated(),
        sa.PrimaryKeyConstraint("chat_id", "agent", "tool", name=op.f("pk_standing_approvals")),
    )


def _create_audit() -> None:
    op.create_table(
        "audit",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("who", sa.String(length=255), nullable=False),
        sa.Column("owner", sa.String(length=255), nullable=True),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("object_id", sa.String(length=255), nullable=False),
        sa.Column("agents", sa.ARRAY(sa.String(length=255)), nullable=False),
        sa.Column("request_id", sa.String(length=255), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    op.create_index(op.f("ix_audit_at"), "audit", ["at"])
    op.create_index(op.f("ix_audit_who_id"), "audit", ["who", "id"])
    op.create_index(op.f("ix_audit_owner_id"), "audit", ["owner", "id"])
    op.execute(KEEP)
    op.execute("CREATE TRIGGER keep_rows BEFORE UPDATE OR DELETE ON audit FOR EACH ROW EXECUTE FUNCTION keep_audit()")
    op.execute("CREATE TRIGGER keep_table BEFORE TRUNCATE ON audit FOR EACH STATEMENT EXECUTE FUNCTION keep_audit()")


def downgrade() -> None:
    op.drop_table("audit")
    op.execute("DROP FUNCTION keep_audit()")
    op.drop_table("standing_approvals")
    op.drop_table("approvals")
