"""The view of transitions judges what several webhooks say of one end of a session, as the fold does."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# Since the last event that is about no end: when the ones before each event said that the session was lost, or that
# somebody stopped it. Within 30 s such an event explains a weaker one, which then changes nothing.
TRANSITIONS = """
CREATE VIEW transitions AS
SELECT source, session, from_status, status, at, tie, received_at, seq, event_id, engine, observed
FROM (
  SELECT judged.*, LAG(status) OVER (PARTITION BY session_id ORDER BY at, tie, seq) AS from_status
  FROM (
    SELECT ends.*,
      MAX(CASE WHEN ending = 'lost' THEN at ELSE 0 END) OVER one_end AS lost_at,
      MAX(CASE WHEN ending = 'decided' THEN at ELSE 0 END) OVER one_end AS decided_at
    FROM (
      SELECT seen.*,
        SUM(CASE WHEN ending IS NULL THEN 1 ELSE 0 END) OVER (PARTITION BY session_id ORDER BY at, tie, seq) AS number
      FROM (
        SELECT s.source, s.name AS session, e.session_id, e.at, e.tie, e.received_at, e.seq, e.event_id, e.engine,
          e.status AS observed,
          CASE WHEN e.origin IN ('closed', 'lost', 'decided') THEN e.origin END AS ending,
          CASE WHEN e.status IN ('STARTING', 'SCAN_QR_CODE', 'WORKING', 'FAILED', 'STOPPED', 'DISCONNECTED',
            'PASSKEY_REQUIRED', 'PASSKEY_CONFIRMATION_REQUIRED') THEN e.status ELSE 'UNKNOWN' END AS status
        FROM event e JOIN session s ON s.id = e.session_id
      ) AS seen
    ) AS ends
    WINDOW one_end AS (PARTITION BY session_id, number ORDER BY at, tie, seq
      ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
  ) AS judged
  WHERE ending IS NULL OR ending = 'decided'
    OR (ending = 'lost' AND at - COALESCE(decided_at, 0) > 30000)
    OR (ending = 'closed' AND at - COALESCE(decided_at, 0) > 30000 AND at - COALESCE(lost_at, 0) > 30000)
) AS told
WHERE from_status IS NULL OR from_status <> status
"""


def upgrade() -> None:
    """A view has no data."""
    op.execute("DROP VIEW transitions")
    op.execute(TRANSITIONS)
