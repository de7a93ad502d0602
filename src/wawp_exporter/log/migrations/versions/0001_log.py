"""The event log, the state table, and the transitions view."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Statuses outside the contract count as UNKNOWN; the event keeps them verbatim.
TRANSITIONS = """
CREATE VIEW transitions AS
SELECT source, session, from_status, status, at, tie, received_at, seq, event_id, engine, observed
FROM (
  SELECT seen.*, LAG(status) OVER (PARTITION BY session_id ORDER BY at, tie, seq) AS from_status
  FROM (
    SELECT s.source, s.name AS session, e.session_id, e.at, e.tie, e.received_at, e.seq, e.event_id, e.engine,
      e.status AS observed,
      CASE WHEN e.status IN ('STARTING', 'SCAN_QR_CODE', 'WORKING', 'FAILED', 'STOPPED', 'DISCONNECTED',
        'PASSKEY_REQUIRED', 'PASSKEY_CONFIRMATION_REQUIRED') THEN e.status ELSE 'UNKNOWN' END AS status
    FROM event e JOIN session s ON s.id = e.session_id
  ) AS seen
) AS told
WHERE from_status IS NULL OR from_status <> status
"""

# PostgreSQL keeps a partition a month, by the time as sent: it is part of the key, so that a month knows its own
# duplicates. What belongs to no month that is kept (a wrong clock, a live state's old roots) is in the default one.
PARTITIONED = """
CREATE TABLE event_default PARTITION OF event DEFAULT;
CREATE INDEX event_seq_index ON event (seq);
"""


def upgrade() -> None:
    """Creates everything."""
    partitioned = op.get_bind().dialect.name == "postgresql"
    if partitioned:
        op.execute("CREATE SEQUENCE event_seq")
        seq = sa.Column("seq", sa.BigInteger, server_default=sa.text("nextval('event_seq')"), nullable=False)
    else:
        seq = sa.Column("seq", sa.Integer, primary_key=True)
    op.create_table(
        "session",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("tombstone", sa.BigInteger, nullable=False, server_default="0"),
        sa.UniqueConstraint("source", "name", name="session_key"),
    )
    op.create_table(
        "event",
        seq,
        sa.Column("session_id", sa.Integer, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("tie", sa.Integer, nullable=False),
        sa.Column("key_at", sa.BigInteger, nullable=False),
        sa.Column("received_at", sa.BigInteger, nullable=False),
        sa.Column("event_id", sa.Text),
        sa.Column("engine", sa.Text),
        sa.Column("limits", sa.Text),
        sa.UniqueConstraint("session_id", "key_at", "status", name="event_key"),
        # A number is never given twice, even when retention has taken the newest row: the watermark counts on it.
        sqlite_autoincrement=True,
        postgresql_partition_by="RANGE (key_at)",
    )
    if partitioned:
        op.execute(PARTITIONED)
    op.create_table(
        "state",
        sa.Column("session_id", sa.Integer, primary_key=True),
        sa.Column("oldest", sa.BigInteger, nullable=False),
        sa.Column("memory", sa.Text, nullable=False),
    )
    op.create_table(
        "timeless",
        sa.Column("source", sa.Text, primary_key=True),
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("received_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "watermark",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("seq", sa.BigInteger, nullable=False),
    )
    op.execute("INSERT INTO watermark (id, seq) VALUES (1, 0)")
    op.execute(TRANSITIONS)
