"""All names of a source in one index, so that a page of its transitions need not read the names themselves."""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """It counts the names that are folded too, as the index did that it replaces."""
    # IF: somebody may have changed indexes by hand, which is no reason to refuse the log.
    op.execute("DROP INDEX IF EXISTS session_folded")
    op.execute("CREATE INDEX IF NOT EXISTS session_standing ON session (source, standing, id)")
