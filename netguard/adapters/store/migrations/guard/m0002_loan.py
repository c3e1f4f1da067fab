"""Step 0002 of guard.db: where each tablet is in its life."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "loan",
        sa.Column("tablet", sa.String, primary_key=True),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("at", sa.String, nullable=False),
        sa.Column("who", sa.String, nullable=False),
        sa.Column("note", sa.String, nullable=False),
        # Also what tells a damaged state from a sound one: integrity_check reads it.
        sa.CheckConstraint(
            "state IN ('stock', 'lent', 'lost', 'stolen', 'retired')", name="loan_state"
        ),
    )
