"""All names of a source in one index, so that a page of its transitions need not read the names themselves."""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """It counts the names that are folded too, as the index did that it replaces."""
    op.execute("DROP INDEX session_folded")
    op.execute("CREATE INDEX session_standing ON session (source, standing, id)")
