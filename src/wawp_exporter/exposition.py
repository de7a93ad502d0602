"""The fleet as Prometheus text or OpenMetrics: lines kept as bytes from change to change, joined at a scrape.

A session's lines are rendered when it changed and kept. Sessions stand in pages; a page keeps each family compressed
until one of its sessions changes. What moves with time (the seconds of the current status, the last
event) is the only thing rendered at each scrape. A scrape works on a snapshot of immutable views, so that it may be
sent slowly while webhooks go on, and still shows every session whole or not at all.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics

from wawp_exporter.compression import Piece, gzip_stream, pack
from wawp_exporter.events import Restriction
from wawp_exporter.fleet import ORDINAL, STATUS_BOUNDS, WEEKDAYS, Bucket, Fleet, Histogram, Key, Rank, Session
from wawp_exporter.telemetry import Telemetry

TEXT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
PAGE_SIZE = 64
TROUBLED_SHARE = 2  # of metrics.max_sessions: so many sessions in trouble may have series
SLICE = 16  # pages rendered before others on the event loop get their turn
KINDS = ("starting", "failed", "qr_escalate", "qr_unattended", "down", "silent", "feed_silence")


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: name (with `_total` for counters), type and help, as in the contract."""

    name: str
    kind: str
    help: str

    def header(self, is_openmetrics: bool) -> bytes:
        """HELP and TYPE; OpenMetrics names a counter's family without `_total`."""
        name = self.name.removesuffix("_total") if is_openmetrics and self.kind == "counter" else self.name
        return f"# HELP {name} {self.help}\n# TYPE {name} {self.kind}\n".encode()


def escape(value: str) -> str:
    """A label value as both formats want it."""
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def seconds(ms: int) -> str:
    """Unix ms as Unix seconds; 0 stays 0."""
    return f"{ms / 1000:.3f}" if ms else "0"


@cache
def template(name: str, label: str, values: Sequence[str], form: str) -> str:
    """A line for each value of the last label, to be filled with the other labels and a figure in turn."""
    return "".join(f'{name}{{%s,{label}="{value}"}} {form}\n' for value in values)


def fill(lines: str, labels: str, figures: Sequence[float]) -> str:
    """A template's lines; one formatting for all is several times faster than one for each."""
    arguments: list[str | float] = [labels] * (2 * len(figures))
    arguments[1::2] = figures
    return lines % tuple(arguments)


# -- one session ----------------------------------------------------------------------------------------------------


def info_lines(session: Session, labels: str) -> str:
    """Engine and metadata."""
    meta = session.meta
    return (
        f'wawp_session_info{{{labels},engine="{escape(session.engine)}",group="{escape(meta.group)}",'
        f'owner="{escape(meta.owner)}",tier="{escape(meta.tier)}"}} 1\n'
    )


def status_lines(session: Session, labels: str) -> str:
    """A line for each status; exactly one is 1."""
    now, statuses = session.state.status, session.statuses()
    return fill(template("wawp_session_status", "status", statuses, "%d"), labels, [s is now for s in statuses])


def since_lines(session: Session, labels: str) -> str:
    """The entry into the current status."""
    return f"wawp_session_status_since_timestamp_seconds{{{labels}}} {seconds(session.state.since)}\n"


def auth_lines(session: Session, labels: str) -> str:
    """The login episode."""
    return f"wawp_session_auth_required_since_timestamp_seconds{{{labels}}} {seconds(session.state.auth_since)}\n"


def down_lines(session: Session, labels: str) -> str:
    """The down episode."""
    return f"wawp_session_down_since_timestamp_seconds{{{labels}}} {seconds(session.state.down_since)}\n"


def maintenance_lines(session: Session, labels: str) -> str:
    """Whether a window is open."""
    return f"wawp_session_maintenance{{{labels}}} {int(session.maintenance)}\n"


def transition_lines(session: Session, labels: str) -> str:
    """Entries to each status."""
    statuses = session.statuses()
    counts = [session.transitions[ORDINAL[status]] for status in statuses]
    return fill(template("wawp_session_transitions_total", "to", statuses, "%d"), labels, counts)


