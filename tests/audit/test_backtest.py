"""The backtest: what it finds in a log, what is asked for, and that it is what a live exporter exported."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.builders import DAY, HOUR, event, ms, point, timelock
from tests.builders import config as configured
from wawp_exporter.audit import backtest as module
from wawp_exporter.audit.backtest import Query, backtest
from wawp_exporter.audit.firings import Firing
from wawp_exporter.config.schema import Config
from wawp_exporter.errors import LogError
from wawp_exporter.log.log import Log
from wawp_exporter.log.place import Place
from wawp_exporter.model.alerts import ALERTS, MASS_ALERTS
from wawp_exporter.model.event import StatusEvent
from wawp_exporter.model.facts import Problem
from wawp_exporter.model.outage import Kind
from wawp_exporter.model.rules import Key

S, Q, W, F, X, D = "STARTING", "SCAN_QR_CODE", "WORKING", "FAILED", "STOPPED", "DISCONNECTED"
ALERT_FILES = Path(__file__).parents[2] / "alerts"
TWO = {"default": {}, "other": {}}
Told = Sequence[tuple[str, float]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a log lies."""
    return tmp_path / "wawp.db"


def named(name: str, source: str = "default") -> Key:
    """A session's key."""
    return source, name


def story(name: str, *told: tuple[str, float], source: str = "default") -> list[StatusEvent]:
    """What one session went through, in seconds after T0, each received at once."""
    return [event(status, at, key=(source, name)) for status, at in told]


def many(count: int, *told: tuple[str, float], first: int = 1, source: str = "default") -> list[StatusEvent]:
    """The same of several sessions `x1`, `x2`, …"""
    return [each for n in range(first, first + count) for each in story(f"x{n}", *told, source=source)]


def logged(place: Place, *stories: Sequence[StatusEvent]) -> Place:
    """A log with these events, in the order of their receipt."""
    log = Log(place)
    for each in sorted((each for story in stories for each in story), key=lambda each: each.received_at):
        log.append([each])
    log.close()
    return place


def fired(place: Place, config: Config | None = None, start: float = 0, end: float = DAY, **asked: Any) -> list[Firing]:
    """What the backtest finds between two instants."""
    (found,) = backtest(place, [config or configured(sources=TWO)], Query(ms(start), ms(end), **asked)).firings
    return found


def lines(firings: Sequence[Firing]) -> list[str]:
    """`failed x1 100/120-180`: what, whose, since when / fired at - ended at, in seconds after T0."""
    return [
        f"{each.problem or each.kind} {each.session or each.sessions} "
        f"{seconds(each.started_at)}/{seconds(each.firing_at)}-{seconds(each.ended_at)}"
        for each in firings
    ]


def seconds(moment: int | None) -> str:
    """An instant as a story has it."""
    return "" if moment is None else f"{(moment - ms(0)) / 1000:g}"


# -- what is found


def test_a_problem_has_the_time_of_its_condition_of_its_alert_and_of_its_end(place: Place) -> None:
    """DISCONNECTED settles for 5 s, and 60 s of WORKING end it; in either database."""
    logged(place, story("a", (W, 0), (D, 100), (S, 400), (W, 410)))

    (found,) = fired(place)

    assert lines([found]) == ["disconnected a 100/105-470"]
    assert (found.alert, found.source, found.engine, found.reason) == ("WawpSessionDisconnected", "default", "GOWS", "")
    assert (found.kind, found.sessions) == (None, None)


def test_a_reason_is_the_one_that_the_gateway_gave(path: Path) -> None:
    """It is in the log."""
    logged(path, story("a", (W, 0)), [event(F, 100, key=named("a"), reason="logged_out")])

    assert [each.reason for each in fired(path)] == ["logged_out"]


def test_what_goes_on_has_no_end(path: Path) -> None:
    """Nobody has scanned; each level of escalation is an alert of its own."""
    logged(path, story("a", (Q, 100)))

    assert lines(fired(path)) == ["login a 100/100-", "login_overdue a 100/410-", "login_unattended a 100/3710-"]


def test_an_outage_is_one_row_with_its_largest_size(place: Place) -> None:
    """Its sessions have none, until it is over; steps of a growing outage are the same row."""
    logged(
        place,
        many(20, (W, 0)),
        many(8, (D, 100), (W, 1000)),
        many(4, (D, 160), (W, 1000), first=9),
        story("x20", (D, 130)),
    )

    outage, left = fired(place)

    assert lines([outage]) == ["disconnect 13 100/105-1240"]
    assert (outage.alert, outage.session, outage.engine, outage.problem) == ("WawpMassDisconnect", None, "GOWS", None)
    assert lines([left]) == ["disconnected x20 130/1245-"]


