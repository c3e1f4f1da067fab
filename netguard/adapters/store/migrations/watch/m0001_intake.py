"""Step 0001 of watch.db: how far the event log is read, and which MACs nobody knows."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "program",
        sa.Column("step", sa.String, primary_key=True),
        sa.Column("version", sa.String, nullable=False),
        sa.Column("at", sa.String, nullable=False),
    )
    op.create_table(
        "checkpoint",
        sa.Column("feed", sa.String, primary_key=True),
        sa.Column("file", sa.String, primary_key=True),
        sa.Column("inode", sa.Integer, nullable=False),
        sa.Column("offset", sa.Integer, nullable=False),
    )
    op.create_table(
        "unknown",
        sa.Column("mac", sa.String, primary_key=True),
        sa.Column("site", sa.String, nullable=False),
        sa.Column("nas", sa.String, nullable=False),
        sa.Column("ap", sa.String, nullable=False),
        sa.Column("ssid", sa.String, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("first_at", sa.String, nullable=False),
        sa.Column("last_at", sa.String, nullable=False),
        sa.Column("count", sa.Integer, nullable=False),
    )
    op.create_index("unknown_last_at", "unknown", ["last_at"])