def resting_seconds_lines(session: Session, labels: str) -> str:
    """The seconds of the statuses it is not in."""
    now = session.state.status
    statuses = tuple([status for status in session.statuses() if status is not now])
    values = [session.seconds[ORDINAL[status]] for status in statuses]
    return fill(template("wawp_session_status_seconds_total", "status", statuses, "%.3f"), labels, values)


def stay_lines(session: Session, labels: str) -> str:
    """The lengths of its finished stays; every status or, when switched off, none."""
    name = "wawp_session_status_duration_seconds"
    return "".join(
        histogram_lines(name, f'{labels},status="{status.value}"', session.stays.get(status, NOTHING_OBSERVED))
        for status in session.statuses()
    )


def threshold_lines(session: Session, labels: str) -> str:
    """Overrides only."""
    return "".join(
        f'wawp_session_threshold_seconds{{{labels},kind="{kind}"}} {value:.3f}\n'
        for kind, value in session.meta.thresholds
    )


def recurring_lines(session: Session, labels: str) -> str:
    """The hours of the week in which it disconnects again and again; found patterns only."""
    return "".join(
        f'wawp_session_recurring_disconnects{{{labels},weekday="{WEEKDAYS[weekday]}",hour="{hour:02}"}} {weeks}\n'
        for (weekday, hour), weeks in sorted(session.recurring.items())
    )


STAY_FAMILY = Family("wawp_session_status_duration_seconds", "histogram", "Length of each finished stay in a status.")
SECONDS_FAMILY = Family(
    "wawp_session_status_seconds_total", "counter", "Seconds spent in each status since the exporter started."
)
LAST_EVENT_FAMILY = Family(
    "wawp_session_last_event_timestamp_seconds",
    "gauge",
    "When an event of any kind was last accepted (Unix seconds), 0 if none.",
)
RESTRICTED_FAMILY = Family(
    "wawp_session_restricted", "gauge", "Whether WhatsApp limits the account; series exist once seen."
)
# What a session shows, in order of output. The functions render what rests between changes.
SESSION_FAMILIES: tuple[tuple[Family, Callable[[Session, str], str]], ...] = (
    (Family("wawp_session_info", "gauge", "Always 1; engine and configured metadata."), info_lines),
    (
        Family("wawp_session_status", "gauge", "Whether the session is in the status; exactly one is 1."),
        status_lines,
    ),
    (
        Family(
            "wawp_session_status_since_timestamp_seconds",
            "gauge",
            "When the session entered its current status (Unix seconds).",
        ),
        since_lines,
    ),
    (
        Family(
            "wawp_session_auth_required_since_timestamp_seconds",
            "gauge",
            "When the login episode began (Unix seconds), 0 if there is none.",
        ),
        auth_lines,
    ),
    (
        Family(
            "wawp_session_down_since_timestamp_seconds",
            "gauge",
            "When the down episode began (Unix seconds), 0 if there is none.",
        ),
        down_lines,
    ),
    (
        Family("wawp_session_maintenance", "gauge", "Whether the session is in a maintenance window."),
        maintenance_lines,
    ),
    (Family("wawp_session_transitions_total", "counter", "Entries to each status."), transition_lines),
    (SECONDS_FAMILY, resting_seconds_lines),
    (STAY_FAMILY, stay_lines),
    (
        Family(
            "wawp_session_threshold_seconds",
            "gauge",
            "Limits that the configuration overrides for the session.",
        ),
        threshold_lines,
    ),
    (
        Family(
            "wawp_session_recurring_disconnects",
            "gauge",
            "In how many of the last 8 weeks it disconnected in this hour of the week; 3 and more only.",
        ),
        recurring_lines,
    ),
)
SECONDS_INDEX = next(i for i, (family, _) in enumerate(SESSION_FAMILIES) if family is SECONDS_FAMILY)
STAY_INDEX = next(i for i, (family, _) in enumerate(SESSION_FAMILIES) if family is STAY_FAMILY)


def restricted_lines(session: Session, labels: str, now: int) -> str:
    """A line for each restriction ever seen."""
    return "".join(
        f'wawp_session_restricted{{{labels},restriction="{restriction.value}"}} '
        f"{int(session.restricted(restriction, now))}\n"
        for restriction in Restriction
        if restriction in session.limits
    )


