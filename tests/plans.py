"""How much of a log is looked at: rows that PostgreSQL visits, steps that SQLite takes; and logs filled for that."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from tests.builders import ms
from wawp_exporter.log.log import Log

STEPS = 100  # of SQLite's machine between two counts


SQLITE = "(WITH RECURSIVE n(value) AS (VALUES (0) UNION ALL SELECT value + 1 FROM n WHERE value < {}) SELECT * FROM n)"


STATUS = "CASE e.value % 3 WHEN 0 THEN 'WORKING' WHEN 1 THEN 'FAILED' ELSE 'STARTING' END"


def fill(log: Log, sessions: int, events: int, every: int = 3600) -> None:
    """So many events of each session, `every` seconds apart, the newest at T0; and what the planners want to know."""
    for month in range(2 + events * every // (28 * 86_400)):
        log.retention.prepare(ms(-month * 28 * 86_400))
    numbers = "generate_series(CAST(0 AS BIGINT), {})" if log.shared else SQLITE
    of = "(value)" if log.shared else ""
    each, many = f"{numbers.format(sessions - 1)} AS s{of}", f"{numbers.format(events - 1)} AS e{of}"
    at = f"{ms(0)} - ({events - 1} - e.value) * {every * 1000} - s.value"
    columns = f"s.value + 1, {STATUS}, {at}, 0, {at}, {at}"
    with log.database.writing() as writer:
        for statement in (
            f"INSERT INTO session (id, source, name) SELECT s.value + 1, 'default', 's' || s.value FROM {each}",
            "INSERT INTO event (session_id, status, at, tie, key_at, received_at) "
            f"SELECT {columns} FROM {many} CROSS JOIN {each} ORDER BY e.value, s.value",
            "INSERT INTO state (session_id, oldest, memory, seq) "
            f"SELECT s.value + 1, {ms(0)} - s.value, '', 0 FROM {each}",
            *(["SELECT setval('session_id_seq', 1000000)", "ANALYZE"] if log.shared else []),
        ):
            writer.execute(sa.text(statement))


@contextmanager
def visits(engine: sa.Engine) -> Iterator[Callable[[], int]]:
    """Counts what is looked at on the connections of an engine that are made or used meanwhile."""
    count, watched = [0], list[Any]()
    postgresql = engine.dialect.name == "postgresql"

    def explain(connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if postgresql and statement.startswith(("SELECT", "INSERT")):
            raw = connection.connection.driver_connection
            with raw.cursor() as other:
                other.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters)
                count[0] += scanned(other.fetchone()[0][0]["Plan"])

    def step() -> int:
        count[0] += STEPS
        return 0

    def watch(raw: Any, _record: Any, _proxy: Any) -> None:
        if not postgresql:
            raw.set_progress_handler(step, STEPS)
            watched.append(raw)

    sa.event.listen(engine, "before_cursor_execute", explain)
    sa.event.listen(engine, "checkout", watch)
    try:
        yield lambda: count[0]
    finally:
        sa.event.remove(engine, "before_cursor_execute", explain)
        sa.event.remove(engine, "checkout", watch)
        for raw in watched:
            raw.set_progress_handler(None, STEPS)


def scanned(plan: dict[str, Any]) -> int:
    """The rows that the scans of a plan have read, those included that they threw away."""
    rows = 0
    if "Relation Name" in plan:
        removed = sum(plan.get(f"Rows Removed by {why}", 0) for why in ("Filter", "Index Recheck"))
        rows = round((plan["Actual Rows"] + removed) * plan["Actual Loops"])
    return rows + sum(scanned(each) for each in plan.get("Plans", ()))
