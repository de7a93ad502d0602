"""The fleet as text: golden files, the contract's tables, and what Prometheus's own parsers read back."""

import gzip
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from prometheus_client import parser as text_parser
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.samples import Sample

from tests.builders import (
    DAY,
    HOUR,
    KEY,
    apply,
    capping,
    clock,
    config,
    event,
    live,
    make_fleet,
    ms,
    timelock,
)
from wawp_exporter.config.load import check
from wawp_exporter.metrics import gzip_pieces
from wawp_exporter.metrics.exposition import Exposition
from wawp_exporter.metrics.telemetry import Telemetry
from wawp_exporter.model.activity import Activity, Sent
from wawp_exporter.model.event import Direction, Status
from wawp_exporter.model.fleet import Fleet
from wawp_exporter.model.probe import Probe
from wawp_exporter.model.rules import Key, Rules
from wawp_exporter.model.sessions import take_probe
from wawp_exporter.service.service import Service

GOLDEN = Path(__file__).parents[1] / "golden"
S, Q, W, F, X = "STARTING", "SCAN_QR_CODE", "WORKING", "FAILED", "STOPPED"
FORMATS = pytest.mark.parametrize("is_openmetrics", [False, True], ids=["text", "openmetrics"])
# Where the fleet's metrics and the sessions' begin; before them stand those of the process, which differ each time.
FLEET, SESSIONS = b"# HELP wawp_sessions ", b"# HELP wawp_session_info "

