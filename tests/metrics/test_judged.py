"""What the judge says, as metrics."""

from collections.abc import Sequence

from tests.builders import KEY, apply, clock, event, live, make_fleet, ms
from tests.metrics.test_exposition import FORMATS, exposed, samples, scrape
from wawp_exporter.metrics.exposition import Exposition
from wawp_exporter.model.fleet import Fleet
from wawp_exporter.model.outage import EVERYWHERE
from wawp_exporter.model.reasons import REASONS
from wawp_exporter.model.rules import Key

W, D, F, Q, S = "WORKING", "DISCONNECTED", "FAILED", "SCAN_QR_CODE", "STARTING"
RULE = {"session": "*", "owner": "ana", "tier": "gold"}
TRIAL = {"wawp_session_problem_since_timestamp_seconds", "wawp_outage_since_timestamp_seconds", "wawp_outage_sessions",
         "wawp_outage_step", "wawp_source_synced", "wawp_session_never_worked"}  # fmt: skip


def said(exposition: Exposition, at: float, *, is_openmetrics: bool = False) -> dict[tuple[str, ...], float]:
    """Metric and label values → value, of all that is sparse, `at` seconds after T0; times are seconds after T0."""
    exposition.fleet.advance(ms(at), clock(at))
    text = scrape(exposition, at, is_openmetrics=is_openmetrics)
    return {
        (sample.name.removeprefix("wawp_"), *sample.labels.values()): round(sample.value - ms(0) / 1000)
        if "timestamp" in sample.name
        else sample.value
        for sample in samples(text, is_openmetrics)
        if sample.name in TRIAL
    }


def many(count: int, source: str = "default") -> list[Key]:
    """That many sessions."""
    return [(source, f"s{number}") for number in range(count)]


def all_at(fleet: Fleet, keys: Sequence[Key], status: str, at: float) -> None:
    """All of them enter a status."""
    for key in keys:
        apply(fleet, event(status, at, key=key))


@FORMATS
def test_a_problem_is_a_series_with_the_labels_of_the_contract(is_openmetrics: bool) -> None:
    """The value is when it began; it vanishes when it ends."""
    fleet = live((W, 0), (D, 100), sessions=[RULE], groups={"sales": ["default/sales-uk"]})
    exposition = exposed(fleet)
    synced = {("source_synced", "default"): 1.0}

    assert said(exposition, 104, is_openmetrics=is_openmetrics) == synced
    assert said(exposition, 105, is_openmetrics=is_openmetrics) == synced | {
        ("session_problem_since_timestamp_seconds", *KEY, "GOWS", "sales", "ana", "gold", "disconnected", ""): 100
    }
    apply(fleet, event(W, 110))
    assert said(exposition, 170, is_openmetrics=is_openmetrics) == synced


def test_names_are_escaped() -> None:
    """A name is whatever the gateway says."""
    fleet = live((W, 0), (Q, 100), key=("default", 'a"\\\n'), sessions=[{"owner": 'b"\\\n'}])

    (key,) = [key for key in said(exposed(fleet), 101) if key[0].startswith("session")]
    assert key[1:] == ("default", 'a"\\\n', "GOWS", "", 'b"\\\n', "", "login", "")


def test_a_session_that_waits_for_its_first_login_is_named() -> None:
    """Until it is WORKING, also through FAILED; one that has worked before is not."""
    fleet, old = make_fleet(), ("default", "old")
    for key, *history in (((old), (W, 0), (Q, 10)), (KEY, (Q, 10), (F, 170))):
        for status, at in history:
            apply(fleet, event(status, at, key=key))
    exposition, never = exposed(fleet), ("session_never_worked", *KEY)

    assert [key for key in said(exposition, 200) if key[0] == never[0]] == [never]
    apply(fleet, event(W, 210))
    assert never not in said(exposition, 211)
    apply(fleet, event(Q, 300))
    assert never not in said(exposition, 301)


