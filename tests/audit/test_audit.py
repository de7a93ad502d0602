"""The uptime audit: its figures against a recount of each second, hours of the week, and what is printed."""

import csv
import io
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import parts
from tests.builders import DAY, HOUR, KEY, MINUTE, T0, event, ms, timelock
from wawp_exporter.audit.audit import Query, audit
from wawp_exporter.audit.figures import Tally, tally
from wawp_exporter.audit.instants import instant, period
from wawp_exporter.audit.rows import Row, row
from wawp_exporter.audit.spreadsheet import cell, rows_of, to_csv
from wawp_exporter.audit.weekly import hour_of_week, patterns, recurring
from wawp_exporter.audit.words import duration, percent
from wawp_exporter.config.load import check
from wawp_exporter.errors import BadRequest
from wawp_exporter.log.history.timelines import Past
from wawp_exporter.log.log import Log
from wawp_exporter.model.event import Point, Status, StatusEvent

S, Q, W, F, X, D, U = "STARTING", "SCAN_QR_CODE", "WORKING", "FAILED", "STOPPED", "DISCONNECTED", "READY"
STATUSES = (S, Q, W, F, X, D, U)
CONFIG = check({"sources": {"default": {}, "other": {}}}).config
MADRID, NEW_YORK = ZoneInfo("Europe/Madrid"), ZoneInfo("America/New_York")
LENGTH = 120  # seconds of a random history

Told = Sequence[tuple[str, float]]


def past(told: Told, tombstone: float | None = None) -> Past:
    """A session's history, in seconds after T0."""
    points = [Point(status, ms(at), 0, ms(at)) for status, at in told]
    return Past(*KEY, "GOWS", 0 if tombstone is None else ms(tombstone), points)