# Section 5 of the contract: metric → (type, labels beside source and session).
PER_SESSION = {
    "wawp_session_info": ("gauge", {"engine", "group", "owner", "tier"}),
    "wawp_session_status": ("gauge", {"status"}),
    "wawp_session_status_since_timestamp_seconds": ("gauge", set()),
    "wawp_session_auth_required_since_timestamp_seconds": ("gauge", set()),
    "wawp_session_down_since_timestamp_seconds": ("gauge", set()),
    "wawp_session_last_event_timestamp_seconds": ("gauge", set()),
    "wawp_session_messages_total": ("counter", {"direction"}),
    "wawp_session_last_message_timestamp_seconds": ("gauge", {"direction"}),
    "wawp_session_unacknowledged_since_timestamp_seconds": ("gauge", set()),
    "wawp_session_maintenance": ("gauge", set()),
    "wawp_session_restricted": ("gauge", {"restriction"}),
    "wawp_session_probe_success": ("gauge", set()),
    "wawp_session_probe_duration_seconds": ("gauge", set()),
    "wawp_session_transitions_total": ("counter", {"to"}),
    "wawp_session_status_seconds_total": ("counter", {"status"}),
    "wawp_session_status_duration_seconds": ("histogram", {"status"}),
    "wawp_session_threshold_seconds": ("gauge", {"kind"}),
    "wawp_session_recurring_disconnects": ("gauge", {"weekday", "hour"}),
}
# Metric → (type, all labels).
PER_FLEET = {
    "wawp_sessions": ("gauge", {"source", "engine", "status"}),
    "wawp_transitions_total": ("counter", {"source", "engine", "from", "to"}),
    "wawp_status_seconds_total": ("counter", {"source", "engine", "status"}),
    "wawp_slo_seconds_total": ("counter", {"source", "engine", "result"}),
    "wawp_status_duration_seconds": ("histogram", {"source", "engine", "status"}),
    "wawp_start_duration_seconds": ("histogram", {"source", "engine", "outcome"}),
    "wawp_qr_wait_duration_seconds": ("histogram", {"source", "engine", "outcome"}),
    "wawp_recovery_duration_seconds": ("histogram", {"source", "engine"}),
    "wawp_group_sessions": ("gauge", {"group"}),
    "wawp_group_configured_sessions": ("gauge", {"group"}),
    "wawp_group_eligible_sessions": ("gauge", {"group"}),
    "wawp_group_working_sessions": ("gauge", {"group"}),
    "wawp_threshold_default_seconds": ("gauge", {"source", "kind"}),
    "wawp_slo_objective_ratio": ("gauge", {"source"}),
    "wawp_sessions_dropped": ("gauge", set()),
    "wawp_source_synced": ("gauge", {"source"}),
    "wawp_losses_total": ("counter", {"source", "engine", "reason"}),
}
# There while they hold; `tests/metrics/test_judged.py` has their labels.
PER_VERDICT = {
    "wawp_session_problem_since_timestamp_seconds": ("gauge", set[str]()),
    "wawp_outage_since_timestamp_seconds": ("gauge", set[str]()),
    "wawp_outage_sessions": ("gauge", set[str]()),
    "wawp_outage_step": ("gauge", set[str]()),
    "wawp_session_never_worked": ("gauge", set[str]()),
}
EXPORTER = {
    "wawp_exporter_webhooks_total": ("counter", {"source", "outcome"}),
    "wawp_exporter_webhooks_rejected_total": ("counter", {"source", "reason"}),
    "wawp_exporter_unknown_statuses_total": ("counter", {"source"}),
    "wawp_exporter_clock_skew_events_total": ("counter", {"source"}),
    "wawp_exporter_names_over_limit": ("gauge", {"source"}),
    "wawp_exporter_last_accepted_timestamp_seconds": ("gauge", {"source"}),
    "wawp_exporter_refused_since_timestamp_seconds": ("gauge", {"source", "reason"}),
    "wawp_exporter_clock_behind_seconds": ("gauge", {"source"}),
    "wawp_exporter_webhook_duration_seconds": ("histogram", set()),
    "wawp_exporter_webhook_delay_seconds": ("histogram", set()),
    "wawp_exporter_log_appends_total": ("counter", set()),
    "wawp_exporter_log_append_errors_total": ("counter", set()),
    "wawp_exporter_log_append_duration_seconds": ("histogram", set()),
    "wawp_exporter_log_size_bytes": ("gauge", set()),
    "wawp_exporter_log_free_bytes": ("gauge", set()),
    "wawp_exporter_log_disk_bytes": ("gauge", set()),
    "wawp_exporter_log_oldest_event_timestamp_seconds": ("gauge", set()),
    "wawp_exporter_queue_depth": ("gauge", set()),
    "wawp_exporter_config_last_reload_successful": ("gauge", set()),
    "wawp_exporter_config_last_reload_success_timestamp_seconds": ("gauge", set()),
    "wawp_exporter_time_seconds": ("gauge", set()),
    "wawp_exporter_api_up": ("gauge", {"source"}),
    "wawp_exporter_reconcile_last_success_timestamp_seconds": ("gauge", {"source"}),
    "wawp_exporter_reconcile_corrections_total": ("counter", {"source"}),
    "wawp_exporter_gateway_start_timestamp_seconds": ("gauge", {"source"}),  # beside the contract's
    "wawp_exporter_restarts_total": ("counter", {"source", "result"}),
    # Beside the contract's:
    "wawp_exporter_api_errors_total": ("counter", {"source"}),
    "wawp_exporter_defects_total": ("counter", {"part"}),
    "wawp_exporter_upkeep_failures_total": ("counter", {"job"}),
    "wawp_exporter_build_info": ("gauge", {"version", "revision", "python"}),
}
CLOSED_SETS = {
    "status": {*Status},
    "to": {*Status},
    "from": {*Status, "NONE"},
    "result": {"good", "bad", "excluded"},
    "restriction": {"reachout_timelock", "message_capping"},
    "weekday": {"Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"},
    "hour": {f"{hour:02}" for hour in range(24)},
    "kind": {"starting", "failed", "qr_escalate", "qr_unattended", "down", "silent", "undelivered", "feed_silence"},
    "engine": {"WEBJS", "NOWEB", "GOWS", "WPP", "VENOM", "NOWEB_MOBILE", "OTHER"},
}


def scrape(exposition: Exposition, at: float, *, is_openmetrics: bool = False, zipped: bool = False) -> bytes:
    """What Prometheus gets `at` seconds after T0."""
    data = b"".join(exposition.scrape(is_openmetrics, zipped, ms(at), clock(at)))
    return gzip.decompress(data) if zipped else data


def exposed(fleet: Fleet) -> Exposition:
    """The views of a fleet."""
    return Exposition(fleet, Telemetry())


def samples(text: bytes, is_openmetrics: bool = False) -> Iterator[Sample]:
    """What prometheus-client's parser reads in an exposition."""
    parser = openmetrics_parser if is_openmetrics else text_parser
    for family in parser.text_string_to_metric_families(text.decode()):
        yield from family.samples


def values(text: bytes, name: str, label: str, is_openmetrics: bool = False) -> dict[str, float]:
    """The samples of one metric by one label."""
    return {s.labels[label]: s.value for s in samples(text, is_openmetrics) if s.name == name}


def shown(exposition: Exposition, at: float = 0) -> set[str]:
    """The sessions that have series of their own."""
    return set(values(scrape(exposition, at), "wawp_session_info", "session"))


def moment(at: float) -> datetime:
    """`at` seconds after T0."""
    return datetime.fromtimestamp(ms(at) / 1000, UTC)


