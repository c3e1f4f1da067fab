"""Step 0003 of watch.db: what the engine of presence knows, what it was told since, and what it said."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "snapshot",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("journal", sa.Integer, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("state", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "journal",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("lines", sa.String, nullable=False),
    )
    op.create_table(
        "incident",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("tablet", sa.String, nullable=False),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("cleared", sa.Float, nullable=True),
        sa.Column("body", sa.String, nullable=False),
    )
    op.create_index("incident_at", "incident", ["at"])
    op.create_table(
        "recording",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("lines", sa.String, nullable=False),
    )
    op.create_index("recording_at", "recording", ["at"])
