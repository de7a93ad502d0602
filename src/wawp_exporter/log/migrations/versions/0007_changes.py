"""What a start needs to agree with the process before it: changes of the log without a new row, coverage by source."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """The table of changes replaces that of deletions; the watermark is one of each source."""
    # The newest row when a session was deleted: what came before belongs to its former life, whatever its time says.
    op.add_column("session", sa.Column("buried", sa.BigInteger, nullable=False, server_default="0"))
    op.create_table(
        "change",
        sa.Column("id", sa.Integer, primary_key=True),
        # The newest row before the change, so that rows and changes have one order.
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("session_id", sa.Integer, nullable=False, index=True),
        # A deletion has a tombstone; a revised row, its number.
        sa.Column("tombstone", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("event_seq", sa.BigInteger),
        sqlite_autoincrement=True,
    )
    op.drop_table("deletion")
    op.create_index("timeless_age", "timeless", ["received_at"])
    # All events in the order of their times. As an expression, so that nothing else is looked for in it.
    op.create_index("event_at", "event", [sa.text("(at + 0)")])
    bind = op.get_bind()
    marks = bind.execute(
        sa.text("SELECT total, shard, source, seq FROM watermark CROSS JOIN (SELECT DISTINCT source FROM session) AS s")
    ).all()
    op.drop_table("watermark")
    table = op.create_table(
        "watermark",
        sa.Column("total", sa.Integer, primary_key=True),
        sa.Column("shard", sa.Integer, primary_key=True),
        sa.Column("source", sa.Text, primary_key=True),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("change", sa.BigInteger, nullable=False),
    )
    if marks:
        op.bulk_insert(
            table, [dict(zip(("total", "shard", "source", "seq"), mark, strict=True), change=0) for mark in marks]
        )