def figures(told: Told, start: float = 0, end: float = HOUR, windows: Sequence[tuple[float, float]] = (),
            tombstone: float | None = None) -> Row:  # fmt: skip
    """The row of one session."""
    found = tally(past(told, tombstone), tuple((ms(a), ms(b)) for a, b in windows), ms(start), ms(end))
    return row("session", KEY[1], found)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a log lies."""
    return tmp_path / "wawp.db"


def logged(path: Path, *events: StatusEvent) -> Path:
    """A log with these events, in the order of their arrival."""
    log = Log(path)
    for each in events:
        log.append([each])
    log.close()
    return path


# -- what the figures mean


def test_uptime_is_of_the_time_that_counts() -> None:
    """The first start, STOPPED and what nobody knows count neither way."""
    found = figures([(S, 0), (W, 100), (F, 1000), (W, 1100), (X, 2100), (S, 3000), (W, 3100)])

    assert found.good_seconds == 900 + 1000 + 500
    assert found.downtime_seconds == 100 + 100
    assert found.excluded_seconds == 100 + 900
    assert found.uptime_ratio == 2400 / 2600
    assert found.coverage_ratio == 1


def test_time_before_the_first_event_is_not_covered() -> None:
    """It is neither up nor down: nobody knows."""
    found = figures([(W, 900)])

    assert found.coverage_ratio == 0.75
    assert found.uptime_ratio == 1


def test_nothing_that_counts_is_no_ratio() -> None:
    """A session that waited for its first login all the time is neither 0 nor 100 %."""
    assert figures([(S, 0), (Q, 5)]).uptime_ratio is None


def test_what_was_true_before_the_time_is_known_in_it() -> None:
    """The outage that began yesterday is downtime today."""
    found = figures([(W, 0), (F, 100)], start=1000, end=2000)

    assert (found.downtime_seconds, found.disconnects, found.longest_outage_seconds) == (1000, 0, 1000)
    assert found.longest_outage_ongoing


def test_disconnects_recoveries_and_their_means() -> None:
    """MTTR over finished recoveries, MTBF is good time for each disconnect."""
    found = figures([(W, 0), (F, 100), (W, 110), (D, 1000), (S, 1010), (W, 1030), (F, 3590)])

    assert found.disconnects == 3
    assert found.mttr_seconds == (10 + 30) / 2
    assert found.mtbf_seconds == (100 + 890 + 2560) / 3
    assert (found.longest_outage_seconds, found.longest_outage_ongoing) == (30, False)


def test_a_restart_is_no_disconnect_and_no_break_of_an_outage() -> None:
    """STOPPED for seconds on the way back."""
    found = figures([(W, 0), (F, 100), (X, 160), (S, 165), (W, 200)])

    assert found.disconnects == 1
    assert found.longest_outage_seconds == 60 + 35
    assert figures([(W, 0), (X, 100), (S, 105), (W, 110)]).disconnects == 0


def test_maintenance_excuses() -> None:
    """Its seconds, and the disconnects in it."""
    told = [(W, 0), (F, 1000), (W, 2000)]

    found = figures(told, windows=[(900, 1500)])

    assert found.disconnects == 0
    assert found.downtime_seconds == found.longest_outage_seconds == 500
    assert found.good_seconds == 900 + 1600


def test_cold_starts_are_told_by_how_they_ended() -> None:
    """And timed if they reached WORKING."""
    found = figures([(S, 0), (W, 4), (X, 100), (S, 200), (W, 206), (X, 300), (S, 400), (F, 500), (S, 510), (Q, 515)])

    assert found.starts == {"working": 2, "failed": 1, "qr": 1}
    assert (found.start_median_seconds, found.start_p90_seconds, found.start_max_seconds) == (5, 6, 6)


def test_reconnects_are_counted_apart_from_cold_starts() -> None:
    """A cold start comes from STOPPED, or is the first of all; any other is a session that tries to come back."""
    found = figures([(S, 0), (W, 10), (S, 100), (W, 103), (D, 200), (S, 210), (F, 240), (X, 300), (S, 310), (W, 330)])

    assert found.cold_starts == {"working": 2}
    assert found.cold_start_p90_seconds == 20
    assert found.reconnects == {"working": 1, "failed": 1}
    assert found.reconnect_p90_seconds == 3


def test_qr_waits_are_login_episodes() -> None:
    """Through FAILED and STARTING until somebody scanned; one that still waits is open."""
    found = figures([(Q, 0), (F, 160), (S, 170), (Q, 175), (W, 300), (X, 400), (Q, 500), (X, 520), (Q, 3000)])

    assert found.qr_waits == {"working": 1, "stopped": 1, "open": 1}
    assert (found.qr_wait_median_seconds, found.qr_wait_max_seconds) == (160, 300)


def test_a_deleted_session_is_over() -> None:
    """Until something new is heard of it; then it begins afresh."""
    found = figures([(W, 0), (Q, 100), (S, 2000), (W, 2010)], tombstone=1000)

    assert found.observed_seconds == 1000 + 1600
    assert found.qr_waits == {"deleted": 1}
    assert found.excluded_seconds == 10
    assert found.downtime_seconds == 900


# -- the recount


@st.composite
def histories(draw: st.DrawFn) -> dict[str, Any]:
    """A random history: points on whole seconds, windows, perhaps a deletion, and a time to ask for."""
    seconds = st.integers(0, LENGTH)
    told = draw(st.dictionaries(seconds, st.sampled_from(STATUSES), min_size=2, max_size=14))
    spans = draw(st.lists(st.tuples(seconds, seconds), max_size=2))
    tombstone = draw(st.none() | seconds)
    told.pop(
        -1 if tombstone is None else tombstone, None
    )  # which life an event of that very instant belongs to is nobody's business
    start, end = sorted(draw(st.tuples(seconds, seconds).filter(lambda pair: pair[0] != pair[1])))
    return {
        "told": sorted(((status, at) for at, status in told.items()), key=lambda pair: pair[1]),
        "windows": [tuple(sorted(span)) for span in spans],
        "tombstone": tombstone,
        "start": start,
        "end": end,
    }


def recounted(told: Told, start: int, end: int, windows: Sequence[tuple[int, int]], tombstone: int | None) -> Row:
    """The same by looking at each second for itself."""
    found = Tally(period=end - start)
    for second in range(start, end):
        gone = tombstone is not None and second >= tombstone
        life = [(s, at) for s, at in told if at <= second and (not gone or tombstone is None or at > tombstone)]
        if not life:
            continue
        status = known(life[-1][0])
        found.observed += 1
        found.status[status] = found.status.get(status, 0.0) + 1
        excused = any(a <= second < b for a, b in windows)
        counts = status not in (Status.STOPPED, Status.UNKNOWN) and W in [s for s, _ in life] and not excused
        found.good += counts and status is Status.WORKING
        found.bad += counts and status is not Status.WORKING
        before = known(life[-2][0]) if len(life) > 1 else None
        left = life[-1][1] == second and before is Status.WORKING and status not in (Status.WORKING, *QUIET)
        found.disconnects += [ms(second)] if left and not excused else []
    return row("session", KEY[1], found)


QUIET = (Status.STOPPED, Status.UNKNOWN)


def known(status: str) -> Status:
    """As the contract spells it."""
    return Status(status) if status in set(Status) else Status.UNKNOWN


@settings(max_examples=400, deadline=None)
@given(histories())
def test_the_figures_equal_a_recount_of_each_second(history: dict[str, Any]) -> None:
    """Uptime, downtime, coverage, time in each status, disconnects."""
    windows = [(a, b) for a, b in history["windows"]]
    found = figures(history["told"], history["start"], history["end"], windows, history["tombstone"])

    expected = recounted(history["told"], history["start"], history["end"], windows, history["tombstone"])

    for name in ("observed_seconds", "good_seconds", "downtime_seconds", "excluded_seconds", "disconnects"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name)), name
    assert found.status_seconds == pytest.approx(expected.status_seconds)
    assert found.uptime_ratio == pytest.approx(expected.uptime_ratio)
    assert found.longest_outage_seconds <= found.downtime_seconds


@settings(max_examples=25, deadline=None)
@given(histories(), st.randoms(use_true_random=False))
def test_late_and_back_filled_events_are_in_their_place(
    tmp_path_factory: pytest.TempPathFactory, history: dict[str, Any], chance: Any
) -> None:
    """In whatever order events arrive, the log's audit is that of the history."""
    events = [event(status, at, received=at) for status, at in history["told"]]
    chance.shuffle(events)
    path = logged(tmp_path_factory.mktemp("log") / "wawp.db", *events)

    report = audit(path, CONFIG, Query(ms(history["start"]), ms(history["end"])))

    if any(at < history["end"] for _, at in history["told"]):
        expected = figures(history["told"], history["start"], history["end"])
        (found,) = report.sessions
        for name in ("good_seconds", "downtime_seconds", "observed_seconds", "disconnects", "status_seconds", "starts",
                     "qr_waits", "mttr_seconds", "longest_outage_seconds"):  # fmt: skip
            assert getattr(found, name) == getattr(expected, name), name
    else:
        assert report.sessions == []