def example_fleet() -> Fleet:
    """One session with something to show in every family."""
    fleet = live(
        (S, 0),
        (Q, 2),
        (W, 62),
        (F, 500),
        (S, 502),
        sessions=[{"session": "sales-*", "owner": "ana", "tier": "gold", "thresholds": {"starting": "3m"}}],
        groups={"sales": ["default/sales-uk", "default/sales-global"]},
        metrics={"max_sessions": 10},
    )
    apply(fleet, event(W, 510, limits=[timelock(until=DAY)]))
    fleet.recur({KEY: {(6, 2): 5, (0, 17): 3}})
    take_probe(fleet, KEY, Probe(ms(590), 1250), ms(591))
    fleet.activity[KEY] = activity = Activity()
    for direction in Direction:
        activity.count(direction, ms(520))
    activity.await_ack("digest", Sent(ms(520), ms(521)))
    return fleet


# -- golden text


@pytest.mark.parametrize(
    ("file", "is_openmetrics", "start", "end"),
    [
        ("session.txt", False, SESSIONS, None),
        ("session.openmetrics.txt", True, SESSIONS, None),
        ("fleet.txt", False, FLEET, SESSIONS),
    ],
)
def test_the_text_is_the_golden_one(file: str, is_openmetrics: bool, start: bytes, end: bytes | None) -> None:
    """Byte for byte, HELP and TYPE included. `GOLDEN=write pytest tests/test_exposition.py` writes the files anew."""
    text = scrape(exposed(example_fleet()), 600, is_openmetrics=is_openmetrics)

    part = text[text.index(start) : text.index(end) if end else None]

    if os.environ.get("GOLDEN") == "write":
        (GOLDEN / file).write_bytes(part)
    assert part.decode() == (GOLDEN / file).read_text()


def test_recurring_disconnects_are_not_shown_in_maintenance() -> None:
    """The alert about them reads nothing else, and maintenance silences every alert about a session."""
    fleet = live((W, 0), maintenance=[{"from": moment(100), "to": moment(200)}])
    fleet.recur({KEY: {(6, 2): 5}})
    exposition, seen = exposed(fleet), []

    for at in (50, 150, 250):
        fleet.advance(ms(at), clock(at))
        seen.append(b"wawp_session_recurring_disconnects{" in scrape(exposition, at))

    assert seen == [True, False, True]


# -- the contract's tables


