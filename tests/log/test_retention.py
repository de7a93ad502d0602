"""Retention: what goes and what stays, in slices that hold nobody up, whatever becomes of who purges."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from random import Random

import pytest
import sqlalchemy as sa

from tests import parts, plans
from tests.builders import DAY, HOUR, KEY, event, ms, point, state
from tests.event_log import purge_all
from wawp_exporter.log import partitions
from wawp_exporter.log.log import Log
from wawp_exporter.log.place import Place, make_engine
from wawp_exporter.log.retention import LEASE, LEASE_S, Purge
from wawp_exporter.log.tables import event as events
from wawp_exporter.model.session import Memory

NUMBERS = count()
S, W, F = "STARTING", "WORKING", "FAILED"
OLD = partitions.unix_ms(partitions.after(partitions.month_of(ms(0))))  # all of T0's month is older


@pytest.fixture
def log(place: Place) -> Iterator[Log]:
    """An open log, in either database."""
    log = Log(place)
    log.retention.prepare(ms(0))
    yield log
    log.close()


@pytest.fixture
def month(postgres: parts.Postgres) -> Iterator[Log]:
    """A log in PostgreSQL whose first month is over: a thousand events of ten sessions, and what they rest on."""
    log = Log(postgres.create_database(f"retention_{next(NUMBERS)}"))
    plans.fill(log, sessions=10, events=100, every=HOUR)
    assert log.leases.take(LEASE, LEASE_S)
    yield log
    log.close()


def numbers_of(log: Log) -> set[int]:
    """The rows that the log has."""
    with log.database.engine.connect() as reader:
        return set(reader.scalars(sa.select(events.c.seq)))


def finish(purge: Purge) -> int:
    """The rest of a pass."""
    while (doomed := purge.look()) is not None:
        purge.take(doomed)
    return purge.gone


def tables(log: Log) -> list[str]:
    """The months and what is kept of them, whether they are part of the log or not."""
    if not log.shared:
        return []
    with log.database.engine.connect() as reader:
        months, kept = partitions.attached(reader)
        return [*months, *kept, *partitions.detached(reader)]


@contextmanager
def reading(place: Place) -> Iterator[None]:
    """Somebody reads the log all the while."""
    engine = make_engine(place, reads_only=True)
    with engine.connect() as reader:
        reader.execute(sa.select(events.c.seq).limit(1))
        yield
    engine.dispose()


@pytest.mark.parametrize("limit", [1, 3, 1000])
def test_what_goes_is_what_nothing_rests_on(log: Log, limit: int) -> None:
    """By a plain reading of all rows, whatever the slices: from the one before the oldest that a state rests on, all
    stays; and so does what was received later.
    """
    draw = Random(limit)
    for number in range(60):
        name, at = ("default", draw.choice("abcd")), draw.randrange(DAY)
        late = (OLD - ms(0)) / 1000 + number if number > 45 else DAY
        log.append([event(draw.choice([S, W, F]), at, key=name, received=late)])
    for name in "abc":
        since = draw.randrange(DAY)
        log.save([(("default", name), Memory(state(F, since), "GOWS", 0))], 0)
    with log.database.engine.connect() as reader:
        rows = reader.execute(sa.select(events)).all()
        owners = dict(reader.execute(sa.text("SELECT session_id, oldest FROM state")).all())  # type: ignore[arg-type]
    stays = set()
    for row in rows:
        oldest = owners.get(row.session_id)
        older = [each.key_at for each in rows if oldest and each.session_id == row.session_id and each.key_at < oldest]
        if row.received_at >= OLD or (oldest is not None and row.key_at >= max(older, default=0)):
            stays.add(row.seq)

    gone = purge_all(log, OLD, limit)

    assert numbers_of(log) == stays
    assert gone == len(rows) - len(stays)
    assert purge_all(log, OLD, limit) == 0


def test_a_slice_looks_at_so_many_rows_though_all_must_be_kept(log: Log) -> None:
    """A session that has been WORKING for a year with a heartbeat an hour rests on all of them."""
    plans.fill(log, sessions=10, events=600)
    with log.database.writing() as writer:
        writer.execute(sa.text("UPDATE state SET oldest = 1"))
    log.leases.take(LEASE, LEASE_S)
    purge = log.retention.purging(ms(2 * 365 * DAY), limit=100)
    work = 40_000 if isinstance(log.place, Path) else 2000  # steps of SQLite's machine, or rows

    with plans.visits(log.database.engine) as seen:
        before, most = 0, 0
        while (doomed := purge.look()) is not None:
            assert len(doomed.numbers) == 0
            most, before = max(most, seen() - before), seen()

    assert 0 < most < work
    assert len(numbers_of(log)) == 6000


def test_a_purge_that_is_cut_off_is_done_by_the_next_one(log: Log) -> None:
    """Wherever the kill came; nothing of it is left."""
    log.append([event((S, W, F)[at % 3], at) for at in range(100)])
    log.save([(KEY, Memory(state(F, 98), "GOWS", 0))], 100)
    for slices in range(8):
        log.leases.take(LEASE, LEASE_S)
        purge = log.retention.purging(OLD, limit=30)
        for _ in range(slices):
            purge.look()
        if slices == 6:
            assert len(numbers_of(log)) >= 3

    purge_all(log, OLD)

    assert numbers_of(log) == {98, 99, 100}
    assert [name for name in tables(log) if "2026_11" in name] == (["event_kept_2026_11"] if log.shared else [])


def test_actions_runs_and_signs_of_life_go_with_the_events(log: Log) -> None:
    """They would grow for ever."""
    log.runs.beat(ms(0))
    log.actions.claim(KEY, "restart", "A", ms(0), lambda _: "")
    log.actions.claim(KEY, "restart", "A", OLD, lambda _: "")
    with log.database.writing() as writer:
        writer.execute(sa.text("INSERT INTO heard (session_id, at, stored_at) VALUES (1, 1, 1)"))

    purge_all(log, OLD)

    with log.database.engine.connect() as reader:
        counts = [reader.scalar(sa.text(f"SELECT count(*) FROM {table}")) for table in ("action", "run", "heard")]
    assert counts == [1, 0, 0]


# -- months


def test_what_comes_to_a_month_while_it_is_gone_through_is_kept(month: Log) -> None:
    """Before and after its row was looked at, also when it is about an event that was copied already."""
    purge = month.retention.purging(OLD, limit=50)
    late = (OLD - ms(0)) / 1000
    for number in range(20):
        purge.look()
        month.append([event(F, -number * HOUR - 1, key=("default", "late"), received=late)])

    finish(purge)

    with month.database.engine.connect() as reader:
        kept = reader.scalar(sa.text(f"SELECT count(*) FROM event WHERE received_at = {OLD}"))
    assert kept == 20


def test_what_is_told_more_of_a_row_that_was_copied_already_is_kept(month: Log) -> None:
    """A longer history counts more ties; it may come at any moment."""

    def kept(where: str) -> list[int]:
        with month.database.engine.connect() as reader:
            return list(reader.scalars(sa.text(f"SELECT tie FROM event_kept_2026_11 WHERE {where}")))

    late, key = (OLD - ms(0)) / 1000, ("default", "late")
    month.append([event(F, -HOUR, key=key, received=late)])
    purge = month.retention.purging(OLD)
    while "event_kept_2026_11" not in tables(month) or not kept("received_at >= " + str(OLD)):
        purge.look()
    assert "event_2026_11" in tables(month)

    month.append([event(F, -HOUR, key=key, tie=1, before=[point(S, -HOUR)], received=late)])
    finish(purge)

    assert kept("received_at >= " + str(OLD) + " AND status = 'FAILED'") == [1]


def test_a_reader_who_takes_long_delays_the_purge_and_nobody_else(month: Log) -> None:
    """Whoever waits for the lock that excludes everybody makes all others wait: it is asked for an instant only."""
    other = Log(month.place)
    purge = month.retention.purging(OLD)
    with reading(month.place):
        for _ in range(60):
            purge.look()
            other.append([event(W, 0)])
        assert "event_2026_11" in tables(month)

    assert finish(purge) > 0

    assert "event_2026_11" not in tables(month)
    other.close()


def test_a_purge_ends_when_another_replica_has_its_lease(month: Log) -> None:
    """One that was frozen must not go on beside the other."""
    purge = month.retention.purging(OLD, limit=50)
    purge.look()
    before = numbers_of(month)
    other = Log(month.place)
    assert purge_all(other, OLD) == 0
    with month.database.writing() as writer:
        writer.execute(sa.text("UPDATE lease SET until = 0"))
    assert other.leases.take(LEASE, LEASE_S)

    assert finish(purge) == 0
    assert numbers_of(month) == before
    assert purge_all(other, OLD) > 0
    other.close()


def test_what_was_kept_of_a_month_goes_when_nothing_rests_on_it_any_more(month: Log) -> None:
    """And the table with the last row."""
    purge_all(month, OLD)
    assert "event_kept_2026_11" in tables(month)
    with month.database.writing() as writer:
        writer.execute(sa.text("DELETE FROM state"))

    assert purge_all(month, OLD) > 0

    assert not [name for name in tables(month) if "2026_11" in name]
    assert numbers_of(month) == set()


def test_a_month_is_not_made_while_somebody_reads_for_long(month: Log) -> None:
    """It is asked for again; meanwhile its events go to the default partition."""
    with reading(month.place):
        assert not month.retention.prepare(ms(400 * DAY))

    assert month.retention.prepare(ms(400 * DAY))


def test_a_month_whose_events_are_many_already_stays_in_the_default_partition(
    month: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock that was a year ahead for days: everybody would wait while they move."""
    month.append([event(W, 400 * DAY + at, received=0) for at in range(5)])
    monkeypatch.setattr(partitions, "MOVED", 3)

    month.retention.prepare(ms(400 * DAY))

    assert "event_2027_12" not in tables(month)
    assert len(numbers_of(month)) == 1005
