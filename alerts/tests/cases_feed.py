"""Cases for feed.rules.yml: the way from the gateway to the exporter."""

from __future__ import annotations

from typing import Any

import series as s
from cases import Check, case, counted, firing, group, reads, silent, value

Group = dict[str, Any]


def rejected(samples: str, reason: str = "bad_signature", source: str = "default", instance: str = "a:1") -> s.Series:
    return s.one("wawp_exporter_webhooks_rejected_total", samples, source=source, reason=reason, instance=instance)


def accepted(samples: str, source: str = "default", instance: str = "a:1") -> s.Series:
    return s.one("wawp_exporter_last_accepted_timestamp_seconds", samples, source=source, instance=instance)


def refused(samples: str, reason: str = "bad_signature", source: str = "default", instance: str = "a:1") -> s.Series:
    """Since when webhooks are refused for this reason, with none accepted since."""
    labels = {"source": source, "reason": reason, "instance": instance}
    return s.one("wawp_exporter_refused_since_timestamp_seconds", samples, **labels)


REJECTED = "WawpWebhookFeedRejected"


@case("feed", REJECTED)
def wrong_signatures_over_two_minutes_with_nothing_accepted_are_a_broken_feed() -> Group:
    """A key changed on one side only; the gateway sends now and then. It fires until one is accepted."""
    return group(
        20,
        [
            rejected("0 1 1 2 2 3+0x4 4+0x50 5+0x50"),
            rejected("0+0x99", "bad_token"),
            refused("0 20+0x99 0+0x9"),
            refused("0+0x109", "bad_token"),
        ],
        [
            *silent(REJECTED, 120),
            *reads("feed-rejected", 140),
            *firing(REJECTED, 360, 900, 2020, severity="critical"),
            *silent(REJECTED, 2160),
        ],
    )


@case("feed", REJECTED)
def wrong_tokens_are_one_too_and_say_so() -> Group:
    """Both reasons together count: the earlier of them, on whichever replica."""
    rows = [
        rejected("0 1+0x9", "bad_token"),
        rejected("0 0 1+0x9", instance="b:1"),
        rejected("0 0 0 1+0x9", "bad_token", instance="b:1"),
        refused("0 20+0x9", "bad_token"),
        refused("0 0 0 60+0x9", "bad_token", instance="b:1"),
        refused("0+0x9"),
        rejected("0 2+0x9", "bad_token", "two"),
        refused("0 20+0x9", "bad_token", "two"),
    ]
    return group(20, rows, [*silent(REJECTED, 120), *reads("feed-token", 140)])


@case("feed", REJECTED)
def the_burst_of_a_scanner_is_no_broken_feed() -> Group:
    """Five wrong signatures at once, and nothing else for an hour; two that come slowly are not three either."""
    rows = [
        rejected("0 5+0x120"),
        refused("0 20+0x120"),
        rejected("0 1+0x5 2+0x120", source="two"),
        refused("0 20+0x120", source="two"),
    ]
    return group(20, rows, silent(REJECTED, 140, 160, 200, 600, 1200, 2400))


@case("feed", REJECTED)
def refusals_beside_accepted_webhooks_are_no_broken_feed() -> Group:
    """Then the exporter says since 0; other reasons are none of this alert's."""
    rows = [rejected("0+1x30"), refused("0+0x30")]
    for reason in ("malformed", "invalid_event", "too_large", "log_unavailable"):
        rows += [rejected("0+1x30", reason, "odd"), refused("0 20+0x30", reason, "odd")]
    return group(20, rows, silent(REJECTED, 140, 300, 600))


@case("feed", REJECTED)
def three_refusals_count_together_within_half_an_hour() -> Group:
    """Two long ago and one now are not three; one each ten minutes are."""
    rows = [
        rejected("0 2+0x31 3 3 5+0x20", source="old"),
        refused("0 60+0x60", source="old"),
        rejected("0 1+0x8 2+0x10 3+0x40", source="slow"),
        refused("0 60+0x60", source="slow"),
    ]

    def now(at: int, *names: str) -> list[Check]:
        return counted(REJECTED, {(("source", n),): 1.0 for n in names}, at, by="source")

    return group(
        60, rows, [*now(1200), *now(1260, "slow"), *now(1980, "slow"), *now(2040, "slow"), *now(2100, "old", "slow")]
    )


@case("feed", REJECTED)
def missing_signatures_alone_are_milder_and_later() -> Group:
    """After ten minutes, and until one is accepted."""
    return group(
        60,
        [
            rejected("0 1 1 1 2 2 2 2 2 2 2 3+0x60", "missing_signature"),
            refused("0 60+0x60 0+0x9", "missing_signature"),
            rejected("0+0x60"),
        ],
        [
            *silent(REJECTED, 600),
            *reads("feed-missing", 660),
            *firing(REJECTED, 1800, 3600, severity="warning"),
            *silent(REJECTED, 3900),
        ],
    )


@case("feed", REJECTED)
def a_scanner_without_a_signature_is_no_broken_feed() -> Group:
    """Three at once, and none ten minutes later; two; and any number beside accepted ones."""
    rows = [
        rejected("0 9+0x60", "missing_signature", "burst"),
        refused("0 60+0x60", "missing_signature", "burst"),
        rejected("0 1+0x9 2+0x60", "missing_signature", "two"),
        refused("0 60+0x60", "missing_signature", "two"),
        rejected("0+9x60", "missing_signature", "fine"),
        refused("0+0x60", "missing_signature", "fine"),
    ]
    return group(60, rows, silent(REJECTED, 660, 720, 780, 1500, 3000))


