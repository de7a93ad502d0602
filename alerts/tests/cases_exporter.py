"""Cases for exporter.rules.yml: whether the numbers can be trusted."""

from __future__ import annotations

from typing import Any

import series as s
from cases import case, counted, firing, group, reads, silent

Group = dict[str, Any]
JOB = "wawp-exporter"


def up(samples: str, instance: str = "a:1", job: str = JOB) -> s.Series:
    return s.one("up", samples, job=job, instance=instance)


def own(metric: str, samples: str, instance: str = "a:1", **labels: str) -> s.Series:
    return s.one(metric, samples, job=JOB, instance=instance, **labels)


@case("exporter", "WawpExporterDown")
def an_exporter_that_does_not_answer_for_two_minutes_is_down() -> Group:
    return group(
        60,
        [up("1 1 0+0x5 1+0x5"), up("1+0x20", job="other")],
        [
            *silent("WawpExporterDown", 120, 180),
            *reads("exporter-down", 240),
            *firing("WawpExporterDown", 420),
            *silent("WawpExporterDown", 480),
        ],
    )


@case("exporter", "WawpExporterDown")
def an_exporter_that_nobody_scrapes_any_more_is_down_too() -> Group:
    return group(
        60,
        [up("1 1 stale"), up("1+0x20", job="other")],
        [*silent("WawpExporterDown", 180), *firing("WawpExporterDown", 240, job=JOB)],
    )


@case("exporter", "WawpExporterDown")
def a_replica_less_is_not_down_while_another_answers() -> Group:
    return group(60, [up("1 1 0+0x9"), up("1+0x20", "b:1")], silent("WawpExporterDown", 240, 600))


@case("exporter", "WawpExporterDown")
def a_shard_without_replicas_is_down_though_the_others_answer() -> Group:
    sessions = "wawp_sessions"
    rows = [
        up("1+0x80", "a:1"),
        up("1 1 0+0x9 1+0x60", "b:1"),
        up("1+0x3 0+0x70", "c:1"),
        own(sessions, "1+0x80", "a:1", shard="0"),
        own(sessions, "0 0 stale _x9 0+0x60", "b:1", shard="1"),
        own(sessions, "1+0x3 stale", "c:1", shard="0"),
    ]
    return group(
        60,
        rows,
        [
            *silent("WawpExporterDown", 180),
            *reads("shard-down", 240),
            *firing("WawpExporterDown", 660, scope="shard"),
            *silent("WawpExporterDown", 780),
        ],
    )


@case("exporter", "WawpExporterDown")
def fewer_shards_than_before_are_a_decision() -> Group:
    """Its targets are gone, not down; another job that is down is none of ours."""
    rows = [
        up("1+0x80", "a:1"),
        up("1 1 stale", "b:1"),
        up("0+0x80", "z:1", job="other"),
        own("wawp_sessions", "1+0x80", "a:1", shard="0"),
        own("wawp_sessions", "1 1 stale", "b:1", shard="1"),
    ]
    return group(60, rows, silent("WawpExporterDown", 240, 600))


@case("exporter", "WawpExporterDown")
def an_unsharded_exporter_has_no_shard_to_miss() -> Group:
    rows = [up("1+0x20", "d:1"), up("1 0+0x20", "e:1"), own("wawp_sessions", "1 stale", "e:1")]
    return group(60, rows, silent("WawpExporterDown", 240, 600))


@case("exporter", "WawpExporterDown")
def a_shard_is_forgotten_an_hour_after_it_was_seen() -> Group:
    rows = [
        up("1+0x80", "a:1"),
        up("1 0+0x80", "b:1"),
        own("wawp_sessions", "1+0x80", "a:1", shard="0"),
        own("wawp_sessions", "1 stale", "b:1", shard="1"),
    ]
    return group(60, rows, [*firing("WawpExporterDown", 3540, shard="1"), *silent("WawpExporterDown", 3660)])


