"""Step 0007 of guard.db: until when a loan is, where it has an end of its own."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the column; no loan had an end before."""
    op.add_column("loan", sa.Column("until", sa.String, nullable=False, server_default=""))
