"""What replicas need to share a log: shards, leases, deletions in order, signs of life, and actions."""

from zlib import crc32

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Columns first, then the tables."""
    op.add_column("session", sa.Column("slot", sa.BigInteger, nullable=False, server_default="0"))
    bind = op.get_bind()
    known = bind.execute(sa.text("SELECT id, source, name FROM session")).all()
    if known:
        slots = [{"id": id_, "slot": crc32(f"{source}\0{name}".encode())} for id_, source, name in known]
        bind.execute(sa.text("UPDATE session SET slot = :slot WHERE id = :id"), slots)
    # How often a row was corrected since it was stored.
    op.add_column("event", sa.Column("revision", sa.Integer, nullable=False, server_default="0"))
    op.add_column("event", sa.Column("origin", sa.Text))
    op.add_column("state", sa.Column("seq", sa.BigInteger, nullable=False, server_default="0"))
    seq = bind.execute(sa.text("SELECT seq FROM watermark")).scalar() or 0
    op.drop_table("watermark")
    op.create_table(
        "watermark",
        sa.Column("total", sa.Integer, primary_key=True),
        sa.Column("shard", sa.Integer, primary_key=True),
        sa.Column("seq", sa.BigInteger, nullable=False),
    )
    bind.execute(sa.text("INSERT INTO watermark (total, shard, seq) VALUES (1, 0, :seq)"), {"seq": seq})
    op.create_table(
        "lease",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("until", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "deletion",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("session_id", sa.Integer, nullable=False),
        sa.Column("tombstone", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "heard",
        sa.Column("session_id", sa.Integer, primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("stored_at", sa.BigInteger, nullable=False, index=True),
    )
    op.create_table(
        "action",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("session_id", sa.Integer, nullable=False, index=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("alert", sa.Text, nullable=False),
        sa.Column("result", sa.Text, nullable=False),
    )