NOTHING_OBSERVED = Histogram(STATUS_BOUNDS)


def histogram_lines(name: str, labels: str, histogram: Histogram) -> str:
    """Buckets (cumulated), sum and count."""
    counts = list(accumulate(histogram.counts))
    buckets = fill(template(f"{name}_bucket", "le", bounds_text(histogram.bounds), "%d"), labels, counts)
    return f"{buckets}{name}_sum{{{labels}}} {histogram.total:.3f}\n{name}_count{{{labels}}} {counts[-1]}\n"


@cache
def bounds_text(bounds: tuple[float, ...]) -> tuple[str, ...]:
    """Upper bounds as both formats write them."""
    return (*(repr(float(bound)) for bound in bounds), "+Inf")


class Entry:
    """A session's kept lines, one byte string a family, and what it needs to render its moving lines."""

    __slots__ = ("base", "event_line", "labels", "lines", "page", "seconds_line", "session")

    def __init__(self, session: Session, page: "Page") -> None:
        self.session = session
        self.page = page
        self.labels = f'source="{escape(session.source)}",session="{escape(session.name)}"'
        self.lines: tuple[bytes, ...] = ()
        self.seconds_line = b""
        self.event_line = self._template(f"{LAST_EVENT_FAMILY.name}{{{self.labels}}}")
        self.base = 0.0

    @staticmethod
    def _template(series: str) -> bytes:
        return series.replace("%", "%%").encode() + b" %.3f\n"

    def render(self, histograms: bool, now: int) -> set[int]:
        """Renders all lines; returns the indexes of the families that changed."""
        session, labels = self.session, self.labels
        lines = [
            b"" if index == STAY_INDEX and not histograms else lines_of(session, labels).encode()
            for index, (_, lines_of) in enumerate(SESSION_FAMILIES)
        ]
        lines.append(restricted_lines(session, labels, now).encode())
        status = session.state.status
        series = f'{SECONDS_FAMILY.name}{{{labels},status="{status.value}"}}'
        self.seconds_line = self._template(series)
        self.base = session.seconds[ORDINAL[status]] - session.mark
        old = self.lines or (None,) * len(lines)
        # Equal lines keep their old object, and with it their place in memory.
        self.lines = tuple(a if a is not None and a == b else b for a, b in zip(old, lines, strict=True))
        return {index for index, (a, b) in enumerate(zip(old, self.lines, strict=True)) if a is not b}


FAMILY_COUNT = len(SESSION_FAMILIES) + 1


class View:
    """A page as it was at one moment; never changes, but for compressed forms that it keeps once they are made."""

    __slots__ = ("bases", "event_lines", "lines", "pieces", "seconds_lines", "sessions")

    def __init__(self, entries: Sequence[Entry], pieces: list[Piece | None]) -> None:
        self.sessions = tuple(entry.session for entry in entries)
        self.lines = tuple(entry.lines for entry in entries)
        self.pieces = pieces
        self.seconds_lines = tuple(entry.seconds_line for entry in entries)
        self.event_lines = tuple(entry.event_line for entry in entries)
        self.bases = tuple(entry.base for entry in entries)

    def text(self, index: int) -> bytes:
        """The lines of one family."""
        return b"".join([lines[index] for lines in self.lines])

    def piece(self, index: int) -> Piece:
        """The lines of one family as a piece of a gzip stream."""
        piece = self.pieces[index]
        if piece is None:
            piece = self.pieces[index] = pack(self.text(index))
        return piece

    def seconds(self, mono: float) -> bytes:
        """The seconds of the current statuses at `mono`."""
        return b"".join(self.seconds_lines) % tuple([base + mono for base in self.bases])

    def last_events(self) -> bytes:
        """When each session was last heard of."""
        return b"".join(self.event_lines) % tuple([session.last_event / 1000 for session in self.sessions])