def families(text: bytes) -> dict[str, str]:
    """Name → type, from the TYPE lines."""
    return dict(re.findall(r"^# TYPE (\S+) (\S+)$", text.decode(), re.MULTILINE))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The exposition of a whole service with one session."""
    url = f"sqlite:///{tmp_path_factory.mktemp('log')}/wawp.db"
    service = Service(check({"database": {"url": url}, "groups": {"sales": ["default/sales-uk"]}}))
    live((S, 0), (W, 5), fleet=service.fleet)
    apply(service.fleet, event(W, 9, limits=[capping()]))
    text = scrape(service.exposition, 10)
    service.log.close()
    return text


def test_the_metrics_are_the_contracts(whole: bytes) -> None:
    """Each name and type, none missing and none of our own beside those of the process and of Python."""
    found = {name: kind for name, kind in families(whole).items() if name.startswith("wawp_")}

    assert found == {name: kind for name, (kind, _) in (PER_SESSION | PER_FLEET | PER_VERDICT | EXPORTER).items()}


def test_each_metric_has_help(whole: bytes) -> None:
    """A sentence, right before its type."""
    helped = re.findall(rb"^# HELP (wawp_\S+) \S.*\.\n# TYPE \1 ", whole, re.MULTILINE)

    assert len(helped) == len(PER_SESSION | PER_FLEET | PER_VERDICT | EXPORTER)


@FORMATS
def test_the_labels_are_the_contracts(is_openmetrics: bool) -> None:
    """Of each sample of sessions and the fleet; values of closed sets come from them."""
    expected = {name: labels | {"source", "session"} for name, (_, labels) in PER_SESSION.items()}
    expected |= {name: labels for name, (_, labels) in PER_FLEET.items()}
    text = scrape(exposed(example_fleet()), 600, is_openmetrics=is_openmetrics)

    seen = set()
    for sample in samples(text, is_openmetrics):
        if not sample.name.startswith("wawp_") or sample.name.startswith("wawp_exporter_"):
            continue
        name = sample.name if sample.name in expected else re.sub("_(bucket|sum|count)$", "", sample.name)
        seen.add(name)
        assert sample.labels.keys() - {"le"} == expected[name], sample
        assert all(value in CLOSED_SETS.get(label, {value}) for label, value in sample.labels.items()), sample

    assert seen == expected.keys()


def test_the_exporters_own_labels_are_the_contracts(whole: bytes) -> None:
    """And every outcome and reason is there before it happens."""
    by_name: dict[str, set[str]] = {}
    for sample in samples(whole):
        name = sample.name if sample.name in EXPORTER else re.sub("_(bucket|sum|count)$", "", sample.name)
        by_name.setdefault(name, set()).update(sample.labels.keys() - {"le"})

    # A gateway's are there once there is a gateway.
    present = {name: labels for name, (_, labels) in EXPORTER.items() if name in by_name or "webhook" in name}
    assert {name: by_name[name] for name in present} == present
    assert len(EXPORTER) - len(present) == 6
    outcomes = values(whole, "wawp_exporter_webhooks_total", "outcome")
    assert outcomes.keys() == {"transition", "repeat", "duplicate", "late", "ignored", "rejected"}
    assert values(whole, "wawp_exporter_webhooks_rejected_total", "reason").keys() == {
        "bad_signature",
        "missing_signature",
        "bad_token",
        "malformed",
        "too_large",
        "invalid_event",
        "log_unavailable",
    }


def test_process_and_python_metrics_are_there(whole: bytes) -> None:
    """The usual ones."""
    assert {"process_resident_memory_bytes", "process_cpu_seconds_total", "python_info"} <= families(whole).keys()


def test_no_series_is_there_twice(whole: bytes) -> None:
    """Prometheus would refuse the scrape."""
    series = [line.rpartition(b" ")[0] for line in whole.splitlines() if not line.startswith(b"#")]

    assert len(series) == len(set(series))


def test_an_empty_fleet_is_a_valid_exposition() -> None:
    """All families are announced before the first session."""
    for is_openmetrics in (False, True):
        text = scrape(exposed(make_fleet()), 0, is_openmetrics=is_openmetrics)

        assert len(families(text)) > len(PER_SESSION | PER_FLEET)
        assert list(samples(text, is_openmetrics))


# -- what is read back


TEXT = st.text(
    st.sampled_from('"\\\n%{}=,# \r\t😀é\u2028\u0085\x01d') | st.characters(exclude_characters="\0"),
    min_size=1,
    max_size=64,
)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(name=TEXT, owner=TEXT)
@example(name="x" * 256, owner="a")
@example(name="😀" * 64, owner="\\")
@example(name='"', owner='\\"')
@example(name="\\n", owner="\n")
@example(name="%s %% %(a)s %.3f", owner="%")
def test_any_name_is_read_back_as_it_was_meant(name: str, owner: str) -> None:
    """In both formats, zipped or not: all samples equal those of a session with a plain name."""
    fleets = [make_fleet(sessions=[{"session": "*", "owner": o}]) for o in (owner, "o")]
    for fleet, session in zip(fleets, (name, "s"), strict=True):
        live((S, 0), (W, 5), key=("default", session), fleet=fleet)
        apply(fleet, event(W, 9, key=("default", session), limits=[timelock()]))
    meant, plain = (exposed(fleet) for fleet in fleets)

    for is_openmetrics in (False, True):
        expected = {
            (s.name, frozenset((s.labels | {"session": name}).items()), s.value)
            for s in samples(scrape(plain, 10, is_openmetrics=is_openmetrics), is_openmetrics)
            if "session" in s.labels and s.name != "wawp_session_info"
        }
        found = list(samples(scrape(meant, 10, is_openmetrics=is_openmetrics, zipped=True), is_openmetrics))
        ours = [s for s in found if "session" in s.labels]
        info = [s for s in ours if s.name == "wawp_session_info"]
        assert {(s.name, frozenset(s.labels.items()), s.value) for s in ours if s not in info} == expected
        assert [(s.labels["session"], s.labels["owner"]) for s in info] == [(name, owner)]


@settings(max_examples=30, deadline=None, derandomize=True)
@given(group=TEXT.filter(lambda name: name.isprintable() and name.strip()), tier=TEXT)
def test_any_group_and_tier_are_read_back(group: str, tier: str) -> None:
    """They come from the configuration, which may hold anything, too; of groups, anything that can be seen."""
    fleet = live((W, 0), groups={group: ["default/sales-uk"]}, sessions=[{"tier": tier}])

    text = scrape(exposed(fleet), 0)

    assert values(text, "wawp_group_working_sessions", "group") == {group: 1}
    assert values(text, "wawp_session_info", "tier") == {tier: 1}


@FORMATS
def test_values_are_read_back_as_they_were_meant(is_openmetrics: bool) -> None:
    """Times in seconds with milliseconds, 0 for none, exactly one status."""
    text = scrape(exposed(live((S, 0), (Q, 2.345), (F, 162))), 200, is_openmetrics=is_openmetrics)

    by_name = {s.name: s.value for s in samples(text, is_openmetrics) if "session" in s.labels}
    assert by_name["wawp_session_status_since_timestamp_seconds"] == ms(162) / 1000
    assert by_name["wawp_session_auth_required_since_timestamp_seconds"] == ms(2.345) / 1000
    assert by_name["wawp_session_down_since_timestamp_seconds"] == ms(0) / 1000
    assert by_name["wawp_session_last_event_timestamp_seconds"] == ms(162) / 1000
    statuses = values(text, "wawp_session_status", "status", is_openmetrics)
    assert {status for status, value in statuses.items() if value} == {F}
    assert len(statuses) == 7


def test_the_zipped_scrape_is_the_plain_one() -> None:
    """Members of many pages follow one another in one stream, before and after a change."""
    fleet = make_fleet()
    for n in range(300):
        live((S, 0), (W, n % 7), key=("default", f"s{n}"), fleet=fleet)
    exposition = exposed(fleet)

    for at in (10, 20, 30):
        plain, zipped = (scrape(exposition, at, zipped=z) for z in (False, True))
        assert zipped[zipped.index(FLEET) :] == plain[plain.index(FLEET) :]
        live((F, at), key=("default", f"s{at}"), fleet=fleet)
        fleet.forget(("default", f"s{at + 1}"), ms(at), clock(at))


def test_a_scrape_after_changes_is_that_of_a_fresh_view() -> None:
    """What is kept from change to change never differs from what would be rendered anew."""
    fleet = make_fleet(maintenance=[])
    exposition = exposed(fleet)
    for n in range(200):
        live((S, 0), key=("default", f"s{n}"), fleet=fleet)
    scrape(exposition, 1)
    for n in range(0, 200, 7):
        live((W, 5), (F, 6 + n), key=("default", f"s{n}"), fleet=fleet)
        fleet.touch(("default", f"s{n + 1}"), ms(n), clock(n))
    for n in range(0, 200, 31):
        fleet.forget(("default", f"s{n}"), ms(n), clock(n))

    kept, fresh = scrape(exposition, 300), scrape(exposed_all(fleet), 300)

    def ours(text: bytes) -> set[bytes]:
        return set(text[text.index(SESSIONS) :].splitlines())

    assert ours(kept) == ours(fresh)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.lists(
        st.tuples(
            st.sampled_from("abcde"),
            st.sampled_from([*Status, "deleted", "engine", "late", "message", "reload", "saved"]),
        ),
        max_size=20,
    ),
    st.integers(1, 4),
)
def test_whatever_happens_a_scrape_is_that_of_a_fresh_view(steps: list[tuple[str, str]], every: int) -> None:
    """However many scrapes there were before: when sessions were last heard of, and what is judged, included."""
    fleet = make_fleet()
    exposition = exposed(fleet)
    for at, (name, what) in enumerate(steps):
        key = ("default", name)
        fleet.take_unsaved() if what == "saved" else move(fleet, key, what, at)
        if what == "message" and key in fleet.sessions:
            fleet.activity.setdefault(key, Activity()).count(Direction.OUT, ms(at))
            fleet.heard.add(key)
        fleet.advance(ms(at), clock(at))
        if at % every == 0:
            scrape(exposition, at, zipped=bool(at % 2))

    kept, fresh = scrape(exposition, 300, zipped=True), scrape(exposed_all(fleet), 300)

    def ours(text: bytes) -> list[bytes]:
        return sorted(line for line in text[text.index(FLEET) :].splitlines() if b"wawp_losses" not in line)

    assert ours(kept) == ours(fresh)


def test_without_isal_the_text_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no wheel for some platforms; zlib compresses there."""
    expected = scrape(exposed(large_fleet()), 20, zipped=True)
    monkeypatch.setattr(gzip_pieces, "isal_zlib", None)

    exposition = exposed(large_fleet())
    zipped, plain = scrape(exposition, 20, zipped=True), scrape(exposition, 20)

    assert zipped[zipped.index(FLEET) :] == plain[plain.index(FLEET) :] == expected[expected.index(FLEET) :]


