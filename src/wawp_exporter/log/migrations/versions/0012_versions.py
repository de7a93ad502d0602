"""What a row of the log said before it was revised, so that the log can be folded as it was at any place."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Of what was revised before, only the newest version is known."""
    op.add_column("event", sa.Column("former", sa.Text))
    op.add_column("change", sa.Column("revision", sa.Integer))
