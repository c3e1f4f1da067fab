"""Step 0005 of watch.db: where each tablet is on the air, so that it can be thrown off there."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "session",
        *(sa.Column(name, sa.String, primary_key=True) for name in ("nas", "mac", "session")),
        sa.Column("at", sa.Float, nullable=False),
        *(
            sa.Column(name, sa.String, nullable=False)
            for name in ("site", "ap", "bssid", "source", "nas_ip", "vlan")
        ),
    )
    op.create_index("session_mac", "session", ["mac"])
