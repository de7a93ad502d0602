"""Cases for feed.rules.yml: the way from the gateway to the exporter."""

from __future__ import annotations

from typing import Any

import series as s
from cases import case, counted, firing, group, reads, silent, value

Group = dict[str, Any]


def rejected(samples: str, reason: str = "bad_signature", source: str = "default", instance: str = "a:1") -> s.Series:
    return s.one("wawp_exporter_webhooks_rejected_total", samples, source=source, reason=reason, instance=instance)


def accepted(samples: str, source: str = "default", instance: str = "a:1") -> s.Series:
    return s.one("wawp_exporter_last_accepted_timestamp_seconds", samples, source=source, instance=instance)


def started(samples: str, instance: str = "a:1", job: str = "wawp-exporter") -> s.Series:
    return s.one("process_start_time_seconds", samples, job=job, instance=instance)


@case("feed", "WawpWebhookFeedRejected")
def a_source_never_heard_is_given_five_minutes_from_the_start_of_the_exporter() -> Group:
    """The newest start counts, and of this job only."""
    rows = [rejected("0+1x20"), *[accepted("0+0x20", instance=i) for i in ("a:1", "b:1")]]
    rows += [started("120+0x20"), started("60+0x20", "b:1"), started("600+0x20", "c:1", "other")]
    return group(60, rows, [*silent("WawpWebhookFeedRejected", 240, 420), *firing("WawpWebhookFeedRejected", 480)])


@case("feed", "WawpWebhookFeedRejected")
def three_refusals_and_nothing_accepted_for_five_minutes_is_a_broken_feed() -> Group:
    """A secret rotated on one side only; it ends when something is accepted."""
    return group(
        60,
        [
            rejected("0 0 1 1 2 2+0x20"),
            rejected("0 0 0 0 0 0 1+0x20", "missing_signature"),
            rejected("0+0x25", "bad_token"),
            accepted("0 60+0x8 600+0x10"),
        ],
        [
            *silent("WawpWebhookFeedRejected", 300, 360),
            *reads("feed-rejected", 420),
            *firing("WawpWebhookFeedRejected", 540, 660),
            *silent("WawpWebhookFeedRejected", 720),
        ],
    )


@case("feed", "WawpWebhookFeedRejected")
def five_minutes_must_have_passed_since_the_last_accepted_one() -> Group:
    rows = [rejected("0+1x20", "bad_token"), accepted("0 60+0x20"), accepted("0+0x20", instance="b:1")]
    return group(60, rows, [*silent("WawpWebhookFeedRejected", 360), *firing("WawpWebhookFeedRejected", 420)])


@case("feed", "WawpWebhookFeedRejected")
def a_restart_of_the_exporter_does_not_put_a_broken_feed_off() -> Group:
    """What it accepted before is in Prometheus, for ten minutes. While it is down nothing is refused."""
    soon, late = ("0 60 60 stale _x4 0+0x20", "0 60 60 stale _x9 0+0x20")
    rows = [accepted(soon, "soon"), accepted(late, "late"), started("0 0 0 440+0x30")]
    rows += [rejected("0+9x30", source="soon"), rejected("0 9 18 _x10 0+9x20", source="late")]
    rows += [started("0+0x8 _x4 800+0x20", "b:1")]
    return group(
        60,
        rows,
        [
            *silent("WawpWebhookFeedRejected", 420),
            *firing("WawpWebhookFeedRejected", 480, source="soon"),
            *silent("WawpWebhookFeedRejected", 1020),
        ],
    )


@case("feed", "WawpWebhookFeedRejected")
def two_refusals_or_refusals_for_other_reasons_are_no_broken_feed() -> Group:
    rows = [
        started("0+0x20"),
        rejected("0 0 1 2+0x20"),
        accepted("0+0x20"),
        rejected("0+9x20", "malformed"),
        rejected("0+9x20", "invalid_event"),
    ]
    return group(60, rows, silent("WawpWebhookFeedRejected", 420, 600))


@case("feed", "WawpWebhookFeedRejected")
def refusals_are_added_over_replicas_and_forgotten_after_ten_minutes() -> Group:
    """A source that never had an event accepted."""
    rows = [
        started("0+0x20"),
        rejected("0 0 1 2+0x20"),
        rejected("0 0 1+0x20", instance="b:1"),
        accepted("0+0x20"),
        accepted("0+0x20", instance="b:1"),
    ]
    other = [rejected("0 0 9+0x20", source="fine"), accepted("0+60x20", source="fine")]
    return group(
        60,
        [*rows, *other],
        [*firing("WawpWebhookFeedRejected", 600, source="default"), *silent("WawpWebhookFeedRejected", 900)],
    )


