"""The counts of all sources' engines, and in which of them a session is counted."""

from wawp_exporter.model.bucket import ORDINAL, STATUS_BOUNDS, Bucket, Histogram, Slo
from wawp_exporter.model.machine import Transition
from wawp_exporter.model.rules import Key
from wawp_exporter.model.session import Session


class Buckets(dict[Key, Bucket]):
    """(source, engine) → its counts. A session is counted in one of them at a time, its `bucket`."""

    def join(self, session: Session, engine: str, mono: float) -> None:
        """Counts a session as one of an engine."""
        key = (session.source, engine)
        if key not in self:
            self[key] = Bucket(*key, mono)
        session.bucket = bucket = self[key]
        session.engine = bucket.engine  # one text for all of its sessions
        bucket.accrue(mono)
        bucket.counts[ORDINAL[session.state.status]] += 1
        bucket.slo_counts[session.slo] += 1
        bucket.seen.add(session.state.status)

    def up_to(self, mono: float) -> list[Bucket]:
        """All of them, their seconds brought up to `mono`."""
        for bucket in self.values():
            bucket.accrue(mono)
        return list(self.values())


def leave(session: Session, mono: float) -> None:
    """Takes a session out of the counts of its engine; what it has brought to counters stays."""
    session.accrue(mono)
    session.bucket.accrue(mono)
    session.bucket.counts[ORDINAL[session.state.status]] -= 1
    session.bucket.slo_counts[session.slo] -= 1


def judge(session: Session, slo: Slo, mono: float) -> None:
    """Counts a session's seconds from `mono` on towards the objective as `slo`."""
    session.bucket.accrue(mono)
    session.bucket.slo_counts[session.slo] -= 1
    session.bucket.slo_counts[slo] += 1
    session.slo = slo


def move(session: Session, transition: Transition, mono: float, histograms: bool) -> None:
    """Gives a session its new state, and counts the transition; `histograms`: also in those of the session."""
    before, after, bucket = transition.before, transition.after, session.bucket
    session.accrue(mono)
    bucket.accrue(mono)
    session.enter(after.status)
    stay = bucket.count(transition, excused=session.maintenance)
    if before and histograms:
        if before.status not in session.stays:
            session.stays = {**session.stays, before.status: Histogram(STATUS_BOUNDS)}
        session.stays[before.status].observe(stay)
    session.state = after
