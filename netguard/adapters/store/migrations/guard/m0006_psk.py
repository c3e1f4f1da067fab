"""Step 0006 of guard.db: the Wi-Fi key of each tablet, sealed."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "psk",
        sa.Column("tablet", sa.String, primary_key=True),
        *(sa.Column(name, sa.String, nullable=False) for name in ("sealed", "at", "who")),
        sa.Column("asks", sa.Integer, nullable=False),
    )