def exposed_all(fleet: Fleet) -> Exposition:
    """New views of a fleet whose changes were seen by others already."""
    fleet.changed = set(fleet.sessions)
    fleet.judge.changed = set(fleet.judge.cases)
    return exposed(fleet)


# -- who is shown


def crowd(limit: int, **statuses: str) -> Fleet:
    """Sessions by name, each in its status, with room for `limit`."""
    fleet = make_fleet(metrics={"max_sessions": limit})
    for name, status in statuses.items():
        live((W, 0), (status, 1), key=("default", name), fleet=fleet)
    return fleet


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        (9, {"w1", "w2", "x1", "x2", "f1", "f2"}),
        (6, {"w1", "w2", "x1", "x2", "f1", "f2"}),
        (4, {"w1", "w2", "f1", "f2"}),
        (2, {"f1", "f2"}),
        (1, {"f1", "f2"}),
        (0, set()),
    ],
)
def test_stopped_drop_first_then_working_and_up_to_twice_as_many_in_an_episode_stay(
    limit: int, expected: set[str]
) -> None:
    """Beyond the limit they are counted only."""
    exposition = exposed(crowd(limit, x1=X, w1=W, f1=F, x2=X, w2=W, f2=F))

    assert shown(exposition) == expected
    text = scrape(exposition, 0)
    assert next(s.value for s in samples(text) if s.name == "wawp_sessions_dropped") == 6 - len(expected)
    assert sum(values(text, "wawp_sessions", "status").values()) == 6