@case("exporter", "WawpExporterDown")
def shards_of_another_exporter_job_are_not_ours_to_miss() -> Group:
    """Two installations, told apart by `job`: a shard 1 that is gone there is not hidden by the shard 1 here."""
    rows = [
        up("1+0x20", "a:1"),
        up("1 0+0x20", "b:1"),
        up("1 1+0x20", "c:1"),
        s.one("wawp_sessions", "1+0x20", job="other", instance="x:1", shard="1"),
        own("wawp_sessions", "1 stale", "b:1", shard="1"),
        s.one("wawp_sessions", "1 stale", job="third", instance="y:1", shard="7"),
    ]
    return group(60, rows, [*firing("WawpExporterDown", 240, shard="1")])


@case("exporter", "WawpExporterRestarting", "WawpLogAppendErrors", "WawpClockSkew", "WawpUnknownStatus")
def what_each_replica_does_once_is_told_once() -> Group:
    """Two replicas that restarted twice are no loop of four; clocks 6 s off do not add up."""
    rows = [
        own("process_start_time_seconds", "1 70 130+0x9", "a:1"),
        own("process_start_time_seconds", "1 70 130+0x9", "b:1"),
        own("wawp_exporter_time_seconds", "6+60x9", "a:1"),
        own("wawp_exporter_time_seconds", "6+60x9", "b:1"),
        own("wawp_exporter_log_append_errors_total", "0 1+0x9", "a:1"),
        own("wawp_exporter_log_append_errors_total", "0+0x9", "b:1"),
        own("wawp_exporter_unknown_statuses_total", "0 1+0x9", "a:1", source="one"),
        own("wawp_exporter_unknown_statuses_total", "0+0x9", "b:1", source="one"),
        own("wawp_sessions", "1+0x9", "a:1", source="two", engine="GOWS", status="UNKNOWN"),
        own("wawp_sessions", "0+0x9", "b:1", source="two", engine="GOWS", status="UNKNOWN"),
    ]
    return group(
        60,
        rows,
        [
            *silent("WawpExporterRestarting", 300),
            *silent("WawpClockSkew", 300),
            *firing("WawpLogAppendErrors", 120),
            *counted("WawpUnknownStatus", {(("source", n),): 1 for n in ("one", "two")}, 480, by="source"),
        ],
    )


@case("exporter", "WawpSessionLimitReached")
def one_dropped_session_is_enough_and_one_replica_may_not_know() -> Group:
    rows = [own("wawp_sessions_dropped", "1+0x9", "a:1"), own("wawp_sessions_dropped", "0+0x9", "b:1")]
    return group(60, rows, firing("WawpSessionLimitReached", 60))


@case("exporter", "WawpGatewayApiDown")
def two_replicas_without_the_api_are_one_alert() -> Group:
    rows = [own("wawp_exporter_api_up", "1 0+0x9", i, source="default") for i in ("a:1", "b:1")]
    return group(60, rows, [*silent("WawpGatewayApiDown", 120), *firing("WawpGatewayApiDown", 180)])


@case("exporter", "WawpLogDiskFilling")
def the_pace_is_that_of_an_hour_not_of_half_of_it() -> Group:
    """A checkpoint that takes 30 GB of 60 in the first half and nothing in the second is no trend of the second."""
    rows = [own("wawp_exporter_log_free_bytes", "60e9-1e9x29 30e9+0x40")]
    return group(
        60, rows, [*firing("WawpLogDiskFilling", 4560, severity="warning"), *silent("WawpLogDiskFilling", 5940)]
    )


@case("exporter", "WawpExporterRestarting")
def three_restarts_within_half_an_hour_are_a_loop() -> Group:
    """A second target that has not restarted, and another job, change nothing."""
    rows = [
        own("process_start_time_seconds", "1 1 70 130 130 250+0x40"),
        own("process_start_time_seconds", "1+0x50", "b:1"),
        s.one("process_start_time_seconds", "1+60x50", job="other", instance="c:1"),
    ]
    return group(
        60,
        rows,
        [
            *silent("WawpExporterRestarting", 240),
            *reads("restarting", 300),
            *firing("WawpExporterRestarting", 1860),
            *silent("WawpExporterRestarting", 2100),
        ],
    )


