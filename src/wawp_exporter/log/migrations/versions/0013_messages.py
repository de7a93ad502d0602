"""What is known of messages, which are not in the log: counts, last times, and which are not acknowledged."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """No message is kept: neither its chat, nor its text, nor its id, but for a keyed hash while it is pending."""
    # How many messages came and were sent in a clock hour (its begin, in Unix seconds).
    op.create_table(
        "activity",
        sa.Column("session_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("hour", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("received", sa.Integer, nullable=False),
        sa.Column("sent", sa.Integer, nullable=False),
    )
    op.create_index("activity_hour", "activity", ["hour"])
    # All of them, and when the last ones and the last acknowledgement came. `stored_at` is when the row was written.
    op.create_table(
        "traffic",
        sa.Column("session_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("received", sa.BigInteger, nullable=False),
        sa.Column("sent", sa.BigInteger, nullable=False),
        sa.Column("received_at", sa.BigInteger, nullable=False),
        sa.Column("sent_at", sa.BigInteger, nullable=False),
        sa.Column("acked_at", sa.BigInteger, nullable=False),
        sa.Column("stored_at", sa.BigInteger, nullable=False),
    )
    op.create_index("traffic_stored_at", "traffic", ["stored_at"])
    op.create_table(
        "pending",
        sa.Column("session_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("digest", sa.Text, primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
    )
    # The key of the hashes: all replicas must come to the same one.
    op.create_table(
        "hash_key",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("value", sa.Text, nullable=False),
    )
