"""Step 0007 of watch.db: when a session began, by its Start; 0 where nobody has heard one."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Add the column."""
    op.add_column("session", sa.Column("since", sa.Float, nullable=False, server_default="0"))
