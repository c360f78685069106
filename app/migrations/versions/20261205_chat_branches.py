"""A chat is a tree of branches; what was said so far is the branch each chat began with."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

revision: str = "9c41e6b2d70f"
down_revision: str | None = "6e1f0b84d3a9"
branch_labels: Sequence[str] | None = None
depends_on: Sequence[str] | None = None


def upgrade() -> None:
    for table, name in (("chats", "branch"), ("chats", "branches"), ("messages", "branch")):
        op.add_column(table, sa.Column(name, sa.Integer(), server_default=sa.text("0"), nullable=False))
    op.create_table(
        "chat_branches",
        sa.Column("chat_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("parent", sa.Integer(), nullable=False),
        sa.Column("until_place", sa.BigInteger(), nullable=False),
        sa.Column("until_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["chat_id"], ["chats.id"], name=op.f("fk_chat_branches_chat_id_chats"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("chat_id", "number", name=op.f("pk_chat_branches")),
    )
    op.drop_index("ix_messages_place", table_name="messages")
    op.create_index("ix_messages_place", "messages", ["chat_id", "branch", sa.text("coalesce(question_id, id)"), "id"])


def downgrade() -> None:
    op.drop_index("ix_messages_place", table_name="messages")
    op.create_index("ix_messages_place", "messages", ["chat_id", sa.text("coalesce(question_id, id)"), "id"])
    op.drop_table("chat_branches")
    op.drop_column("messages", "branch")
    op.drop_column("chats", "branches")
    op.drop_column("chats", "branch")