@case("feed", REJECTED)
def beside_wrong_signatures_the_missing_ones_are_no_second_alert() -> Group:
    """A stray wrong one hides nothing: it is no alert by itself. Replicas are added up."""
    both = [row for r in ("bad_signature", "missing_signature") for row in (
        rejected("0+1x30", r, "both"), refused("0 60+0x30", r, "both"))]  # fmt: skip
    rows = [
        *both,
        rejected("0 1+0x30", source="stray"),
        refused("0 60+0x30", source="stray"),
        *[rejected("0 0 0 0 0 0 0 0 0 1 2+0x30", "missing_signature", "stray", i) for i in ("a:1", "b:1")],
        refused("0 120+0x30", "missing_signature", "stray"),
        refused("0 0 0 360+0x30", "missing_signature", "stray", "b:1"),
    ]
    want = {(("source", "both"), ("severity", "critical")): 1.0, (("source", "stray"), ("severity", "warning")): 1.0}
    return group(60, rows, counted(REJECTED, want, 720, 900, by="source, severity"))


UNREADABLE = "WawpWebhookFeedUnreadable"


@case("feed", UNREADABLE)
def three_webhooks_that_cannot_be_read_are_an_unreadable_feed_until_one_is_accepted() -> Group:
    return group(
        60,
        [
            rejected("0 1 1 2+0x20", "invalid_event"),
            rejected("0 0 0 0 1+0x20", "malformed"),
            refused("0 60+0x20 0+0x9", "invalid_event"),
            refused("0 0 0 0 240+0x17 0+0x9", "malformed"),
        ],
        [
            *silent(UNREADABLE, 180),
            *reads("feed-unreadable", 240),
            *firing(UNREADABLE, 600, 1260),
            *silent(UNREADABLE, 1440),
        ],
    )


@case("feed", UNREADABLE)
def a_body_that_is_not_json_says_so() -> Group:
    """Two replicas; the earlier of the beginnings; two of them are not three."""
    rows = [
        rejected("0 2+0x20", "malformed"),
        rejected("0 0 1+0x20", "malformed", instance="b:1"),
        refused("0 60+0x20", "malformed"),
        refused("0 0 120+0x20", "malformed", instance="b:1"),
        rejected("0 2+0x20", "malformed", "two"),
        refused("0 60+0x20", "malformed", "two"),
    ]
    return group(60, rows, [*silent(UNREADABLE, 60), *reads("feed-malformed", 180)])


@case("feed", UNREADABLE)
def other_refusals_and_old_ones_and_those_beside_accepted_ones_are_not() -> Group:
    rows = [
        rejected("0+9x30"),
        refused("0 60+0x30"),
        rejected("0+9x30", "malformed", "fine"),
        refused("0+0x30", "malformed", "fine"),
        rejected("0 2+0x11 3+0x20", "invalid_event", "slow"),
        refused("0 60+0x30", "invalid_event", "slow"),
    ]
    return group(60, rows, silent(UNREADABLE, 240, 780, 900))


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
        refused("0 60 60 0 240+0x10 0+0x40", source="rotated"),
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
    for instance in ("a:1", "b:1"):
        rows += [
            rejected("0 0 0 0 2+0x30", source="before", instance=instance),
            accepted("700+0x30", "before", instance),
        ]
    rows += [
        accepted("780+0x30", "both"),
        *[rejected("0 0 0 0 1+0x30", source="both", instance=i) for i in ("a:1", "b:1")],
    ]
    record = "wawp:webhooks_genuine_after_forged:bool"
    return group(60, rows, value(f"count by (source) ({record})", 780, ('{source="48"}', 1), ('{source="both"}', 1)))


@case("feed", "WawpWebhookForged")
def a_genuine_webhook_of_another_source_proves_nothing() -> Group:
    """The key of `rotated` was changed a minute ago."""
    rows = [
        rejected("0+0x8 6+0x9", source="rotated"), accepted("0+60x8 480+0x9", "rotated"),
        refused("0+0x8 540+0x9", source="rotated"),
        rejected("0+2x18", source="forged"), accepted("0+60x18", "forged"),
    ]  # fmt: skip
    return group(60, rows, counted("WawpWebhookForged", {(("source", "forged"),): 1.0}, 600, by="source"))


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


@case("feed", "WawpWebhookFeedSilent")
def the_newest_of_what_replicas_have_accepted_counts_and_they_do_not_add_up() -> Group:
    """Two replicas heard the last at 60 s, a third never anything; seconds are not added."""
    rows = [limit(300), limit(300, instance="b:1"), limit(60, instance="old:1")]
    rows += [accepted("0 60+0x20", instance=i) for i in ("a:1", "b:1")] + [
        accepted("0+0x20", instance="c:1"),
        accepted("0 10+0x20", instance="d:1"),
    ]
    return group(
        60,
        rows,
        [
            *silent("WawpWebhookFeedSilent", 360),
            *firing("WawpWebhookFeedSilent", 420),
        ],
    )


@case("feed", "WawpWebhookFeedSilent")
def a_refused_or_unreadable_feed_is_not_called_silent_too() -> Group:
    """The alert about what is refused says more; the neighbour is silent."""
    rows = [row for n in ("refused", "unreadable", "silent") for row in (limit(300, n), accepted("0 60+0x20", n))]
    for n, reason in (("refused", "bad_token"), ("unreadable", "malformed")):
        rows += [rejected("0 0 0+1x20", reason, n), refused("0 0 120+0x20", reason, n)]
    return group(60, rows, counted("WawpWebhookFeedSilent", {(("source", "silent"),): 1.0}, 420, 600, by="source"))


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