@case("feed", "WawpWebhookForged")
def five_bad_signatures_while_genuine_webhooks_arrive_are_forged() -> Group:
    return group(
        60,
        [rejected("0 0 2 4 4 5+0x20"), accepted("0+60x20")],
        [
            *silent("WawpWebhookForged", 240),
            *reads("forged", 300),
            *firing("WawpWebhookForged", 600, 660),
            *silent("WawpWebhookForged", 900),
        ],
    )


@case("feed", "WawpWebhookForged")
def missing_signatures_and_tokens_are_scanners() -> Group:
    rows = [
        rejected("0+9x30", "missing_signature"),
        rejected("0+9x30", "bad_token"),
        rejected("0+0x30", "bad_signature"),
        accepted("0+60x30"),
    ]
    return group(60, rows, silent("WawpWebhookForged", 300, 660, 840))


@case("feed", "WawpWebhookForged")
def a_rotated_secret_is_no_forgery_neither_before_nor_after_it_is_mended() -> Group:
    """Refused from 240 s on, one stray before, until 900 s; forged from 1680 s, and elsewhere all the time."""
    rows = [
        rejected("0 1 1 1 1 10+9x9 91+0x13 92+2x20", source="rotated"),
        rejected("0+2x50", source="forged"),
        *[accepted("0+60x3 240+0x10 900+60x35", "rotated", i) for i in ("a:1", "b:1")],
        accepted("0+60x50", "forged"),
    ]
    return group(
        60,
        rows,
        [
            *firing("WawpWebhookForged", 240, 540, 720, 960, 1020, 1140, 1380, 1500, source="forged"),
            *firing("WawpWebhookFeedRejected", 600, 960, source="rotated"),
            *counted("WawpWebhookForged", {(("source", "rotated"),): 1, (("source", "forged"),): 1}, 1920, by="source"),
        ],
    )


@case("feed", "WawpWebhookForged")
def a_genuine_webhook_just_now_after_two_wrong_ones_shows_that_the_key_is_right() -> Group:
    """Just now is 50 s, and the wrong ones are between one and eleven minutes old."""
    wrong = {
        "48": ("0 0 0 0 2+0x30", 732), "50": ("0 0 0 0 2+0x30", 730), "one": ("0 0 0 0 1+0x30", 780),
        "old": ("0 2+0x30", 780), "new": ("0+0x12 9+0x20", 780),
    }  # fmt: skip
    rows = [
        row for name, (bad, at) in wrong.items() for row in (rejected(bad, source=name), accepted(f"{at}+0x30", name))
    ]
    rows += [
        accepted("780+0x30", "both"),
        *[rejected("0 0 0 0 1+0x30", source="both", instance=i) for i in ("a:1", "b:1")],
    ]
    record = "wawp:webhooks_genuine_after_forged:bool"
    return group(60, rows, value(f"count by (source) ({record})", 780, ('{source="48"}', 1), ('{source="both"}', 1)))


@case("feed", "WawpWebhookForged")
def a_genuine_webhook_four_minutes_ago_still_does() -> Group:
    rows = [rejected("0 2 2 2 2 2 3 5+0x9"), accepted("0+60x3 180+0x20")]
    return group(60, rows, [*silent("WawpWebhookForged", 360), *firing("WawpWebhookForged", 420)])


@case("feed", "WawpWebhookForged")
def forgeries_are_added_over_replicas_and_forgotten_after_ten_minutes() -> Group:
    rows = [
        rejected("0 0 2+0x30"),
        rejected("0 0 3+0x30", instance="b:1"),
        accepted("0+60x30"),
        accepted("0+0x30", instance="b:1"),
    ]
    return group(60, rows, [*firing("WawpWebhookForged", 180, 660), *silent("WawpWebhookForged", 900)])


def limit(seconds: float, source: str = "default", kind: str = "feed_silence", instance: str = "a:1") -> s.Series:
    return s.one("wawp_threshold_default_seconds", f"{seconds:g}+0x40", source=source, kind=kind, instance=instance)


@case("feed", "WawpWebhookFeedSilent")
def a_feed_silent_for_longer_than_its_limit_is_reported() -> Group:
    return group(
        60,
        [
            limit(300),
            limit(9, kind="failed"),
            limit(300, instance="b:1"),
            accepted("0 60+0x9 660+0x9"),
            accepted("0+0x40", instance="b:1"),
        ],
        [
            *silent("WawpWebhookFeedSilent", 360),
            *reads("feed-silent", 420),
            *firing("WawpWebhookFeedSilent", 600, 720),
            *silent("WawpWebhookFeedSilent", 780),
        ],
    )