@case("exporter", "WawpLogAppendErrors")
def one_failed_append_is_reported_for_five_minutes() -> Group:
    rows = [
        own("wawp_exporter_log_append_errors_total", "0 0 1+0x20"),
        own("wawp_exporter_log_append_errors_total", "7+0x20", "b:1"),
    ]
    return group(
        60,
        rows,
        [
            *silent("WawpLogAppendErrors", 60),
            *reads("append-errors", 120),
            *firing("WawpLogAppendErrors", 360),
            *silent("WawpLogAppendErrors", 600),
        ],
    )


@case("exporter", "WawpLogDiskFilling")
def a_disk_that_is_full_within_a_day_at_the_pace_of_the_last_hour_is_reported() -> Group:
    """Also not before it has lasted for ten minutes: a checkpoint of the database is no trend."""
    rows = [own("wawp_exporter_log_free_bytes", "90e9+0x9 90e9-200e6x39 82e9+0x90")]
    slow = [own("wawp_exporter_log_free_bytes", "900e9+0x139", "b:1")]
    return group(
        60,
        [*rows, *slow],
        [
            *silent("WawpLogDiskFilling", 600, 1080, 4140),
            *firing("WawpLogDiskFilling", 4800, severity="warning"),
            *silent("WawpLogDiskFilling", 7200),
        ],
    )


@case("exporter", "WawpLogDiskFilling")
def a_pace_that_lasts_longer_than_a_day_is_not() -> Group:
    """90 GB that shrink by 65 MB a minute last 23 hours; 95 GB by 60 MB, 26 hours."""
    rows = [
        own("wawp_exporter_log_free_bytes", "90e9-65e6x90"),
        own("wawp_exporter_log_free_bytes", "90e9-65e6x90", "b:1"),
    ]
    fine = [s.one("wawp_exporter_log_free_bytes", "95e9-60e6x90", job="fine", instance="a:1")]
    return group(60, [*rows, *fine], [*silent("WawpLogDiskFilling", 4140), *reads("disk-filling", 4800)])


@case("exporter", "WawpLogDiskFilling")
def a_new_installation_is_not_reported_by_its_first_hour() -> Group:
    """71 GB are free, and the first minutes write much once: no hour has been seen whole."""
    rows = [own("wawp_exporter_log_free_bytes", "71e9-100e6x20 69e9+0x130")]
    return group(60, rows, silent("WawpLogDiskFilling", 300, 900, 1800, 3600, 4200, 4800, 9000))


@case("exporter", "WawpLogDiskFilling")
def an_hour_with_a_gap_is_no_hour() -> Group:
    """Nobody saw what was written during half an hour of it; the next whole hour counts."""
    rows = [own("wawp_exporter_log_free_bytes", "90e9-200e6x20 _x30 84e9-200e6x100")]
    return group(
        60, rows, [*silent("WawpLogDiskFilling", 4800, 6600), *firing("WawpLogDiskFilling", 7800, severity="warning")]
    )


@case("exporter", "WawpLogDiskFilling")
def a_disk_that_is_free_for_the_most_part_is_not_reported() -> Group:
    """A large file that is copied in an hour fills no disk; more than half of it must be used."""
    free = "90e9-200e6x150"
    rows = [own("wawp_exporter_log_free_bytes", free), own("wawp_exporter_log_disk_bytes", "100e9+0x150")]
    other = [
        s.one("wawp_exporter_log_free_bytes", free, job="half", instance="a:1"),
        s.one("wawp_exporter_log_disk_bytes", "140e9+0x150", job="half", instance="a:1"),
    ]
    return group(
        60,
        [*rows, *other],
        [
            *silent("WawpLogDiskFilling", 4800, 6000),
            *firing("WawpLogDiskFilling", 7200, job="half", severity="warning"),
        ],
    )