# -- hours of the week


def at(text: str, zone: ZoneInfo) -> int:
    """A time on the wall as Unix ms."""
    return round(datetime.fromisoformat(text).replace(tzinfo=zone).timestamp() * 1000)


@pytest.mark.parametrize(
    ("zone", "winter", "summer"),
    [(MADRID, "2026-03-22T02:30", "2026-04-05T02:30"), (NEW_YORK, "2026-03-01T02:30", "2026-03-15T02:30"),
     (MADRID, "2026-10-18T02:30", "2026-11-01T02:30"), (NEW_YORK, "2026-10-25T02:30", "2026-11-08T02:30")],
)  # fmt: skip
def test_an_hour_of_the_week_is_that_of_the_clock_on_the_wall(zone: ZoneInfo, winter: str, summer: str) -> None:
    """What happens each Sunday at 02:30 is in one cell, on both sides of a change of the clocks."""
    counts = hour_of_week([at(winter, zone), at(summer, zone)], zone)

    assert counts[6][2] == 2
    assert sum(map(sum, counts)) == 2


def test_the_hour_that_comes_twice_is_counted_twice() -> None:
    """On the night when clocks are put back, 02:30 is twice in Madrid."""
    first = at("2026-10-25T02:30", MADRID)

    assert hour_of_week([first, first + HOUR * 1000], MADRID)[6][2] == 2


