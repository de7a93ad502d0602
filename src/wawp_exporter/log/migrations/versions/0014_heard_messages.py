"""When each own message was heard of: an acknowledgement that came later ends it, whatever its own time says."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Of messages that were pending before, and of a replica of the version before, `at` is near enough."""
    op.add_column("pending", sa.Column("heard_at", sa.BigInteger))
