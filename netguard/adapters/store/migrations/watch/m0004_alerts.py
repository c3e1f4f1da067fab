"""Step 0004 of watch.db: what is to be told to whom, what people said of alerts, and who said it."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "outbox",
        sa.Column("id", sa.Integer, primary_key=True),
        *(
            sa.Column(name, sa.String, nullable=False)
            for name in ("notice", "receiver", "channel", "incident", "key", "code", "state")
        ),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        *(sa.Column(name, sa.String, nullable=False) for name in ("why", "body")),
        sa.UniqueConstraint("notice", "receiver", "channel"),
    )
    op.create_index("outbox_state", "outbox", ["state", "receiver", "channel", "id"])
    op.create_table(
        "said",
        sa.Column("incident", sa.String, primary_key=True),
        *(sa.Column(name, sa.String, nullable=False) for name in ("acknowledged", "note")),
        sa.Column("snoozed", sa.Float, nullable=False),
    )
    op.create_table(
        "silence",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("begins", sa.Float, nullable=False),
        sa.Column("ends", sa.Float, nullable=False),
        *(
            sa.Column(name, sa.String, nullable=False)
            for name in ("who", "note", "site", "area", "tablet", "code")
        ),
    )
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer, primary_key=True),
        *(
            sa.Column(name, sa.String, nullable=False)
            for name in ("at", "who", "verb", "subject", "before", "after")
        ),
    )
    op.create_index("audit_at", "audit", ["at"])