def test_nothing_that_was_over_at_once_is_reported(path: Path) -> None:
    """Two webhooks that came within a millisecond: nobody can have seen what was between."""
    logged(path, story("a", (W, 0)), [event(Q, 100, key=named("a"), received=200)])
    log = Log(path)
    log.append([event(W, 150, key=named("a"), received=200)])
    log.close()

    assert fired(path) == []


def test_events_of_one_webhook_are_judged_at_once(path: Path) -> None:
    """A webhook that brings what was missed tells of no login that is over already."""
    missed = event(W, 300, key=named("a"), before=[point(D, 100), point(Q, 200)], received=300, event_id="e")
    logged(path, story("a", (W, 0)), [missed])

    assert fired(path) == []


def test_a_late_event_corrects_in_its_place(place: Place) -> None:
    """It was FAILED when it was received, a minute later: the exporter knew no earlier."""
    logged(
        place,
        story("a", (W, 0), (S, 200)),
        [event(F, 150, key=named("a"), received=230)],
        story("b", (W, 0), (F, 100)),
        [event(W, 140, key=named("b"), received=170)],
    )

    assert lines(fired(place)) == ["failed b 100/120-200", "stuck_starting a 200/270-"]


def test_a_restriction_and_its_end(path: Path) -> None:
    """Two kinds of restriction are one alert."""
    key = named("a")
    logged(path, story("a", (W, 0)), [event(W, 100, key=key, limits=[timelock()])],
           [event(W, 500, key=key, limits=[timelock(active=False)])])  # fmt: skip

    assert lines(fired(path)) == ["reachout_timelock a 100/110-500"]


def test_a_deletion_ends_everything(place: Place) -> None:
    """And what a newer event begins is another life."""
    logged(place, story("a", (W, 0), (D, 100)))
    log = Log(place)
    log.deletions.delete(named("a"), ms(300))
    log.append([event(D, 400, key=named("a"))])
    log.close()

    assert lines(fired(place)) == ["disconnected a 100/105-300", "disconnected a 400/405-"]


def test_a_history_that_was_sent_afterwards_is_judged_in_its_own_time(path: Path) -> None:
    """A log that is filled with the past, session after session, says what alerts that past would have brought."""
    log = Log(path)
    for name in ("a", "b"):
        for status, at in ((W, 0), (D, 100), (W, 400)):
            log.append([event(status, at, key=named(name), received=5000)])
    log.append([event(F, 5100, key=named("b"))])
    log.close()

    assert lines(fired(path)) == [
        "disconnected a 100/105-460", "disconnected b 100/105-460", "failed b 5100/5120-",
    ]  # fmt: skip


# -- what the configuration says


def test_thresholds_and_overrides_are_those_of_the_configuration(path: Path) -> None:
    """So limits can be tuned on one's own past."""
    logged(path, story("a", (W, 0), (S, 100), (W, 190)), story("b", (W, 0), (S, 100), (W, 190)))
    slow = configured(sessions=[{"source": "*", "session": "a", "thresholds": {"starting": "3m"}}])
    quick = configured(thresholds={"starting": "20s"})

    assert lines(fired(path, slow)) == ["stuck_starting b 100/170-250"]
    assert lines(fired(path, quick)) == ["stuck_starting a 100/130-250", "stuck_starting b 100/130-250"]


def test_maintenance_of_the_configuration_excuses_the_past(path: Path) -> None:
    """What is still broken at its end is an alert then."""
    window = {"source": "*", "session": "a", "from": "2026-11-18T11:06:40Z", "to": "2026-11-18T11:16:40Z"}
    logged(path, story("a", (W, 0), (D, 100), (W, 500), (D, 550)), story("b", (W, 0), (D, 100), (W, 400)))

    found = lines(fired(path, configured(maintenance=[window])))

    assert found == ["disconnected b 100/105-460", "disconnected a 550/605-"]


def test_silence_is_judged_by_what_the_log_has(path: Path) -> None:
    """Messages are not in it."""
    logged(path, story("a", (W, 0), (W, 7200)))

    found = lines(fired(path, configured(thresholds={"silent": "1h"}), end=8000))

    assert found == ["silent a 0/3610-7200"]