@case("exporter", "WawpLogDiskFilling")
def less_than_256_mib_are_critical() -> Group:
    rows = [
        own("wawp_exporter_log_free_bytes", "268435456 268435456 268435455 268435455 300e6+0x9"),
        own("wawp_exporter_log_free_bytes", "9e9+0x12", "b:1"),
    ]
    return group(
        60,
        rows,
        [
            *silent("WawpLogDiskFilling", 60),
            *reads("disk-full", 120),
            *firing("WawpLogDiskFilling", 300, severity="critical"),
            *silent("WawpLogDiskFilling", 360),
        ],
    )


@case("exporter", "WawpSessionLimitReached")
def sessions_without_series_are_reported_added_over_shards_not_replicas() -> Group:
    rows = [
        own("wawp_sessions_dropped", "0 2 2 0+0x9", "a:1", shard="0"),
        own("wawp_sessions_dropped", "0 2 2 0+0x9", "b:1", shard="0"),
        own("wawp_sessions_dropped", "0 3 3 0+0x9", "c:1", shard="1"),
    ]
    return group(
        60,
        rows,
        [
            *silent("WawpSessionLimitReached", 0),
            *reads("limit-reached", 60),
            *firing("WawpSessionLimitReached", 240),
            *silent("WawpSessionLimitReached", 300),
        ],
    )


@case("exporter", "WawpSessionLimitReached")
def names_over_the_limit_are_reported_once_whatever_the_number_of_replicas() -> Group:
    rows = [
        own("wawp_exporter_names_over_limit", "0 7 7 0+0x9", source="default"),
        own("wawp_exporter_names_over_limit", "0 7 7 0+0x9", "b:1", source="default"),
        own("wawp_exporter_names_over_limit", "0+0x9", "new:1", source="default"),
        own("wawp_exporter_names_over_limit", "0+0x9", source="other"),
    ]
    return group(
        60,
        rows,
        [
            *silent("WawpSessionLimitReached", 0),
            *reads("names-over", 60),
            *firing("WawpSessionLimitReached", 240),
            *silent("WawpSessionLimitReached", 300),
        ],
    )


@case("exporter", "WawpClockSkew")
def clocks_more_than_ten_seconds_apart_are_reported_in_either_direction() -> Group:
    """The samples at 0, 1, … minutes; a late evaluation is no skew."""
    rows = [
        own("wawp_exporter_time_seconds", "0 70 131 180 229 289 _ 420+60x9"),
        own("wawp_exporter_time_seconds", "0+60x20", "b:1"),
    ]
    return group(
        60,
        rows,
        [
            *silent("WawpClockSkew", 60),
            *reads("clock-skew", 120),
            *firing("WawpClockSkew", 240, 480),
            *silent("WawpClockSkew", 540),
        ],
    )


@case("exporter", "WawpClockSkew")
def a_gap_in_scraping_is_no_skew() -> Group:
    return group(60, [own("wawp_exporter_time_seconds", "0+60x3 _x4")], silent("WawpClockSkew", 180, 240, 360))


@case("exporter", "WawpClockSkew")
def events_from_the_future_are_reported_for_a_quarter_of_an_hour() -> Group:
    rows = [
        own("wawp_exporter_clock_skew_events_total", "0 0 1+0x40", source="default"),
        own("wawp_exporter_clock_skew_events_total", "3+0x40", "b:1", source="default"),
    ]
    return group(
        60,
        rows,
        [
            *silent("WawpClockSkew", 60),
            *reads("gateway-clock", 120),
            *firing("WawpClockSkew", 960),
            *silent("WawpClockSkew", 1200),
        ],
    )


@case("exporter", "WawpConfigReloadFailed")
def a_refused_configuration_is_reported_until_one_is_taken() -> Group:
    rows = [
        own("wawp_exporter_config_last_reload_successful", "1 0 0 1+0x9"),
        own("wawp_exporter_config_last_reload_successful", "1+0x12", "b:1"),
    ]
    return group(
        60,
        rows,
        [
            *silent("WawpConfigReloadFailed", 0),
            *reads("reload-failed", 60),
            *firing("WawpConfigReloadFailed", 240),
            *silent("WawpConfigReloadFailed", 300),
        ],
    )