def weekly(count: int, first: str = "2026-10-04T02:10", zone: ZoneInfo = MADRID) -> list[tuple[tuple[str, str], int]]:
    """Disconnects at one time of so many weeks, across the change of clocks of 25 October."""
    start = datetime.fromisoformat(first)
    days = [start.replace(tzinfo=None).toordinal() + 7 * week for week in range(count)]
    moments = [datetime.combine(datetime.fromordinal(day), start.time(), zone) for day in days]
    return [(KEY, round(moment.timestamp() * 1000)) for moment in moments]


def test_three_weeks_are_a_pattern() -> None:
    """Two may be chance."""
    assert recurring(weekly(5), MADRID) == {KEY: {(6, 2): 5}}
    assert recurring(weekly(2), MADRID) == {}


def test_one_bad_hour_is_no_pattern() -> None:
    """However often it disconnected in it."""
    (first,) = weekly(1)

    assert recurring([(KEY, first[1] + second * 1000) for second in range(0, 600, 60)], MADRID) == {}


def test_patterns_come_from_the_last_eight_weeks_of_the_log(path: Path) -> None:
    """Leaving WORKING for STOPPED is none, nor is what happened in maintenance, nor what is older."""
    weeks = 7 * DAY
    events = []
    for week in range(12):
        for name, status in (("flaky", F), ("stopped", X), ("excused", F)):
            base = week * weeks
            events += [event(W, base, key=("default", name)), event(status, base + MINUTE, key=("default", name))]
    logged(path, *events)
    window = {"source": "*", "session": "excused", "from": "2020-01-01T00:00:00Z", "to": "2030-01-01T00:00:00Z"}

    found = patterns(path, check({"maintenance": [window]}).config, ms(11 * weeks + HOUR))

    local = datetime.fromtimestamp(T0 / 1000 + MINUTE, UTC)
    assert found == {("default", "flaky"): {(local.weekday(), local.hour): 8}}


# -- the report


def test_sums_are_of_the_sessions(path: Path) -> None:
    """Per group, engine and source, ratios of the sums; what is asked for only."""
    logged(
        path,
        event(W, 0, key=("default", "a"), engine="GOWS"),
        event(F, 900, key=("default", "a"), engine="GOWS"),
        event(W, 0, key=("default", "b"), engine="NOWEB"),
        event(W, 0, key=("other", "c"), engine="GOWS"),
    )
    config = check({"groups": {"g": ["default/a", "default/b"]}, "sources": {"default": {}, "other": {}}}).config

    report = audit(path, config, Query(ms(0), ms(1000)))

    assert [each.name for each in report.sessions] == ["a", "b", "c"]
    assert {each.name: each.uptime_ratio for each in report.engines} == {"GOWS": 0.95, "NOWEB": 1}
    assert {each.name: each.uptime_ratio for each in report.groups} == {"g": 0.95}
    assert {each.name: each.sessions for each in report.sources} == {"default": 2, "other": 1}
    assert report.total.downtime_seconds == 100
    assert [e.name for e in audit(path, config, Query(ms(0), ms(1000), group="g")).sessions] == ["a", "b"]
    assert [e.name for e in audit(path, config, Query(ms(0), ms(1000), source="other")).sessions] == ["c"]
    assert [e.name for e in audit(path, config, Query(ms(0), ms(1000), session="b")).sessions] == ["b"]


def test_losses_are_counted_by_reason(path: Path) -> None:
    """Each disconnect once, with the reason that says most; a restriction just before explains one without."""
    a, b = ("default", "a"), ("default", "b")
    logged(
        path,
        event(W, 0, key=a),
        event(D, 60, key=a),
        event(F, 70, key=a, reason="logged_out"),
        event(W, 100, key=a),
        event(F, 160, key=a, reason="other"),
        event(W, 200, key=a),
        event(X, 260, key=a),
        event(W, 0, key=b),
        event(D, 60, key=b, reason="logged_out"),
        event(W, 100, key=b, limits=[timelock()]),
        event(D, 160, key=b),
        event(W, 900, key=b, limits=[timelock()]),
        event(D, 960, key=b),
    )

    report = audit(path, CONFIG, Query(ms(0), ms(1000)))

    assert [(each.reason, each.losses, each.sessions) for each in report.losses] == [
        ("logged_out", 2, 2), ("", 1, 1), ("other", 1, 1), ("restricted", 1, 1),
    ]  # fmt: skip
    assert {each.name: each.losses for each in report.sessions} == {
        "a": {"logged_out": 1, "other": 1},
        "b": {"logged_out": 1, "restricted": 1, "": 1},
    }
    assert sum(report.total.losses.values()) == report.total.disconnects