def test_no_more_than_twice_the_limit_are_shown_whatever_they_are_in() -> None:
    """Whoever holds a key can name as many sessions in trouble as they like; a scrape must stay readable."""
    fleet = crowd(3, **{f"f{number}": F for number in range(20)}, w1=W)
    exposition = exposed(fleet)

    first = shown(exposition)

    live((F, 5), key=("default", "late"), fleet=fleet)
    text = scrape(exposition, 10)

    assert len(first) == 6
    assert shown(exposition, 10) == first  # a flood of new names displaces nobody
    assert next(s.value for s in samples(text) if s.name == "wawp_sessions_dropped") == 16
    assert values(text, "wawp_sessions", "status")["FAILED"] == 21


def test_one_in_an_episode_gets_the_room_of_another_that_is_back() -> None:
    """The limit turns sessions away only while it is reached."""
    fleet = crowd(1, f1=F, f2=F, f3=F)
    exposition = exposed(fleet)
    first, second = sorted(shown(exposition))
    (hidden,) = {"f1", "f2", "f3"} - {first, second}

    live((W, 10), key=("default", first), fleet=fleet)

    assert shown(exposition) == {second, hidden}


def test_one_stopped_drops_where_one_is_too_many() -> None:
    """Which of them is of no matter."""
    assert len(shown(exposed(crowd(5, x1=X, w1=W, f1=F, x2=X, w2=W, f2=F))) & {"x1", "x2"}) == 1


def test_trouble_takes_the_place_of_the_untroubled() -> None:
    """And gives it back when it is over."""
    fleet = crowd(2, w1=W, w2=W, w3=W)
    exposition = exposed(fleet)
    (hidden,) = {"w1", "w2", "w3"} - shown(exposition)

    live((F, 10), key=("default", hidden), fleet=fleet)

    assert hidden in shown(exposition)
    assert len(shown(exposition)) == 2


def test_a_deletion_makes_room() -> None:
    """For one that was dropped."""
    fleet = crowd(2, w1=W, w2=W, x1=X)
    exposition = exposed(fleet)
    assert shown(exposition) == {"w1", "w2"}

    fleet.forget(("default", "w1"), ms(10), clock(10))

    assert shown(exposition) == {"w2", "x1"}


def test_a_new_limit_holds_at_the_next_scrape() -> None:
    """Up and down."""
    fleet = crowd(4, w1=W, w2=W, x1=X, f1=F)
    exposition = exposed(fleet)
    assert len(shown(exposition)) == 4

    sizes = []
    for limit in (2, 1, 3, 9):
        fleet.reconfigure(Rules(config(metrics={"max_sessions": limit})), ms(10), clock(10))
        sizes.append(len(shown(exposition)))

    assert sizes == [2, 1, 3, 4]


