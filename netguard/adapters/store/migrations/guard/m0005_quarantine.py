"""Step 0005 of guard.db: who is in quarantine, and how far each removal from the air has come."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make both tables."""
    op.create_table(
        "quarantine",
        sa.Column("tablet", sa.String, primary_key=True),
        *(
            sa.Column(name, sa.String, nullable=False)
            for name in ("at", "who", "why", "until", "incident")
        ),
    )
    op.create_table(
        "removal",
        sa.Column("tablet", sa.String, primary_key=True),
        sa.Column("state", sa.String, nullable=False),
        sa.Column("cause", sa.String, nullable=False),
        sa.Column("since", sa.Float, nullable=False),
        sa.Column("steps", sa.String, nullable=False),
    )