def test_losses_of_other_times_are_not_counted(path: Path) -> None:
    """One that began before the period is none of it; one that goes on at its end is."""
    logged(path, event(W, 0), event(D, 10, reason="banned"), event(W, 150), event(F, 180), event(F, 190))

    assert audit(path, CONFIG, Query(ms(100), ms(170))).losses == []
    assert [each.losses for each in audit(path, CONFIG, Query(ms(100), ms(185))).losses] == [1]


def test_it_says_what_prometheus_can_have_seen(path: Path) -> None:
    """The time in which the exporter ran; runs that overlap are counted once."""
    log = Log(path)
    log.append([event(W, 0)])
    log.runs.beat(ms(100))
    log.runs.beat(ms(600))
    log.close()
    later = Log(path)
    later.runs.beat(ms(800))
    later.runs.beat(ms(900))
    later.close()

    assert audit(path, CONFIG, Query(ms(0), ms(1000))).prometheus_saw_ratio == 0.6


def test_late_events_are_counted(path: Path) -> None:
    """Their seconds are in this report and not in Prometheus."""
    logged(path, event(W, 0), event(F, 100, received=300), event(W, 310))

    assert audit(path, CONFIG, Query(ms(0), ms(1000))).late_events == 1


def test_progress_is_told(path: Path) -> None:
    """Session by session."""
    logged(path, *(event(W, 0, key=("default", name)) for name in "abc"))
    told: list[tuple[int, int]] = []

    audit(path, CONFIG, Query(ms(0), ms(10)), lambda done, count: told.append((done, count)))

    assert told == [(1, 3), (2, 3), (3, 3)]


def test_csv_has_a_line_for_each_row_and_no_formula(path: Path) -> None:
    """A session's name may be anything, and spreadsheets run what begins like a formula."""
    logged(path, event(W, 0, key=("default", '=cmd|"x"!A1')), event(W, 0, key=("default", 'a,"b"\n')))
    report = audit(path, CONFIG, Query(ms(0), ms(10)))

    lines = list(csv.DictReader(io.StringIO(to_csv(report))))

    assert len(lines) == len(rows_of(report))
    assert [line["name"] for line in lines[:2]] == ['\'=cmd|"x"!A1', 'a,"b"\n']
    assert {line["working_seconds"] for line in lines[:2]} == {"10.000"}


@pytest.mark.parametrize(
    "start", ["", "\n", "\r", "\t", "\r\n", " ", "\x0b", "\x00", "\u00a0", "\u200b", "\ufeff", "\u2028"]
)
@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20", "\ufe66", "\u2212"])
def test_no_cell_begins_like_a_formula(start: str, sign: str) -> None:
    """Spreadsheets skip blanks and what is invisible, and some take signs of full width for the usual ones."""
    name = f"{start}{sign}1+1"

    assert cell(name) == f"'{name}"


@pytest.mark.parametrize("name", ["", "sales-uk", "a=b", "1-2", "漢字", "'=1", "é"])
def test_other_cells_are_as_they_are(name: str) -> None:
    """A name that is quoted without need is another name."""
    assert cell(name) == name


# -- what is written on the way in and out


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-01", "2026-10-31T23:00:00+00:00"),
        ("2026-07-01", "2026-06-30T22:00:00+00:00"),
        ("2026-11-01T08:00", "2026-11-01T07:00:00+00:00"),
        ("2026-11-01T08:00:00Z", "2026-11-01T08:00:00+00:00"),
        ("1793520000", "2026-11-01T08:00:00+00:00"),
        ("1793520000000", "2026-11-01T08:00:00+00:00"),
    ],
)
def test_a_time_without_a_zone_is_in_the_time_zone_asked_for(text: str, expected: str) -> None:
    """Dates and times of day."""
    assert instant("from", text, MADRID, 0) == round(datetime.fromisoformat(expected).timestamp() * 1000)


