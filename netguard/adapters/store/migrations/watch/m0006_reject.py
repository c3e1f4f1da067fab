"""Step 0006 of watch.db: where tablets of the inventory were refused, how often, since when."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "reject",
        *(
            sa.Column(name, sa.String, primary_key=True)
            for name in ("mac", "site", "rule", "ssid", "ap")
        ),
        *(sa.Column(name, sa.String, nullable=False) for name in ("first_at", "last_at")),
        sa.Column("count", sa.Integer, nullable=False),
    )
    op.create_index("reject_last_at", "reject", ["last_at"])
