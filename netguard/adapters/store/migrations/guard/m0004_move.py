"""Step 0004 of guard.db: where people say that a tablet is about to go."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "move",
        sa.Column("tablet", sa.String, primary_key=True),
        sa.Column("area", sa.String, nullable=False),
        sa.Column("until", sa.String, nullable=False),
    )
