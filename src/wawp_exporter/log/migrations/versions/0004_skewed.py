"""An index of the events whose own time was not believed, so that any event is found by its time of effect."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Of all others `at` is `key_at`, which the key of the table has in order already: few appends touch this index."""
    skewed = sa.text("at <> key_at")
    op.create_index("event_skewed", "event", ["session_id", "at"], sqlite_where=skewed, postgresql_where=skewed)
