"""Why a session was lost, as the gateway says; and when any replica last accepted a webhook of each source."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """What was logged before has no reason."""
    op.add_column("event", sa.Column("reason", sa.Text))
    op.create_table(
        "acceptance",
        sa.Column("source", sa.Text, primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
    )
