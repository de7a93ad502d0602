"""What the judge says, as metrics: a series is there exactly while what it says holds, in every mode."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import nsmallest

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
        self._lines: dict[Key, tuple[int, str]] = {}  # when the first problem began, and all lines
        self._unpaired: set[Key] = set()  # in a login episode, and never WORKING before

    def sync(self, changed: Iterable[Key]) -> None:
        """Takes over what the judge has decided; `changed` are sessions whose labels may be others."""
        self.wake()
        judge = self.fleet.judge
        lost, judge.lost = judge.lost, []
        self.losses.update((loss.key[0], loss.engine, loss.reason) for loss in lost)
        decided, judge.changed = judge.changed, set()
        for key in decided.union(key for key in changed if key in self._lines):
            begun = judge.problems(key)
            self._unpaired.discard(key)
            if Problem.LOGIN in begun and not judge.cases[key].facts.state.worked:
                self._unpaired.add(key)
            if begun:
                self._lines[key] = min(begun.values()), self._problem_lines(key)
            else:
                self._lines.pop(key, None)

    def problems(self, synced: frozenset[str]) -> Iterator[str]:
        """The lines of all problems; where there is not room for all sessions, of those whose trouble began first."""
        shown = [(begin, key, lines) for key, (begin, lines) in self._lines.items() if key[0] in synced]
        limit = TROUBLED_SHARE * self.fleet.rules.config.metrics.max_sessions
        if len(shown) > limit:
            shown = nsmallest(limit, shown)
        return (lines for _, _, lines in shown)

    def unpaired(self, synced: frozenset[str]) -> list[Key]:
        """The sessions that wait for their first login."""
        return sorted(key for key in self._unpaired if key[0] in synced)

    def outages(self, synced: frozenset[str]) -> list[Outage]:
        """The outages as they stand; one of several sources only where all sources are up to date."""
        rules = self.fleet.rules
        whole = synced.issuperset(rules.shard.held(rules.config.sources))
        outages = self.fleet.judge.exported()
        return [outage for outage in outages if (outage.source in synced if outage.source else whole)]

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


@dataclass(frozen=True, slots=True)
class JudgedFamily:
    """A metric of what is judged, for the sources that are up to date."""

    family: Family
    lines: Callable[[Judged, frozenset[str], Sequence[Bucket]], Iterable[str]]


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


JUDGED_FAMILIES = (
    JudgedFamily(
        Family(PROBLEM, "gauge", "Why the session needs somebody, and since when (Unix seconds)."),
        lambda judged, synced, _buckets: judged.problems(synced),
    ),
    JudgedFamily(
        Family("wawp_session_never_worked", "gauge", "Always 1; the session waits for its first login."),
        lambda judged, synced, _buckets: (
            f'wawp_session_never_worked{{source="{escape(source)}",session="{escape(session)}"}} 1\n'
            for source, session in judged.unpaired(synced)
        ),
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


def judged_text(judged: Judged, is_openmetrics: bool, buckets: Sequence[Bucket]) -> bytes:
    """All of these metrics."""
    synced = frozenset(source for source in judged.fleet.rules.config.sources if judged.synced(source))
    parts = []
    for item in JUDGED_FAMILIES:
        parts.append(item.family.header(is_openmetrics))
        parts.append("".join(item.lines(judged, synced, buckets)).encode())
    return b"".join(parts)
