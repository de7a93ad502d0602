"""What the judge says, as metrics: a series is there exactly while what it says holds, in every mode."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import nsmallest

from wawp_exporter.metrics.gzip_pieces import Piece, pack
from wawp_exporter.metrics.sheets import Sheets
from wawp_exporter.metrics.shelf import TROUBLED_SHARE
from wawp_exporter.metrics.text import Family, escape, seconds
from wawp_exporter.model.bucket import Bucket
from wawp_exporter.model.facts import Problem
from wawp_exporter.model.fleet import Fleet
from wawp_exporter.model.outage import Outage
from wawp_exporter.model.reasons import REASONS
from wawp_exporter.model.rules import Key

PROBLEM = "wawp_session_problem_since_timestamp_seconds"


class Judged:
    """Keeps the lines of a session's problems until they change, and counts losses.

    `synced` says whether what is judged of a source is up to date here: else nothing is exported of it. `wake` lets
    time pass for the judge: a start must not show a source as synced before what was due meanwhile has happened.
    """

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.synced: Callable[[str], bool] = fleet.folds
        self.wake: Callable[[], None] = lambda: None
        self.losses: Counter[tuple[str, str, str]] = Counter()
        self._stale: set[Key] = set()
        self._begun: dict[Key, int] = {}  # when the first problem of a session began
        self._problems: defaultdict[str, Sheets] = defaultdict(Sheets)  # by source
        self._unpaired: defaultdict[str, Sheets] = defaultdict(Sheets)  # in a login episode, and never WORKING before

    def relabel(self, key: Key) -> None:
        """The labels of a session may be others."""
        if key in self._begun:
            self._stale.add(key)

    def sync(self, most: int | None = None) -> bool:
        """Takes over what the judge has decided, of at most so many sessions (None: all); whether any is left."""
        self.wake()
        judge = self.fleet.judge
        lost, judge.lost = judge.lost, []
        self.losses.update((loss.key[0], loss.engine, loss.reason) for loss in lost)
        self._stale |= judge.changed
        judge.changed = set()
        while self._stale and most != 0:
            self._take(self._stale.pop())
            most = most - 1 if most is not None else None
        return bool(self._stale)

    def problems(self, synced: frozenset[str]) -> list[Piece]:
        """The lines of all problems; where there is not room for all sessions, of those whose trouble began first."""
        return self._shown(self._problems, synced)

    def unpaired(self, synced: frozenset[str]) -> list[Piece]:
        """The sessions that wait for their first login, of those whose problems are shown."""
        return self._shown(self._unpaired, synced)

    def _shown(self, of: Mapping[str, Sheets], synced: frozenset[str]) -> list[Piece]:
        limit = TROUBLED_SHARE * self.fleet.rules.config.metrics.max_sessions
        if sum(len(self._problems[source]) for source in synced) <= limit:
            return [piece for source in sorted(synced) for piece in of[source].pieces()]
        first = nsmallest(limit, ((begin, key) for key, begin in self._begun.items() if key[0] in synced))
        return [pack(b"".join([of[key[0]].lines(key) for _, key in first]))]

    def outages(self, synced: frozenset[str]) -> list[Outage]:
        """The outages as they stand; one of several sources only where all sources are up to date."""
        rules = self.fleet.rules
        whole = synced.issuperset(rules.shard.held(rules.config.sources))
        outages = self.fleet.judge.exported()
        return [outage for outage in outages if (outage.source in synced if outage.source else whole)]

    def _take(self, key: Key) -> None:
        """Renders what is judged of a session now."""
        judge, source = self.fleet.judge, key[0]
        begun = judge.problems(key)
        if begun:
            self._begun[key] = min(begun.values())
            self._problems[source].put(key, self._problem_lines(key).encode())
        elif self._begun.pop(key, None) is not None:
            self._problems[source].drop(key)
        if Problem.LOGIN in begun and not judge.cases[key].facts.state.worked:
            self._unpaired[source].put(key, unpaired_line(key).encode())
        else:
            self._unpaired[source].drop(key)

    def _problem_lines(self, key: Key) -> str:
        judge, meta = self.fleet.judge, self.fleet.rules.meta(*key)
        source, name = map(escape, key)
        labels = (
            f'source="{source}",session="{name}",engine="{escape(judge.cases[key].facts.engine)}",'
            f'group="{escape(meta.group)}",owner="{escape(meta.owner)}",tier="{escape(meta.tier)}"'
        )
        reason = escape(judge.reason(key))
        return "".join(
            f'{PROBLEM}{{{labels},problem="{problem.value}",reason="{reason}"}} {seconds(since)}\n'
            for problem, since in judge.problems(key).items()
        )


def unpaired_line(key: Key) -> str:
    """A session that waits for its first login."""
    source, name = map(escape, key)
    return f'wawp_session_never_worked{{source="{source}",session="{name}"}} 1\n'


@dataclass(frozen=True, slots=True)
class SessionFamily:
    """A metric of sessions that are judged, kept in pieces, of the sources that are up to date."""

    family: Family
    pieces: Callable[[Judged, frozenset[str]], list[Piece]]

    def part(self, judged: Judged, synced: frozenset[str], _buckets: Sequence[Bucket]) -> list[Piece]:
        """All its samples."""
        return self.pieces(judged, synced)


@dataclass(frozen=True, slots=True)
class JudgedFamily:
    """A metric of what is judged, for the sources that are up to date."""

    family: Family
    lines: Callable[[Judged, frozenset[str], Sequence[Bucket]], Iterable[str]]

    def part(self, judged: Judged, synced: frozenset[str], buckets: Sequence[Bucket]) -> bytes:
        """All its samples."""
        return "".join(self.lines(judged, synced, buckets)).encode()


def outage_lines(name: str, value: Callable[[Outage], str]) -> Callable[..., Iterator[str]]:
    """Renders one line an outage."""

    def lines(judged: Judged, synced: frozenset[str], _buckets: Sequence[Bucket]) -> Iterator[str]:
        for outage in judged.outages(synced):
            yield f"{name}{{{outage_labels(outage)}}} {value(outage)}\n"

    return lines


def outage_labels(outage: Outage) -> str:
    """source, engine and kind."""
    return f'source="{escape(outage.source)}",engine="{escape(outage.engine)}",kind="{outage.kind.value}"'


def step_lines(judged: Judged, synced: frozenset[str], _buckets: Sequence[Bucket]) -> Iterator[str]:
    """Each step that the largest size has reached."""
    for outage in judged.outages(synced):
        for step in outage.steps():
            yield f'wawp_outage_step{{{outage_labels(outage)},step="{step}"}} 1\n'


def loss_lines(judged: Judged, _synced: frozenset[str], buckets: Sequence[Bucket]) -> Iterator[str]:
    """Each reason from the start: PromQL's `increase` does not see the first step of a new series."""
    known = {(bucket.source, bucket.engine) for bucket in buckets}
    for source, engine in sorted(known | {(source, engine) for source, engine, _ in judged.losses}):
        labels = f'source="{escape(source)}",engine="{escape(engine)}"'
        for reason in REASONS:
            yield f'wawp_losses_total{{{labels},reason="{reason}"}} {judged.losses[source, engine, reason]}\n'