@case("exporter", "WawpUnknownStatus")
def an_unknown_status_is_reported_for_a_quarter_of_an_hour() -> Group:
    rows = [
        own("wawp_exporter_unknown_statuses_total", "0 0 1+0x40", source="default"),
        own("wawp_exporter_unknown_statuses_total", "5+0x40", "b:1", source="default"),
        own("wawp_sessions", "0+0x40", source="default", engine="GOWS", status="UNKNOWN"),
        own("wawp_sessions", "9+0x40", source="default", engine="GOWS", status="FAILED"),
    ]
    return group(
        60,
        rows,
        [
            *silent("WawpUnknownStatus", 60),
            *reads("unknown-status", 120),
            *firing("WawpUnknownStatus", 960),
            *silent("WawpUnknownStatus", 1200),
        ],
    )


@case("exporter", "WawpUnknownStatus")
def a_session_that_stays_unknown_is_not_forgotten() -> Group:
    rows = [
        own("wawp_exporter_unknown_statuses_total", "0+0x40", source="default"),
        own("wawp_sessions", "0 1 1 0+0x9", "a:1", source="default", engine="GOWS", status="UNKNOWN", shard="0"),
        own("wawp_sessions", "0 1 1 0+0x9", "b:1", source="default", engine="GOWS", status="UNKNOWN", shard="0"),
        own("wawp_sessions", "0 0 1 0+0x9", "c:1", source="default", engine="WEBJS", status="UNKNOWN", shard="1"),
    ]
    return group(
        60,
        rows,
        [
            *silent("WawpUnknownStatus", 0),
            *firing("WawpUnknownStatus", 60, 120, 240, source="default"),
            *silent("WawpUnknownStatus", 300),
        ],
    )


@case("exporter", "WawpGatewayApiDown")
def an_api_that_no_replica_has_reached_for_two_minutes_is_down() -> Group:
    rows = [
        own("wawp_exporter_api_up", "1 0+0x5 1+0x5", source="default"),
        own("wawp_exporter_api_up", "0+0x9", "b:1", source="default"),
        own("wawp_exporter_api_up", "1+0x9", source="fine"),
        own("wawp_exporter_api_up", "0+0x9", "b:1", source="fine"),
    ]
    return group(
        60,
        rows,
        [
            *silent("WawpGatewayApiDown", 120),
            *reads("api-down", 180),
            *firing("WawpGatewayApiDown", 360),
            *silent("WawpGatewayApiDown", 420),
        ],
    )


@case("exporter", "WawpClockSkew")
def a_gateways_clock_that_is_behind_is_reported_as_the_exporter_says() -> Group:
    """One replica has had no webhook of it yet."""
    rows = [
        own("wawp_exporter_clock_behind_seconds", "0 95 95 0+0x9", source="default"),
        own("wawp_exporter_clock_behind_seconds", "0 90 0+0x9", "b:1", source="default"),
        own("wawp_exporter_clock_behind_seconds", "0+0x9", source="fine"),
    ]
    return group(
        60,
        rows,
        [
            *silent("WawpClockSkew", 0),
            *reads("clock-behind", 60),
            *firing("WawpClockSkew", 240, source="default"),
            *silent("WawpClockSkew", 300),
        ],
    )


@case("exporter", "WawpRestartsGivenUp")
def a_session_that_is_no_longer_restarted_is_reported_for_an_hour() -> Group:
    """Added up over replicas; restarts that were done or refused for another reason are none of it."""
    rows = [
        own("wawp_exporter_restarts_total", "0 0 1+0x90", source="default", result="given_up"),
        own("wawp_exporter_restarts_total", "3+0x90", "b:1", source="default", result="given_up"),
        *[own("wawp_exporter_restarts_total", "0+1x90", source="fine", result=r) for r in ("restarted", "failed")],
        own("wawp_exporter_restarts_total", "0+0x90", source="fine", result="given_up"),
    ]
    alert = "WawpRestartsGivenUp"
    return group(
        60,
        rows,
        [
            *silent(alert, 60),
            *reads("given-up", 120),
            *firing(alert, 3600, source="default"),
            *silent(alert, 3900),
        ],
    )