class Page:
    """Up to PAGE_SIZE entries, and the view of them that holds until one changes."""

    __slots__ = ("changed", "entries", "stale", "view")

    def __init__(self) -> None:
        self.entries: dict[Key, Entry] = {}
        self.stale: set[Key] = set()
        self.changed: set[int] = set()
        self.view = View((), [None] * FAMILY_COUNT)

    def refresh(self, histograms: bool, now: int) -> None:
        """Renders the stale entries and makes a new view that keeps the pieces of unchanged families."""
        for key in self.stale:
            self.changed |= self.entries[key].render(histograms, now)
        pieces = [None if index in self.changed else piece for index, piece in enumerate(self.view.pieces)]
        self.view = View(tuple(self.entries.values()), pieces)
        self.stale, self.changed = set(), set()


class Shelf:
    """The pages, and which sessions stand in them: all that are wanted while there is room, the troubled first."""

    def __init__(self) -> None:
        self.pages: dict[Page, None] = {}
        self.dirty: dict[Page, None] = {}
        self._open: dict[Page, None] = {}
        self._entries: dict[Key, Entry] = {}
        self._ranks: dict[Key, Rank] = {}
        self._shown: dict[Rank, dict[Key, None]] = {rank: {} for rank in Rank}
        self._hidden: dict[Rank, dict[Key, Session]] = {rank: {} for rank in Rank}

    @property
    def dropped(self) -> int:
        """How many sessions there was no room for."""
        return sum(len(sessions) for sessions in self._hidden.values())

    def place(self, key: Key, session: Session | None, limit: int) -> None:
        """Puts a session that changed where it belongs now; None takes it away."""
        rank = session.rank if session else Rank.UNWANTED
        entry = self._entries.get(key)
        old = self._ranks.get(key)
        if entry and rank is old and entry.session is session:
            entry.page.stale.add(key)
            self.dirty[entry.page] = None
            return
        if old is not None:
            self._hidden[old].pop(key, None)
            self._shown[old].pop(key, None)
            del self._ranks[key]
        if rank is Rank.UNWANTED or session is None or (entry and entry.session is not session):
            self._remove(key)
        if rank is not Rank.UNWANTED and session is not None:
            self._ranks[key] = rank
            if key in self._entries:
                self._shown[rank][key] = None
                self._mark(self._entries[key])
            else:
                self._hidden[rank][key] = session
        self.balance(limit)

    def balance(self, limit: int) -> None:
        """Fills the room there is, best rank first: STOPPED give way, then WORKING; the troubled may take it twice.

        Among equals those that are shown stay, so that a flood of new names does not displace the sessions before it.
        """
        for rank in (Rank.TROUBLED, Rank.WORKING, Rank.STOPPED):
            hidden = self._hidden[rank]
            while hidden and self._make_room(rank, limit):
                key = next(iter(hidden))
                self._show(key, hidden.pop(key), rank)
        while len(self._entries) > limit and (worst := self._worse(Rank.TROUBLED)):
            self._hide(worst)
        while len(self._entries) > TROUBLED_SHARE * limit:
            self._hide(Rank.TROUBLED)

    def _make_room(self, rank: Rank, limit: int) -> bool:
        """Whether one more of this rank can be shown, after one of a worse rank was hidden for it where that helps."""
        if len(self._entries) < limit:
            return True
        worse = self._worse(rank)
        if worse:
            self._hide(worse)
            return True
        return rank is Rank.TROUBLED and len(self._entries) < TROUBLED_SHARE * limit

    def _worse(self, rank: Rank) -> Rank | None:
        """The worst rank that is shown and worse than `rank`."""
        worse = (Rank.STOPPED, Rank.WORKING) if rank is Rank.TROUBLED else (Rank.STOPPED,)
        candidates = [other for other in worse if other is not rank and self._shown[other]]
        return candidates[0] if candidates else None

    def _hide(self, rank: Rank) -> None:
        key, _ = self._shown[rank].popitem()
        self._hidden[rank][key] = self._entries[key].session
        self._remove(key)

    def _show(self, key: Key, session: Session, rank: Rank) -> None:
        page = next(iter(self._open), None)
        if page is None:
            page = Page()
            self.pages[page] = self._open[page] = None
        page.entries[key] = self._entries[key] = entry = Entry(session, page)
        if len(page.entries) >= PAGE_SIZE:
            del self._open[page]
        self._shown[rank][key] = None
        self._mark(entry)

    def _mark(self, entry: Entry) -> None:
        entry.page.stale.add(entry.session.key)
        self.dirty[entry.page] = None

    def _remove(self, key: Key) -> None:
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        page = entry.page
        del page.entries[key]
        page.stale.discard(key)
        page.changed.update(range(FAMILY_COUNT))
        self.dirty[page] = None
        self._open[page] = None