def test_an_age_is_before_now() -> None:
    """30d, 24h, 90m."""
    assert instant("from", "24h", MADRID, ms(0)) == ms(-DAY)


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "-5d", "9999999d", "99999999999999999999", ""])
def test_what_is_no_time_is_named(text: str) -> None:
    """With what was expected."""
    with pytest.raises(BadRequest, match=r"^from: not a time, expected a date"):
        instant("from", text, MADRID, ms(0))


def test_a_time_ends_at_the_present() -> None:
    """The future has no figures."""
    assert period("24h", "2099-01-01", MADRID, ms(0)) == (ms(-DAY), ms(0))
    with pytest.raises(BadRequest, match="from: not before"):
        period("2098-01-01", "2099-01-01", MADRID, ms(0))


def test_only_what_is_perfect_says_so() -> None:
    """A ratio is rounded down."""
    assert [percent(ratio) for ratio in (1.0, 0.9999999, 0.5, None)] == ["100.000 %", "99.999 %", "50.000 %", "–"]
    assert [duration(seconds) for seconds in (0, 59.6, 3700, 90_000, None)] == ["0s", "1m", "1h 1m", "1d 1h", "–"]


# -- the command


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[parts.Exporter]:
    """A service with a little history, which goes on while its log is read."""
    with parts.Exporter({"groups": {"g": ["default/one"]}}, tmp_path_factory.mktemp("running")) as exporter:
        now = parts.now_ms()
        for status, ago in ((W, 3600), (F, 1800), (W, 1700)):
            body = parts.envelope(session="one", status=status, timestamp=now - ago * 1000)
            assert exporter.post(body).status_code == 200
        yield exporter


def command(file: Path, *args: str) -> "subprocess.CompletedProcess[str]":
    """`wawp-exporter audit`, as a process."""
    whole = [sys.executable, "-m", "wawp_exporter", "audit", "--config", str(file), *args]
    return subprocess.run(whole, capture_output=True, text=True, check=False)


def test_the_command_reads_the_log_of_a_running_service(running: parts.Exporter) -> None:
    """As JSON, CSV and a table; nothing but the report on standard output."""
    report = json.loads(command(running.config_file, "--format", "json", "--from", "50m").stdout)
    lines = list(csv.DictReader(io.StringIO(command(running.config_file, "--format", "csv", "--from", "50m").stdout)))
    table = command(running.config_file, "--from", "50m").stdout

    assert report["sessions"][0]["disconnects"] == 1
    assert report["sessions"][0]["downtime_seconds"] == pytest.approx(100, abs=0.1)
    assert Counter(line["kind"] for line in lines) == Counter(
        {"session": 1, "group": 1, "engine": 1, "source": 1, "total": 1}
    )
    assert "96.6" in table
    assert "Disconnects by hour of the week" in table


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--from", "soon"], "--from: not a time"),
        (["--timezone", "Mars/Olympus"], "--timezone: not a known time zone"),
        (["--from", "2098-01-01"], "--from: not before"),
    ],
)
def test_a_wrong_option_is_named(running: parts.Exporter, args: list[str], message: str) -> None:
    """Exit status 2, no traceback."""
    ended = command(running.config_file, *args)

    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith(message)


def test_a_log_that_is_not_there_is_said(tmp_path: Path) -> None:
    """Exit status 1, and nothing is made."""
    (tmp_path / "wawp.yml").write_text(f"database: {{url: 'sqlite:///{tmp_path}/none.db'}}\n")

    ended = command(tmp_path / "wawp.yml")

    assert ended.returncode == 1
    assert ended.stderr == f"cannot read the event log {tmp_path}/none.db: there is no such file\n"
    assert [file.name for file in tmp_path.iterdir()] == ["wawp.yml"]