JUDGED_FAMILIES: tuple[SessionFamily | JudgedFamily, ...] = (
    SessionFamily(
        Family(PROBLEM, "gauge", "Why the session needs somebody, and since when (Unix seconds)."), Judged.problems
    ),
    SessionFamily(
        Family("wawp_session_never_worked", "gauge", "Always 1; the session waits for its first login."),
        Judged.unpaired,
    ),
    JudgedFamily(
        Family(
            "wawp_outage_since_timestamp_seconds",
            "gauge",
            "When many sessions began to be lost for one cause (Unix seconds).",
        ),
        outage_lines("wawp_outage_since_timestamp_seconds", lambda outage: seconds(outage.since)),
    ),
    JudgedFamily(
        Family("wawp_outage_sessions", "gauge", "Sessions of the outage that are still lost."),
        outage_lines("wawp_outage_sessions", lambda outage: str(outage.size)),
    ),
    JudgedFamily(
        Family("wawp_outage_step", "gauge", "Always 1; a step that the largest size of the outage has reached."),
        step_lines,
    ),
    JudgedFamily(
        Family(
            "wawp_source_synced",
            "gauge",
            "Always 1, while this replica knows all of the source: its problems and outages can be believed.",
        ),
        lambda _judged, synced, _buckets: (
            f'wawp_source_synced{{source="{escape(source)}"}} 1\n' for source in sorted(synced)
        ),
    ),
    JudgedFamily(
        Family("wawp_losses_total", "counter", "Sessions that were lost, by the reason that the gateway gave."),
        loss_lines,
    ),
)


def judged_parts(judged: Judged, is_openmetrics: bool, buckets: Sequence[Bucket]) -> list[bytes | list[Piece]]:
    """All of these metrics, as text and as kept pieces."""
    synced = frozenset(source for source in judged.fleet.rules.config.sources if judged.synced(source))
    parts: list[bytes | list[Piece]] = []
    for item in JUDGED_FAMILIES:
        parts += [item.family.header(is_openmetrics), item.part(judged, synced, buckets)]
    return parts