# -- the fleet ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FleetFamily:
    """A metric of the whole fleet: its samples are rendered at each scrape, they are few."""

    family: Family
    lines: Callable[[Fleet, Sequence[Bucket], Shelf], Iterable[str]]


def shard_label(fleet: Fleet) -> str:
    """The shard, where there are several."""
    return f',shard="{fleet.rules.shard}"' if fleet.rules.shards > 1 else ""


def bucket_labels(fleet: Fleet, bucket: Bucket) -> str:
    """source, engine and shard."""
    return f'source="{escape(bucket.source)}",engine="{escape(bucket.engine)}"{shard_label(fleet)}'


def by_status(name: str, value: Callable[[Bucket, int], str]) -> Callable[..., Iterator[str]]:
    """Renders one line a bucket and status."""

    def lines(fleet: Fleet, buckets: Sequence[Bucket], _shelf: Shelf) -> Iterator[str]:
        for bucket in buckets:
            labels = bucket_labels(fleet, bucket)
            for status in bucket.statuses():
                yield f'{name}{{{labels},status="{status.value}"}} {value(bucket, ORDINAL[status])}\n'

    return lines


def fleet_transitions(fleet: Fleet, buckets: Sequence[Bucket], _shelf: Shelf) -> Iterator[str]:
    """Every pair of known statuses is there from the start: `increase` cannot see the first step of a new series."""
    for bucket in buckets:
        labels = bucket_labels(fleet, bucket)
        statuses = bucket.statuses()
        for before in (None, *statuses):
            for after in statuses:
                if after is not before:
                    count = bucket.transitions[before, after]
                    name = before.value if before else "NONE"
                    yield f'wawp_transitions_total{{{labels},from="{name}",to="{after.value}"}} {count}\n'


def fleet_slo(fleet: Fleet, buckets: Sequence[Bucket], _shelf: Shelf) -> Iterator[str]:
    """Good, bad and excluded seconds."""
    for bucket in buckets:
        labels = bucket_labels(fleet, bucket)
        for result, total in bucket.slo.items():
            yield f'wawp_slo_seconds_total{{{labels},result="{result.value}"}} {total:.3f}\n'


def fleet_stays(fleet: Fleet, buckets: Sequence[Bucket], _shelf: Shelf) -> Iterator[str]:
    """Lengths of finished stays."""
    for bucket in buckets:
        labels = bucket_labels(fleet, bucket)
        for status in bucket.statuses():
            histogram = bucket.stays[ORDINAL[status]]
            yield histogram_lines("wawp_status_duration_seconds", f'{labels},status="{status.value}"', histogram)


def by_outcome(name: str, attribute: str) -> Callable[..., Iterator[str]]:
    """Renders one histogram a bucket and outcome."""

    def lines(fleet: Fleet, buckets: Sequence[Bucket], _shelf: Shelf) -> Iterator[str]:
        for bucket in buckets:
            labels = bucket_labels(fleet, bucket)
            for outcome, histogram in getattr(bucket, attribute).items():
                yield histogram_lines(name, f'{labels},outcome="{outcome.value}"', histogram)

    return lines


def fleet_recoveries(fleet: Fleet, buckets: Sequence[Bucket], _shelf: Shelf) -> Iterator[str]:
    """From leaving WORKING until WORKING again."""
    for bucket in buckets:
        yield histogram_lines("wawp_recovery_duration_seconds", bucket_labels(fleet, bucket), bucket.recovery)


def group_lines(name: str, index: int) -> Callable[..., Iterator[str]]:
    """Renders one count of each group."""

    def lines(fleet: Fleet, _buckets: Sequence[Bucket], _shelf: Shelf) -> Iterator[str]:
        for group, *counts in fleet.group_counts():
            yield f'{name}{{group="{escape(group)}"{shard_label(fleet)}}} {counts[index]}\n'

    return lines


