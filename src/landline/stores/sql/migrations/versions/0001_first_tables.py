"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_ROW_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "trunks",
        sa.Column("number", _ROW_NUMBER, primary_key=True, autoincrement=True),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "paths",
        sa.Column("trunk", _ROW_NUMBER, sa.ForeignKey("trunks.number", ondelete="CASCADE"), primary_key=True),
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("low", sa.BigInteger, nullable=False),
        sa.Column("high", sa.BigInteger, nullable=False),
    )
    op.create_index("paths_low_high", "paths", ["low", "high"])
    op.create_table(
        "links",
        sa.Column("key", _ROW_NUMBER, primary_key=True, autoincrement=False),
        sa.Column("input_count", sa.Integer, nullable=False),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("content", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "responses",
        sa.Column("tenant", sa.String, primary_key=True),
        sa.Column("response_id", sa.String, primary_key=True),
        sa.Column("key", sa.BigInteger, sa.ForeignKey("links.key", onupdate="CASCADE"), nullable=False, unique=True),
        sa.Column("conversation_id", sa.String),
        sa.Column("owner", sa.BigInteger),
        sa.Column("created_at", sa.Float(53), nullable=False),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("is_background", sa.Boolean, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )
    op.create_index("responses_created_at", "responses", ["created_at"])
    is_owned = sa.text("owner IS NOT NULL")
    op.create_index("responses_owner", "responses", ["owner"], sqlite_where=is_owned, postgresql_where=is_owned)
    op.create_table(
        "items",
        sa.Column("tenant", sa.String, primary_key=True),
        sa.Column("item_id", sa.String, primary_key=True),
        sa.Column(
            "key",
            sa.BigInteger,
            sa.ForeignKey("links.key", onupdate="CASCADE", ondelete="CASCADE"),
            primary_key=True,
            autoincrement=False,
        ),
    )
    op.create_index("items_key", "items", ["key"])
    op.create_table(
        "conversations",
        sa.Column("tenant", sa.String, primary_key=True),
        sa.Column("conversation_id", sa.String, primary_key=True),
        sa.Column("created_at", sa.Float(53), nullable=False),
        sa.Column("metadata", sa.LargeBinary, nullable=False),
        sa.Column("tip", sa.BigInteger, nullable=False, unique=True),
        sa.Column("writer", sa.String),
        sa.Column("owner", sa.BigInteger),
    )
    is_locked = sa.text("writer IS NOT NULL")
    op.create_index(
        "conversations_writer",
        "conversations",
        ["tenant", "writer"],
        sqlite_where=is_locked,
        postgresql_where=is_locked,
    )
    op.create_table("owners", sa.Column("number", _ROW_NUMBER, primary_key=True, autoincrement=True))
