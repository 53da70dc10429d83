"""Responses whose client sent a history that is stored already."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("links", sa.Column("follows_input", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("responses", sa.Column("lists_history", sa.Boolean, nullable=False, server_default=sa.false()))
    lists_history = sa.text("lists_history")
    op.create_index(
        "responses_lists_history",
        "responses",
        ["key"],
        sqlite_where=lists_history,
        postgresql_where=lists_history,
    )