def default_thresholds(fleet: Fleet, _buckets: Sequence[Bucket], _shelf: Shelf) -> Iterator[str]:
    """The limits that hold where a session has none of its own."""
    config = fleet.rules.config
    for source in config.sources:
        for kind in KINDS:
            value = getattr(config.thresholds, kind)
            yield f'wawp_threshold_default_seconds{{source="{escape(source)}",kind="{kind}"}} {value:.3f}\n'


def objectives(fleet: Fleet, _buckets: Sequence[Bucket], _shelf: Shelf) -> Iterator[str]:
    """The objective of each source."""
    config = fleet.rules.config
    for source in config.sources:
        yield f'wawp_slo_objective_ratio{{source="{escape(source)}"}} {config.slo.objective}\n'


def dropped_lines(fleet: Fleet, _buckets: Sequence[Bucket], shelf: Shelf) -> Iterator[str]:
    """How many sessions are counted but have no series of their own."""
    shard = shard_label(fleet).removeprefix(",")
    yield f"wawp_sessions_dropped{f'{{{shard}}}' if shard else ''} {shelf.dropped}\n"


FLEET_FAMILIES = (
    FleetFamily(
        Family("wawp_sessions", "gauge", "Sessions in each status."),
        by_status("wawp_sessions", lambda bucket, index: str(bucket.counts[index])),
    ),
    FleetFamily(
        Family("wawp_transitions_total", "counter", "Changes of status; from is NONE for a session's first."),
        fleet_transitions,
    ),
    FleetFamily(
        Family("wawp_status_seconds_total", "counter", "Seconds that sessions spent in each status."),
        by_status("wawp_status_seconds_total", lambda bucket, index: f"{bucket.seconds[index]:.3f}"),
    ),
    FleetFamily(
        Family(
            "wawp_slo_seconds_total",
            "counter",
            "Seconds of sessions by how they count towards the objective.",
        ),
        fleet_slo,
    ),
    FleetFamily(
        Family("wawp_status_duration_seconds", "histogram", "Length of each finished stay in a status."),
        fleet_stays,
    ),
    FleetFamily(
        Family("wawp_start_duration_seconds", "histogram", "Length of each STARTING, by how it ended."),
        by_outcome("wawp_start_duration_seconds", "starts"),
    ),
    FleetFamily(
        Family("wawp_qr_wait_duration_seconds", "histogram", "Length of each login episode, by how it ended."),
        by_outcome("wawp_qr_wait_duration_seconds", "qr_waits"),
    ),
    FleetFamily(
        Family("wawp_recovery_duration_seconds", "histogram", "Time from leaving WORKING until WORKING again."),
        fleet_recoveries,
    ),
    FleetFamily(Family("wawp_group_sessions", "gauge", "Members of the group."), group_lines("wawp_group_sessions", 0)),
    FleetFamily(
        Family("wawp_group_eligible_sessions", "gauge", "Members that are neither STOPPED nor in maintenance."),
        group_lines("wawp_group_eligible_sessions", 1),
    ),
    FleetFamily(
        Family("wawp_group_working_sessions", "gauge", "Eligible members that are WORKING."),
        group_lines("wawp_group_working_sessions", 2),
    ),
    FleetFamily(
        Family("wawp_threshold_default_seconds", "gauge", "Limits where a session has none of its own; 0 is off."),
        default_thresholds,
    ),
    FleetFamily(
        Family("wawp_slo_objective_ratio", "gauge", "The share of counted seconds that should be WORKING."),
        objectives,
    ),
    FleetFamily(
        Family(
            "wawp_sessions_dropped",
            "gauge",
            "Sessions without series of their own, over metrics.max_sessions.",
        ),
        dropped_lines,
    ),
)


# -- a scrape -------------------------------------------------------------------------------------------------------


def negotiate(accept: str) -> bool:
    """Whether to answer in OpenMetrics: where it is accepted, in version 1, no less gladly than text is."""
    gladness = {"application/openmetrics-text": 0.0, "text/plain": 0.0}
    for item in accept.lower().replace(" ", "").split(","):
        media_type, *parameters = item.split(";")
        given = dict(parameter.partition("=")[::2] for parameter in parameters)
        if media_type in gladness and given.get("version", "1").startswith(("1", "0.0.4")):
            gladness[media_type] = max(gladness[media_type], quality(given.get("q", "1")))
    return 0 < gladness["application/openmetrics-text"] >= gladness["text/plain"]