def test_an_outage_is_a_few_series_and_its_sessions_none() -> None:
    """Begin, sessions that are lost, and the steps of its largest size."""
    fleet, keys = make_fleet(), many(12)
    all_at(fleet, keys, W, 0)
    exposition = exposed(fleet)
    all_at(fleet, keys, D, 100)

    scope = ("default", "GOWS", "disconnect")
    expected = {
        ("source_synced", "default"): 1.0,
        ("outage_since_timestamp_seconds", *scope): 100,
        ("outage_sessions", *scope): 12,
        ("outage_step", *scope, "3"): 1,
        ("outage_step", *scope, "10"): 1,
    }
    assert said(exposition, 104) == {("source_synced", "default"): 1.0}
    assert said(exposition, 110) == expected
    all_at(fleet, keys[:8], W, 120)
    assert said(exposition, 181) == expected | {("outage_sessions", *scope): 4}


def test_nothing_is_said_of_a_source_that_is_not_synced() -> None:
    """A replica that starts, or is behind, would resolve what another one says."""
    sources = {name: {} for name in "abc"}
    fleet = make_fleet(sources=sources)
    exposition = exposed(fleet)
    for source in sources:
        all_at(fleet, many(4, source), W, 0)
    all_at(fleet, many(4, "a"), D, 100)
    all_at(fleet, many(1, "b"), D, 100)
    exposition.judged.synced = lambda source: source == "b"

    assert {key[:2] for key in said(exposition, 120)} == {
        ("session_problem_since_timestamp_seconds", "b"),
        ("source_synced", "b"),
    }
    exposition.judged.synced = lambda source: source == "a"
    assert {key[:2] for key in said(exposition, 120)} == {
        ("outage_since_timestamp_seconds", "a"),
        ("outage_sessions", "a"),
        ("outage_step", "a"),
        ("source_synced", "a"),
    }


def test_an_outage_of_several_sources_is_said_where_all_are_synced() -> None:
    """It has no source of its own."""
    sources = {name: {} for name in "abc"}
    fleet = make_fleet(sources=sources)
    exposition = exposed(fleet)
    for status, at in ((W, 0), (D, 100)):
        for source in sources:
            all_at(fleet, many(2, source), status, at)
    fleet.advance(ms(120), clock(120))
    assert [outage.name[1:] for outage in fleet.judge.exported()] == [EVERYWHERE]

    assert ("outage_sessions", "", "", "disconnect") in said(exposition, 120)
    exposition.judged.synced = lambda source: source != "c"
    assert {key[0] for key in said(exposition, 120)} == {"source_synced"}


def test_losses_are_counted_once_from_0() -> None:
    """Each reason is there before the first loss, and each loss is counted when it begins to count."""
    fleet = live((W, 0))
    exposition = exposed(fleet)

    def losses(at: float) -> dict[str, float]:
        fleet.advance(ms(at), clock(at))
        found = [sample for sample in samples(scrape(exposition, at)) if sample.name == "wawp_losses_total"]
        assert {(sample.labels["source"], sample.labels["engine"]) for sample in found} == {("default", "GOWS")}
        return {sample.labels["reason"]: sample.value for sample in found}

    assert losses(50) == dict.fromkeys(REASONS, 0)
    apply(fleet, event(D, 100))
    apply(fleet, event(S, 101))
    assert losses(101) == losses(200) == dict.fromkeys(REASONS, 0) | {"": 1}


def test_of_too_many_those_whose_trouble_began_first_are_said() -> None:
    """Twice `metrics.max_sessions`; the others are counted only."""
    fleet, keys = make_fleet(metrics={"max_sessions": 1}, thresholds={"starting": "0s"}), many(4)
    for number, key in enumerate(reversed(keys)):
        apply(fleet, event(Q, number * 1000, key=key))

    shown = said(exposed(fleet), 5000)
    assert {key[2] for key in shown if key[0].startswith("session_problem") and key[7] == "login"} == {"s3", "s2"}
    assert {key[2] for key in shown if key[0] == "session_never_worked"} == {"s3", "s2"}


def test_problems_are_said_in_troubled_mode_too() -> None:
    """A restricted session has its problem in every mode, and new metadata with the next scrape."""
    fleet = live((W, 0), (D, 100), metrics={"sessions": "troubled"})
    exposition = exposed(fleet)

    assert ("session_problem_since_timestamp_seconds", *KEY, "GOWS", "", "", "", "disconnected", "") in said(
        exposition, 110
    )
    fleet.reconfigure(make_fleet(sessions=[RULE]).rules, ms(111), clock(111))
    assert ("session_problem_since_timestamp_seconds", *KEY, "GOWS", "", "ana", "gold", "disconnected", "") in said(
        exposition, 112
    )