RANKS = {W: "working", X: "stopped", F: "troubled", S: "troubled"}


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    limit=st.integers(0, 5),
    moves=st.lists(
        st.tuples(st.sampled_from("abcdefg"), st.sampled_from([W, X, F, S, "deleted", "scrape"])), max_size=25
    ),
)
def test_whatever_happens_the_right_ones_are_shown(limit: int, moves: list[tuple[str, str]]) -> None:
    """The troubled up to twice the limit; then WORKING, then STOPPED while there is room; the rest is counted."""
    fleet = crowd(limit)
    exposition = exposed(fleet)
    for at, (name, move) in enumerate(moves, 1):
        if move == "deleted":
            fleet.forget(("default", name), ms(at), clock(at))
        elif move == "scrape":
            scrape(exposition, at)
        else:
            live((move, at + 0.5), key=("default", name), fleet=fleet)

    ours = shown(exposition, 60)
    ranks = {name: RANKS[session.state.status] for (_, name), session in fleet.sessions.items()}
    hidden = {rank for name, rank in ranks.items() if name not in ours}
    troubled = sum(rank == "troubled" for rank in ranks.values())
    assert sum(ranks[name] == "troubled" for name in ours) == min(troubled, 2 * limit)
    assert len(ours) == min(len(ranks), max(limit, min(troubled, 2 * limit)))
    assert "working" not in hidden or all(ranks[name] != "stopped" for name in ours)
    assert exposition.shelf.dropped == len(ranks) - len(ours)


def test_troubled_mode_shows_only_the_troubled_and_those_just_over_it() -> None:
    """For an hour; the fleet's counts hold all, and nothing counts as dropped."""
    fleet = make_fleet(metrics={"sessions": "troubled"})
    for name, story in {"w": [(W, 0)], "x": [(X, 0)], "f": [(F, 0)], "over": [(F, 0), (W, 10)]}.items():
        live(*story, key=("default", name), fleet=fleet)
    exposition = exposed(fleet)

    assert shown(exposition, 20) == {"f", "over"}
    fleet.advance(ms(10 + HOUR), clock(10 + HOUR))
    assert shown(exposition, 10 + HOUR) == {"f"}
    text = scrape(exposition, 10 + HOUR)
    assert sum(values(text, "wawp_sessions", "status").values()) == 4
    assert b"\nwawp_sessions_dropped 0\n" in text


def test_session_histograms_can_be_switched_off() -> None:
    """The family is announced and empty, the fleet's has its counts."""
    text = scrape(exposed(live((S, 0), (W, 5), metrics={"session_histograms": False})), 10)

    assert b"wawp_session_status_duration_seconds_bucket" not in text
    assert b'wawp_status_duration_seconds_count{source="default",engine="GOWS",status="STARTING"} 1\n' in text


# -- deletion


def whose(text: bytes) -> set[tuple[str, str]]:
    """(metric, session) of each sample of a session."""
    return {(s.name, s.labels["session"]) for s in samples(text) if "session" in s.labels}


def test_a_deletion_takes_all_series_in_one_scrape() -> None:
    """Not one line is left of it, and nobody else's is touched."""
    fleet = crowd(10, a=W, b=F)
    exposition = exposed(fleet)
    before = whose(scrape(exposition, 5))

    fleet.forget(("default", "a"), ms(10), clock(10))

    after = whose(scrape(exposition, 10))
    assert after == {(metric, session) for metric, session in before if session == "b"}


def test_a_session_that_comes_back_has_nothing_of_its_former_life() -> None:
    """Its counters begin at 0 again, which Prometheus takes for a restart."""
    fleet = live((S, 0), (W, 5), (F, 6), (W, 7))
    exposition = exposed(fleet)
    scrape(exposition, 8)
    fleet.forget(KEY, ms(10), clock(10))

    live((S, 20), fleet=fleet)

    text = scrape(exposition, 25)
    assert values(text, "wawp_session_transitions_total", "to") == dict.fromkeys(list(Status)[:7], 0) | {S: 1}
    assert sum(values(text, "wawp_session_status_seconds_total", "status").values()) == 5


def large_fleet() -> Fleet:
    """More sessions than one slice of a scrape holds."""
    fleet = make_fleet()
    for n in range(1100):
        live((W, 0), key=("default", f"s{n}"), fleet=fleet)
    return fleet


def test_a_change_in_the_middle_of_a_scrape_does_not_tear_it() -> None:
    """It is sent slowly while webhooks go on, and shows each session whole, as it was at the beginning."""
    fleet = large_fleet()
    exposition = exposed(fleet)
    expected = scrape(exposition, 10)

    under_way = [(exposition.scrape(False, False, ms(10), clock(10)), taken) for taken in (0, 1, 5, 20)]
    begun = [[next(pieces) for _ in range(taken)] for pieces, taken in under_way]
    for n in range(0, 1100, 100):
        fleet.forget(("default", f"s{n}"), ms(11), clock(11))
        live((F, 11), key=("default", f"s{n + 1}"), fleet=fleet)
    scrape(exposition, 12)
    ended = [b"".join([*first, *rest]) for first, (rest, _) in zip(begun, under_way, strict=True)]

    def ours(text: bytes) -> list[bytes]:
        lines = text[text.index(SESSIONS) :].splitlines()
        # The newest word on a sign of life is true at any time.
        return [line for line in lines if not line.startswith(b"wawp_session_last_event")]

    assert all(ours(text) == ours(expected) for text in ended)