EMPTY = {(("job", JOB),): 1.0}


def fleet(samples: str, instance: str = "a:1", job: str = JOB, **labels: str) -> s.Series:
    who = {"source": "default", "engine": "GOWS", "status": "WORKING", "job": job, "instance": instance, **labels}
    return s.one("wawp_sessions", samples, **who)


@case("exporter", "WawpExporterEmpty")
def an_exporter_that_has_lost_all_its_sessions_is_empty() -> Group:
    """Whether their counts are 0 or gone; two minutes are for a start that reads its log."""
    short = [up("1+0x99", "b:1", "short"), fleet("1 1 0 0 1+0x90", "b:1", "short")]
    rows = [up("1+0x99"), fleet("3 3 0 0+0x90"), fleet("0+0x99", status="FAILED"), *short]
    return group(
        60,
        rows,
        [
            *silent("WawpExporterEmpty", 180),
            *reads("empty", 240),
            *firing("WawpExporterEmpty", 3600),
            *silent("WawpExporterEmpty", 3720),
        ],
    )


@case("exporter", "WawpExporterEmpty")
def an_exporter_without_series_of_sessions_is_empty_too() -> Group:
    """But not one that is down, nor a new one that never had any, nor one of which one shard still has sessions."""
    rows = [
        up("1+0x9"),
        fleet("3 3 stale"),
        up("1+0x9", "new:1", "new"),
        up("1 1 0+0x9", "down:1", "down"),
        fleet("3 3 stale", "down:1", "down"),
        *[up("1+0x9", i, "sharded") for i in ("s:1", "s:2")],
        fleet("3 3 0+0x9", "s:1", "sharded", shard="0"),
        fleet("1+0x9", "s:2", "sharded", shard="1"),
    ]
    return group(60, rows, [*silent("WawpExporterEmpty", 180), *firing("WawpExporterEmpty", 240, 540, job=JOB)])


@case("exporter", "WawpExporterEmpty")
def one_session_is_enough_to_be_missed() -> Group:
    """Of two replicas, one of which is down."""
    return group(
        60, [up("1+0x9"), up("0+0x9", "b:1"), fleet("1 1 0+0x9")], counted("WawpExporterEmpty", EMPTY, 300, by="job")
    )


@case("exporter", "WawpExporterEmpty")
def two_empty_replicas_are_one_alert() -> Group:
    rows = [up("1+0x9"), up("1+0x9", "b:1"), fleet("1 1 0+0x9")]
    return group(60, rows, counted("WawpExporterEmpty", EMPTY, 300, by="job"))


@case("exporter", "WawpExporterEmpty")
def one_session_is_enough_not_to_be_empty() -> Group:
    return group(60, [up("1+0x9"), fleet("1+0x9")], silent("WawpExporterEmpty", 300, 540))


@case("exporter", "WawpExporterEmpty")
def a_replica_that_has_read_nothing_yet_is_not_empty_beside_another() -> Group:
    rows = [up("1+0x9"), up("1 1 0+0x9", "b:1"), fleet("3+0x9"), fleet("3 3 0+0x9", "b:1")]
    return group(60, rows, silent("WawpExporterEmpty", 300, 540))


@case("exporter", "WawpExporterDown", "WawpExporterEmpty")
def each_installation_has_alerts_of_its_own_and_they_say_how_long() -> Group:
    """The alert about one shard is not taken for the one about all."""
    rows = [up("1 0+0x9"), up("1+0x9", "b:1"), own("wawp_sessions", "1 stale", "a:1", shard="1")]
    return group(60, rows, [*firing("WawpExporterDown", 180, scope="shard")])


@case("exporter", "WawpWatchdog")
def the_watchdog_always_barks() -> Group:
    return group(60, [], [*reads("watchdog", 0), *firing("WawpWatchdog", 600)])