def quality(text: str) -> float:
    """A quality of an Accept header; what is no number is no preference."""
    try:
        return float(text)
    except ValueError:
        return 0.0


class Exposition:
    """The views of one fleet. Belongs to the event loop's thread, as the fleet does."""

    def __init__(self, fleet: Fleet, telemetry: Telemetry) -> None:
        self.fleet = fleet
        self.shelf = Shelf()
        self._registry: CollectorRegistry = telemetry.registry

    def sync(self) -> None:
        """Takes over what changed in the fleet."""
        changed, self.fleet.changed = self.fleet.changed, set()
        limit = self.fleet.rules.config.metrics.max_sessions
        for key in changed:
            self.shelf.place(key, self.fleet.sessions.get(key), limit)
        self.shelf.balance(limit)

    def refresh(self, now: int, pages: int | None = None) -> bool:
        """Renders up to `pages` pages that changed (None: all); whether some are left."""
        self.sync()
        histograms = self.fleet.rules.config.metrics.session_histograms
        while self.shelf.dirty and pages != 0:
            page = next(iter(self.shelf.dirty))
            del self.shelf.dirty[page]
            page.refresh(histograms, now)
            pages = pages - 1 if pages is not None else None
        return bool(self.shelf.dirty)

    def scrape(self, is_openmetrics: bool, gzip: bool, now: int, mono: float) -> Iterator[bytes]:
        """The whole exposition, cut where others may have their turn; the snapshot is taken by this call."""
        self.refresh(now)
        views = [page.view for page in self.shelf.pages]
        slices = [views[start : start + SLICE] for start in range(0, len(views), SLICE)]
        head = own_metrics(self._registry, is_openmetrics) + self.fleet_text(is_openmetrics, mono)
        parts = session_parts(slices, is_openmetrics, gzip, mono)
        return compressed(head, parts) if gzip else plain(head, parts)

    def fleet_text(self, is_openmetrics: bool, mono: float) -> bytes:
        """The metrics of the whole fleet at `mono`."""
        buckets = self.fleet.all_buckets(mono)
        parts = []
        for item in FLEET_FAMILIES:
            parts.append(item.family.header(is_openmetrics))
            parts.append("".join(item.lines(self.fleet, buckets, self.shelf)).encode())
        return b"".join(parts)


Part = list[Piece] | bytes


def session_parts(slices: Sequence[Sequence[View]], is_openmetrics: bool, gzip: bool, mono: float) -> Iterator[Part]:
    """All that is about sessions: text, or where `gzip` is wanted and the lines rest, the kept pieces."""
    families = [*(family for family, _ in SESSION_FAMILIES), RESTRICTED_FAMILY]
    for index, family in enumerate(families):
        yield family.header(is_openmetrics)
        for views in slices:
            yield [view.piece(index) for view in views] if gzip else b"".join([view.text(index) for view in views])
            if index == SECONDS_INDEX:
                yield b"".join([view.seconds(mono) for view in views])
    yield LAST_EVENT_FAMILY.header(is_openmetrics)
    for views in slices:
        yield b"".join([view.last_events() for view in views])
    if is_openmetrics:
        yield b"# EOF\n"


def plain(head: bytes, parts: Iterable[Part]) -> Iterator[bytes]:
    """The text as it is."""
    yield head
    yield from (part for part in parts if isinstance(part, bytes))


def compressed(head: bytes, parts: Iterable[Part]) -> Iterator[bytes]:
    """One gzip stream."""
    stream = gzip_stream()
    yield stream.begin() + stream.add(pack(head))
    for part in parts:
        pieces = [pack(part)] if isinstance(part, bytes) else part
        yield b"".join([stream.add(piece) for piece in pieces])
    yield stream.end()


def own_metrics(registry: CollectorRegistry, is_openmetrics: bool) -> bytes:
    """The exporter's own metrics, rendered by prometheus-client."""
    render = openmetrics.generate_latest if is_openmetrics else generate_latest
    text: bytes = render(registry)
    return text.removesuffix(b"# EOF\n")
