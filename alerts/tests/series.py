"""Input series for promtool: what an exporter would export of sessions with a given history."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby

STATUSES = ("STARTING", "SCAN_QR_CODE", "WORKING", "FAILED", "STOPPED", "DISCONNECTED", "UNKNOWN")
LOGIN = {"SCAN_QR_CODE", "PASSKEY_REQUIRED", "PASSKEY_CONFIRMATION_REQUIRED"}
DEFAULTS = {
    "starting": 60,
    "failed": 10,
    "qr_escalate": 300,
    "qr_unattended": 3600,
    "down": 900,
    "silent": 0,
    "feed_silence": 0,
}

Series = dict[str, str]
Span = tuple[float, float]


def selector(metric: str, **labels: str) -> str:
    return metric + "{" + ",".join(f'{k}="{v}"' for k, v in labels.items()) + "}"


def number(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.10g}"


def values(samples: Iterable[float | str]) -> str:
    """Samples in promtool's notation; `_` is a sample that is not there, `stale` the end of a series."""
    words = []
    for value, run in groupby(map(number, samples)):
        n = len(list(run))
        if value == "_":
            words.append(f"_x{n}")
        elif value == "stale":
            words += ["stale"] * n
        else:
            words.append(f"{value}+0x{n - 1}" if n > 1 else value)
    return " ".join(words)


def one(metric: str, samples: Iterable[float | str] | str, **labels: str) -> Series:
    text = samples if isinstance(samples, str) else values(samples)
    return {"series": selector(metric, **labels), "values": text}


@dataclass(frozen=True)
class Target:
    """One scraped exporter: from when until when (seconds), failed scrapes, and when its process began anew."""

    instance: str = "exporter:10011"
    up: Span = (0, float("inf"))
    gaps: Sequence[Span] = ()
    restarts: Sequence[float] = ()

    def answers(self, t: float) -> bool:
        return self.up[0] <= t < self.up[1] and not any(a <= t < b for a, b in self.gaps)

    def began(self, t: float) -> float:
        """When the process that answers at `t` was started."""
        return max([self.up[0], *(r for r in self.restarts if r <= t)])

    def scrape(self, times: Sequence[float], samples: Sequence[float | str]) -> list[float | str]:
        """A failed scrape writes one staleness marker, then nothing."""
        out: list[float | str] = []
        for t, sample in zip(times, samples, strict=True):
            if self.answers(t):
                out.append(sample)
            else:
                out.append("stale" if out and out[-1] not in ("stale", "_") else "_")
        return out


@dataclass(frozen=True)
class Moment:
    """What the exporter knows of a session at one instant: the fold of its history, as the contract says it."""

    status: str
    since: float
    down: float
    login: float


@dataclass(frozen=True)
class Session:
    """A session's history, `[(second, status), …]`, and everything that makes series of it.

    The first second must not be 0: a timestamp of 0 means "none".
    """

    name: str
    history: Sequence[tuple[float, str]]
    source: str = "default"
    engine: str = "NOWEB"
    group: str = ""
    owner: str = ""
    tier: str = ""
    thresholds: dict[str, float] = field(default_factory=dict)
    maintenance: Sequence[Span] = ()
    restricted: dict[str, Sequence[Span]] = field(default_factory=dict)
    events: Sequence[float] | None = None
    recurring: Sequence[tuple[str, str, float]] = ()
    only: Sequence[str] = ()
    without: Sequence[str] = ()

    def at(self, t: float) -> Moment | None:
        now: Moment | None = None
        for when, status in self.history:
            if when > t:
                break
            if now is None or now.status != status:
                now = step(now, when, status)
        return now

    def entries(self, since: float, until: float) -> list[tuple[float, str]]:
        changes = [(t, s) for i, (t, s) in enumerate(self.history) if i == 0 or self.history[i - 1][1] != s]
        return [(t, s) for t, s in changes if since < t <= until]

    def seconds(self, status: str, since: float, until: float) -> float:
        edges = [*[t for t, _ in self.history], float("inf")]
        spans = [(edges[i], edges[i + 1]) for i, (_, s) in enumerate(self.history) if s == status]
        return sum(max(0.0, min(b, until) - max(a, since)) for a, b in spans)

    def in_maintenance(self, t: float) -> bool:
        return any(a <= t < b for a, b in self.maintenance)