def test_sources_that_are_not_configured_are_left_out_and_named(path: Path) -> None:
    """Their sessions have no place in a share either."""
    logged(path, story("a", (W, 0), (D, 100)), story("a", (W, 0), (D, 100), source="gone"))

    tested = backtest(path, [configured()], Query(ms(0), ms(DAY)))

    assert lines(tested.firings[0]) == ["disconnected a 100/105-"]
    assert tested.skipped == ["gone"]


# -- what is asked for


def test_a_filter_chooses_what_is_reported_not_what_is_judged(path: Path) -> None:
    """A session's outage is reported with the session, and has its whole size."""
    logged(path, many(20, (W, 0)), many(8, (D, 100), (W, 1000)), story("a", (W, 0), (D, 3000)),
           story("a", (W, 0), (F, 3000), source="other"))  # fmt: skip
    config = configured(sources=TWO, groups={"g": ["default/x1", "other/a"]})

    assert lines(fired(path, config, session="x1")) == ["disconnect 8 100/105-1240"]
    assert lines(fired(path, config, session="x9")) == []
    assert lines(fired(path, config, session="a", source="other")) == ["failed a 3000/3020-"]
    assert lines(fired(path, config, group="g")) == ["disconnect 8 100/105-1240", "failed a 3000/3020-"]


def test_a_period_shows_what_fired_in_it_whenever_it_began(path: Path) -> None:
    """With the time at which its alert began; what ended before is left out, what comes after is not known yet."""
    logged(path, story("a", (W, 0), (D, 100), (W, 400)), story("b", (W, 0), (D, 200), (W, 2000)), story("c", (Q, 1500)))

    assert lines(fired(path, start=1000, end=1400)) == ["disconnected b 200/205-"]
    assert lines(fired(path, start=1000, end=3000))[:2] == ["disconnected b 200/205-2060", "login c 1500/1500-"]


def test_a_period_long_after_the_beginning_knows_what_was_before(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only some of the log is read for it: what each session's state rests on, and the days before the period."""
    monkeypatch.setattr(module, "WARM_UP_MS", 2 * HOUR * 1000)
    logged(
        path,
        many(20, (W, 0)),
        many(3, (D, 100)),  # chronic, and alone: no outage of twenty
        story("x9", (W, 1000), (F, 2000), (W, 3000)),
        [event(W, 4000, key=named("x8"), limits=[timelock()])],
        story("x8", (F, 5000), (W, 5001)),
        story("x7", (W, 5000), (F, 6000), (S, 9000), (W, 5 * HOUR)),
        [event(F, 5900, key=named("x6"), received=3 * HOUR + 1)],
        story("y", (W, 0), (D, 50)),
        many(8, (D, 3.5 * HOUR), (W, 4 * HOUR), first=10),
    )
    log = Log(path)
    log.deletions.delete(named("y"), ms(6 * HOUR))
    log.close()

    asked = {"start": 5 * HOUR, "end": DAY}
    partly = fired(path, **asked)
    monkeypatch.setattr(module, "WARM_UP_MS", 10 * DAY * 1000)

    assert partly == fired(path, **asked)
    assert "reachout_timelock x8 4000/4010-" in lines(partly)
    assert "failed x7 6000/6020-18060" in lines(partly)


def test_progress_counts_the_rows(path: Path) -> None:
    """Up to all of them."""
    logged(path, many(30, *((status, n) for n in range(0, 200, 2) for status in (W,))))
    told: list[tuple[int, int]] = []

    backtest(path, [configured()], Query(ms(0), ms(DAY)), lambda done, count: told.append((done, count)))

    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert {count for _, count in told} == {3000}


def test_a_log_without_events_has_no_alerts(path: Path) -> None:
    """And one that does not exist is an error."""
    logged(path)

    assert fired(path) == []
    with pytest.raises(LogError, match="no such file"):
        fired(path.with_name("none.db"))


# -- the alerts


def test_every_problem_and_every_kind_of_outage_has_its_alert() -> None:
    """Those of the rules that users install."""
    rules = "".join(file.read_text() for file in ALERT_FILES.glob("*.rules.yml"))
    alerts = set(re.findall(r"alert: (\w+)", rules))

    assert (set(ALERTS), set(MASS_ALERTS)) == (set(Problem), set(Kind))
    assert {*ALERTS.values(), *MASS_ALERTS.values()} <= alerts
