"""What the judge has decided: saved with the fold, so that a restart goes on with it."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """The first start has nothing to load, and judges sessions by their states."""
    # By name, not by id: a row outlives neither its session nor the judge's interest in it.
    op.create_table(
        "judged",
        sa.Column("source", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("memory", sa.Text, nullable=False),
    )
    # Outages and counts of a source (of several sources: ""), and the place in the log up to which all is judged.
    op.create_table(
        "judge",
        sa.Column("source", sa.Text, primary_key=True),
        sa.Column("memory", sa.Text, nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("change", sa.BigInteger, nullable=False),
    )
