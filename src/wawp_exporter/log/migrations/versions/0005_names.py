"""Whether the events of a name are folded, are over the limit and only logged, or it was forgotten."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """All that are there are folded, but for those that were deleted and have not come back."""
    op.add_column("session", sa.Column("standing", sa.Integer, nullable=False, server_default="0"))
    op.execute(
        "UPDATE session SET standing = 2 WHERE tombstone > 0 AND NOT EXISTS "
        "(SELECT 1 FROM event WHERE session_id = session.id AND key_at > tombstone)"
    )
    # One counts the names that are folded, one finds those that wait for room, in the order in which they came.
    op.execute("CREATE INDEX session_folded ON session (source, standing) WHERE standing = 0")
    op.execute("CREATE INDEX session_over ON session (source, id) WHERE standing = 1")