@case("feed", "WawpWebhookFeedSilent")
def a_source_that_never_sent_anything_is_measured_from_the_start_of_the_exporter() -> Group:
    rows = [
        limit(300, "never"),
        limit(0, "off"),
        accepted("_x9 0+0x30", "never"),
        accepted("0+0x40", "off"),
        s.one("process_start_time_seconds", "500+0x40", job="wawp-exporter", instance="a:1"),
        s.one("process_start_time_seconds", "9+0x40", job="wawp-exporter", instance="b:1"),
        s.one("process_start_time_seconds", "900+0x40", job="other", instance="c:1"),
    ]
    return group(
        60, rows, [*silent("WawpWebhookFeedSilent", 600, 780), *firing("WawpWebhookFeedSilent", 840, source="never")]
    )


@case("feed", "WawpWebhookMissed")
def a_status_corrected_by_reconciliation_is_reported_for_a_quarter_of_an_hour() -> Group:
    rows = [
        s.one("wawp_exporter_reconcile_corrections_total", "0 0 1+0x40", source="default", instance="a:1"),
        s.one("wawp_exporter_reconcile_corrections_total", "0 0 1+0x40", source="default", instance="b:1"),
        s.one("wawp_exporter_reconcile_corrections_total", "4+0x40", source="other", instance="a:1"),
    ]
    return group(
        60,
        rows,
        [
            *silent("WawpWebhookMissed", 60),
            *reads("missed", 120),
            *firing("WawpWebhookMissed", 960),
            *silent("WawpWebhookMissed", 1200),
        ],
    )


@case("feed", "WawpWebhookFeedRejected", "WawpWebhookFeedSilent")
def the_newest_of_what_replicas_have_accepted_counts_and_they_do_not_add_up() -> Group:
    """Two replicas heard the last at 60 s, a third never anything; seconds are not added."""
    rows = [rejected("0 0 2 9+0x20"), limit(300), limit(300, instance="b:1"), limit(60, instance="old:1")]
    rows += [accepted("0 60+0x20", instance=i) for i in ("a:1", "b:1")] + [
        accepted("0+0x20", instance="c:1"),
        accepted("0 10+0x20", instance="d:1"),
    ]
    return group(
        60,
        rows,
        [
            *silent("WawpWebhookFeedRejected", 360),
            *firing("WawpWebhookFeedRejected", 420),
            *silent("WawpWebhookFeedSilent", 360),
            *firing("WawpWebhookFeedSilent", 420),
        ],
    )


@case("feed", "WawpWebhookFeedRejected")
def five_minutes_and_ten_seconds_are_more_than_five() -> Group:
    rows = [rejected("0+1x60"), accepted("0 10+0x60")]
    return group(10, rows, [*silent("WawpWebhookFeedRejected", 310), *firing("WawpWebhookFeedRejected", 320)])


@case("feed", "WawpWebhookFeedSilent")
def sources_never_heard_are_measured_each_for_itself() -> Group:
    """One heard, one never, seen by two replicas that started at 120 and 180 s."""
    rows = [
        *[limit(300, n, instance=i) for n in ("never", "heard") for i in ("a:1", "b:1")],
        *[accepted("0+0x30", "never", i) for i in ("a:1", "b:1")],
        *[accepted("0 60+60x30", "heard", i) for i in ("a:1", "b:1")],
        s.one("process_start_time_seconds", "120+0x30", job="wawp-exporter", instance="a:1"),
        s.one("process_start_time_seconds", "180+0x30", job="wawp-exporter", instance="b:1"),
    ]
    return group(
        60, rows, [*silent("WawpWebhookFeedSilent", 480), *firing("WawpWebhookFeedSilent", 540, source="never")]
    )


@case("feed", "WawpWebhookMissed")
def one_correction_at_one_replica_is_enough() -> Group:
    rows = [
        s.one("wawp_exporter_reconcile_corrections_total", v, source="default", instance=i)
        for i, v in (("a:1", "0 0 1+0x9"), ("b:1", "0+0x12"))
    ]
    return group(60, rows, firing("WawpWebhookMissed", 120))


@case("feed", "WawpWebhookFeedSilent")
def a_limit_of_one_second_is_not_off() -> Group:
    return group(60, [limit(1), accepted("0 60+0x9")], firing("WawpWebhookFeedSilent", 120))