def test_the_clock_is_that_of_the_seconds_in_the_same_scrape() -> None:
    """Whatever the time is by then: an uptime is the one divided by the other."""
    (shown,) = re.findall(rb"^wawp_exporter_time_seconds (.*)$", scrape(exposed(large_fleet()), 10), re.MULTILINE)

    assert float(shown) == ms(10) / 1000


def test_a_scrape_gives_others_their_turn() -> None:
    """A piece holds one family of some of the sessions."""
    pieces = list(exposed(large_fleet()).scrape(False, False, ms(10), clock(10)))

    whole = [piece for piece in pieces if piece.count(b"wawp_session_maintenance{") == 1100]
    parts = [piece for piece in pieces if b"wawp_session_maintenance{" in piece]
    assert (whole, len(parts)) == ([], 2)


# -- counters


STEPS = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.sampled_from([*Status, "READY", "deleted", "restarted", "engine", "late", "message", "reload"]),
        st.integers(0, 4000).map(lambda eighths: eighths / 8),
    ),
    min_size=1,
    max_size=12,
)


def counters(text: bytes) -> dict[str, float]:
    """Every counter and histogram of sessions and the fleet: series → value."""
    text = text[text.index(FLEET) :]
    lines = (line.rpartition(" ") for line in text.decode().splitlines() if not line.startswith("#"))
    kinds = ("_total", "_count", "_sum", "_bucket")
    return {series: float(value) for series, _, value in lines if series.partition("{")[0].endswith(kinds)}


def move(fleet: Fleet, key: Key, what: str, at: float) -> None:
    """One thing that may happen to a session."""
    now, mono = ms(at), clock(at)
    session = fleet.sessions.get(key)
    if what == "deleted":
        fleet.forget(key, now, mono)
    elif what == "message":
        fleet.touch(key, now, mono)
    elif what == "reload":
        fleet.reconfigure(fleet.rules, now, mono)
    elif what == "restarted" and session:
        fleet.correct(key, session.state, now, mono)
    elif what == "engine" and session:
        apply(fleet, event(session.state.status, at, key=key, engine="NOWEB"))
    elif what == "late":
        apply(fleet, event(F, at - 100, key=key, received=at))
    elif what in {*Status, "READY"}:
        apply(fleet, event(what, at, key=key))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(STEPS)
def test_counters_never_fall_and_seconds_sum_to_the_time_observed(steps: list[tuple[str, str, float]]) -> None:
    """Of the fleet whatever happens, of a session until it is deleted; each session was in one status all the time."""
    fleet = make_fleet()
    exposition = exposed(fleet)
    at, before = 0.0, counters(scrape(exposition, 0))
    seen: dict[str, float] = {}
    for name, what, pause in steps:
        at += pause
        move(fleet, ("default", name), what, at)
        seen = {n: seen.get(n, at) for _, n in fleet.sessions}
        if what == "deleted":
            before = {series: value for series, value in before.items() if f'session="{name}"' not in series}

        after = counters(scrape(exposition, at))

        assert {series for series, value in before.items() if after.get(series, -1.0) < value} == set()
        before = after
        for n, start in seen.items():
            mine = f'wawp_session_status_seconds_total{{source="default",session="{n}"'
            total = sum(value for series, value in after.items() if series.startswith(mine))
            assert total == pytest.approx(at - start, abs=0.01)


def test_seconds_grow_up_to_the_instant_of_the_scrape() -> None:
    """Without any event in between."""
    exposition = exposed(live((S, 0), (W, 10)))

    grown = [
        values(scrape(exposition, at), "wawp_session_status_seconds_total", "status")[W] for at in (10, 10.25, 100)
    ]

    assert grown == [0, 0.25, 90]


def test_the_fleet_sums_its_sessions() -> None:
    """Statuses, transitions and seconds by engine."""
    fleet = make_fleet()
    for step in ((S, 0), (W, 5), (F, 20)):
        for n in range(5):
            live(step, key=("default", f"s{n}"), fleet=fleet)
    found = list(samples(scrape(exposed(fleet), 100)))

    def total(name: str) -> float:
        return sum(s.value for s in found if s.name == name)

    for name in ("session_status_seconds", "status_seconds", "slo_seconds"):
        assert total(f"wawp_{name}_total") == 500
    assert total("wawp_session_transitions_total") == total("wawp_transitions_total") == 15
    assert total("wawp_session_status") == total("wawp_sessions") == 5