def step(was: Moment | None, at: float, status: str) -> Moment:
    """Episodes as in the contract: WORKING and STOPPED end both, UNKNOWN opens and closes none."""
    if status in ("WORKING", "STOPPED"):
        return Moment(status, at, 0, 0)
    down, login = (was.down, was.login) if was else (0.0, 0.0)
    if status != "UNKNOWN":
        down = down or at
    if status in LOGIN:
        login = login or at
    return Moment(status, at, down, login)


def session_series(session: Session, times: Sequence[float], targets: Sequence[Target] = (Target(),)) -> list[Series]:
    """All series of a session, for each target, sampled at `times` (seconds)."""
    return [row for target in targets for row in _of_target(session, times, target)]


def _of_target(session: Session, times: Sequence[float], target: Target) -> list[Series]:
    who = {"source": session.source, "session": session.name, "job": "wawp-exporter", "instance": target.instance}
    moments = [session.at(t) for t in times]
    rows: list[Series] = []

    def row(metric: str, samples: Sequence[float | str], **labels: str) -> None:
        if (session.only and metric not in session.only) or metric in session.without:
            return
        known = ["_" if m is None else s for m, s in zip(moments, samples, strict=True)]
        rows.append(one(metric, target.scrape(times, known), **who, **labels))

    info = {k: getattr(session, k) for k in ("engine", "group", "owner", "tier") if getattr(session, k)}
    statuses = [*STATUSES, *sorted({s for _, s in session.history} - set(STATUSES))]
    row("wawp_session_info", [1] * len(times), **info)
    for status in statuses:
        row("wawp_session_status", [int(m is not None and m.status == status) for m in moments], status=status)
        row(
            "wawp_session_transitions_total",
            [sum(s == status for _, s in session.entries(target.began(t), t)) for t in times],
            to=status,
        )
        row(
            "wawp_session_status_seconds_total",
            [session.seconds(status, target.began(t), t) for t in times],
            status=status,
        )
    row("wawp_session_status_since_timestamp_seconds", [m.since if m else 0 for m in moments])
    row("wawp_session_down_since_timestamp_seconds", [m.down if m else 0 for m in moments])
    row("wawp_session_auth_required_since_timestamp_seconds", [m.login if m else 0 for m in moments])
    events = sorted(session.events if session.events is not None else [t for t, _ in session.history])
    row(
        "wawp_session_last_event_timestamp_seconds",
        [max([0.0, *(e for e in events if e <= t)]) for t in times],
    )
    row("wawp_session_maintenance", [int(session.in_maintenance(t)) for t in times])
    for kind, spans in session.restricted.items():
        row(
            "wawp_session_restricted",
            [int(any(a <= t < b for a, b in spans)) for t in times],
            restriction=kind,
        )
    for kind, seconds in session.thresholds.items():
        row("wawp_session_threshold_seconds", [seconds] * len(times), kind=kind)
    for weekday, hour, weeks in session.recurring:
        row("wawp_session_recurring_disconnects", [weeks] * len(times), weekday=weekday, hour=hour)
    return rows


def fleet_series(
    sessions: Sequence[Session],
    times: Sequence[float],
    targets: Sequence[Target] = (Target(),),
    *,
    shard: str = "",
) -> list[Series]:
    """`wawp_sessions` of the given sessions, for each target."""
    rows: list[Series] = []
    for source, engine in sorted({(s.source, s.engine) for s in sessions}):
        mine = [s for s in sessions if (s.source, s.engine) == (source, engine)]
        for status in STATUSES:
            counts = [sum(1 for s in mine if (m := s.at(t)) and m.status == status) for t in times]
            for target in targets:
                labels = {"source": source, "engine": engine, "status": status, "job": "wawp-exporter"}
                if shard:
                    labels["shard"] = shard
                rows.append(one("wawp_sessions", target.scrape(times, counts), instance=target.instance, **labels))
    return rows


def default_series(times: Sequence[float], source: str = "default", **limits: float) -> list[Series]:
    """`wawp_threshold_default_seconds` as configured by default, but for `limits`."""
    return [
        one("wawp_threshold_default_seconds", [v] * len(times), source=source, kind=k, instance="exporter:10011")
        for k, v in {**DEFAULTS, **limits}.items()
    ]
