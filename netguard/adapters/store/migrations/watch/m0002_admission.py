"""Step 0002 of watch.db: the last answer that each tablet got."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "admission",
        sa.Column("mac", sa.String, primary_key=True),
        sa.Column("at", sa.String, nullable=False),
        sa.Column("site", sa.String, nullable=False),
        sa.Column("nas", sa.String, nullable=False),
        sa.Column("ap", sa.String, nullable=False),
        sa.Column("ssid", sa.String, nullable=False),
        sa.Column("answer", sa.String, nullable=False),
        sa.Column("rule", sa.String, nullable=False),
        sa.Column("vlan", sa.String, nullable=False),
    )
    op.create_index("admission_at", "admission", ["at"])
