"""The last probe of each session, which the replica that probes writes and the others read."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Of a session that was not probed they are null."""
    for name in ("probed_at", "probe_took_ms", "probe_failures", "probe_failing"):
        op.add_column("heard", sa.Column(name, sa.BigInteger))
