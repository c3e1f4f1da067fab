"""Step 0003 of guard.db: lines of the audit can go when the rules no longer keep them."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the table that says up to when lines were let go, and the trigger that reads it."""
    op.create_table("audit_until", sa.Column("at", sa.String, primary_key=True))
    op.execute("INSERT INTO audit_until (at) VALUES ('')")
    op.execute("DROP TRIGGER audit_no_delete")
    op.execute(
        "CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit "
        "WHEN OLD.at >= (SELECT at FROM audit_until) "
        "BEGIN SELECT RAISE(ABORT, 'the audit only grows'); END"
    )
