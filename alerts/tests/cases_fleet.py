"""Cases for fleet.rules.yml: failover groups and start times."""

from __future__ import annotations

from typing import Any

import series as s
from cases import case, counted, firing, group, reads, silent

Group = dict[str, Any]


def of_group(
    name: str, eligible: list[float], working: list[float], instance: str = "a:1", **labels: str
) -> list[s.Series]:
    return [
        s.one(f"wawp_group_{what}_sessions", samples, group=name, instance=instance, **labels)
        for what, samples in (("eligible", eligible), ("working", working))
    ]


@case("fleet", "WawpFailoverGroupExhausted", "WawpFailoverGroupDegraded")
def a_group_of_two_is_degraded_with_one_working_and_exhausted_with_none() -> Group:
    rows = of_group("sales", [2] * 10, [2, 1, 1, 0, 0, 0, 2, 2, 2, 2])
    return group(
        60,
        rows,
        [
            *silent("WawpFailoverGroupDegraded", 0, 300),
            *reads("group-degraded", 60),
            *silent("WawpFailoverGroupExhausted", 120),
            *reads("group-exhausted", 180),
            *firing("WawpFailoverGroupExhausted", 360, 420, group="sales"),
            *silent("WawpFailoverGroupExhausted", 480, 540),
        ],
    )


@case("fleet", "WawpFailoverGroupExhausted", "WawpFailoverGroupDegraded")
def a_group_with_less_than_two_eligible_members_has_nothing_to_fail_over() -> Group:
    """STOPPED members and those in maintenance are not eligible."""
    rows = [*of_group("one", [1, 1], [1, 0]), *of_group("none", [0, 0], [0, 0]), *of_group("three", [3, 3], [3, 2])]
    alerts = ("WawpFailoverGroupExhausted", "WawpFailoverGroupDegraded")
    return group(60, rows, [c for a in alerts for c in silent(a, 0, 60)])


@case("fleet", "WawpFailoverGroupExhausted", "WawpFailoverGroupDegraded")
def members_are_added_over_shards_and_not_over_replicas() -> Group:
    """Two replicas of one shard with 1 of 1, and one of another with 0 of 1: one of two works."""
    rows = [
        *of_group("sales", [1], [1], shard="0", instance="a:1"),
        *of_group("sales", [1], [1], shard="0", instance="b:1"),
        *of_group("sales", [1], [0], shard="1", instance="c:1"),
        *of_group("single", [1], [1], shard="0", instance="a:1"),
        *of_group("single", [1], [1], shard="0", instance="b:1"),
        *of_group("both", [1], [1], shard="0", instance="a:1"),
        *of_group("both", [1], [1], shard="1", instance="c:1"),
        *of_group("empty", [1], [0], shard="0", instance="a:1"),
        *of_group("empty", [1], [0], shard="1", instance="c:1"),
    ]
    return group(
        60,
        rows,
        [
            *firing("WawpFailoverGroupDegraded", 0, group="sales"),
            *firing("WawpFailoverGroupExhausted", 0, group="empty"),
        ],
    )


def starts(
    engine: str, counts: dict[str, list[float]], instance: str = "a:1", outcome: str = "working"
) -> list[s.Series]:
    """Buckets of a start histogram: `le` → cumulative counts over time."""
    labels = {"source": "default", "engine": engine, "outcome": outcome, "instance": instance}
    rows = [s.one("wawp_start_duration_seconds_bucket", v, le=le, **labels) for le, v in counts.items()]
    return [*rows, s.one("wawp_start_duration_seconds_count", counts["+Inf"], **labels)]


@case("fleet", "WawpSlowStarts")
def a_p90_above_45_seconds_over_five_starts_is_slow() -> Group:
    """Of 5 starts in one minute all take 30 to 60 s: the p90 is 57 s. Half an hour later they are forgotten."""
    slow = {"30": [0] * 41, "60": [0] * 5 + [5] * 36, "+Inf": [0] * 5 + [5] * 36}
    return group(
        60,
        starts("WEBJS", slow),
        [
            *silent("WawpSlowStarts", 240),
            *reads("slow-starts", 300),
            *firing("WawpSlowStarts", 1800),
            *silent("WawpSlowStarts", 2400),
        ],
    )


@case("fleet", "WawpSlowStarts")
def a_p90_of_45_or_four_slow_starts_or_starts_that_wait_for_a_qr_are_not() -> Group:
    still = [0, 0, 0]
    rows = [
        *starts("GOWS", {"30": still, "60": [0, 0, 4], "+Inf": [0, 0, 4]}),
        *starts("NOWEB", {"30": still, "46.6666666": [0, 0, 9], "60": [0, 0, 9], "+Inf": [0, 0, 9]}),
        *starts("WPP", {"30": still, "60": [0, 0, 9], "+Inf": [0, 0, 9]}, outcome="qr"),
    ]
    return group(60, rows, silent("WawpSlowStarts", 120))


@case("fleet", "WawpSlowStarts")
def two_targets_do_not_double_the_starts_and_two_shards_add_up() -> Group:
    three = {"30": [0, 0, 0], "60": [0, 0, 3], "+Inf": [0, 0, 3]}
    sharded = [
        {"series": r["series"].replace("instance=", f'shard="{n}",instance='), "values": r["values"]}
        for n in (0, 1)
        for r in starts("WEBJS", three, instance=f"s{n}:1")
    ]
    doubled = [*starts("GOWS", three, "a:1"), *starts("GOWS", three, "b:1")]
    return group(60, [*sharded, *doubled], [*firing("WawpSlowStarts", 120, engine="WEBJS")])


@case("fleet", "WawpSlowStarts")
def most_starts_being_quick_hides_no_slow_tenth() -> Group:
    slow = starts("WEBJS", {"45": [0, 0, 8], "60": [0, 0, 10], "+Inf": [0, 0, 10]})
    quick = starts("GOWS", {"45": [0, 0, 19], "60": [0, 0, 20], "+Inf": [0, 0, 20]})
    return group(60, [*slow, *quick], firing("WawpSlowStarts", 120, engine="WEBJS"))


@case("fleet", "WawpFailoverGroupExhausted", "WawpFailoverGroupDegraded")
def a_replica_that_lags_hides_no_member_and_no_loss_is_doubled() -> Group:
    """A replica still knows one eligible member and none working; the others know two and one."""
    rows = [
        *of_group("sales", [2], [1], instance="a:1"),
        *of_group("sales", [2], [1], instance="b:1"),
        *of_group("sales", [1], [0], instance="old:1"),
    ]
    return group(
        60, rows, [*firing("WawpFailoverGroupDegraded", 0, group="sales"), *silent("WawpFailoverGroupExhausted", 0)]
    )


def sharded(rows: list[s.Series], shard: str) -> list[s.Series]:
    return [
        {"series": r["series"].replace("instance=", f'shard="{shard}",instance='), "values": r["values"]} for r in rows
    ]


@case("fleet", "WawpSlowStarts")
def buckets_are_added_over_shards_and_the_larger_replica_counts() -> Group:
    """Shard 0 starts quickly, shard 1 slowly: in all one in seven is slow. A replica that lags knows of none."""
    quick = {"45": [0, 0, 6], "60": [0, 0, 6], "+Inf": [0, 0, 6]}
    slow = {"45": [0, 0, 0], "60": [0, 0, 1], "+Inf": [0, 0, 1]}
    none = {"45": [0, 0, 0], "60": [0, 0, 0], "+Inf": [0, 0, 0]}
    rows = [
        *sharded(starts("GOWS", quick, "a:1"), "0"),
        *sharded(starts("GOWS", quick, "d:1"), "0"),
        *sharded(starts("GOWS", slow, "b:1"), "1"),
        *sharded(starts("GOWS", none, "old:1"), "0"),
        *sharded(starts("GOWS", none, "old:1"), "1"),
        *[{"series": r["series"].replace("default", "other"), "values": r["values"]} for r in starts("GOWS", none)],
        *[
            {"series": r["series"].replace("default", "third"), "values": r["values"]}
            for r in starts("GOWS", {k: [0, 0, 4 * (k != "45")] for k in slow})
        ],
    ]
    many = {"45": [0, 0, 27], "60": [0, 0, 30], "+Inf": [0, 0, 30]}
    few = {"45": [0, 0, 0], "60": [0, 0, 2], "+Inf": [0, 0, 2]}
    edge = [
        *sharded(starts("NOWEB", many, "a:1"), "0"),
        *sharded(starts("NOWEB", few, "b:1"), "1"),
        *sharded(starts("NOWEB", few, "c:1"), "1"),
    ]
    return group(
        60,
        [*rows, *edge],
        counted("WawpSlowStarts", {(("engine", e),): 1 for e in ("GOWS", "NOWEB")}, 120, by="engine"),
    )


@case("fleet", "WawpSlowStarts")
def a_p90_of_48_seconds_is_slow_already() -> Group:
    return group(
        60,
        starts("GOWS", {"45": [0, 0, 88], "60": [0, 0, 98], "+Inf": [0, 0, 98]}),
        firing("WawpSlowStarts", 120, engine="GOWS"),
    )


@case("fleet", "WawpSlowStarts")
def starts_are_forgotten_after_half_an_hour() -> Group:
    slow = {"30": [0] * 60, "60": [0] * 5 + [5] * 55, "+Inf": [0] * 5 + [5] * 55}
    return group(60, starts("WEBJS", slow), [*firing("WawpSlowStarts", 1980), *silent("WawpSlowStarts", 2280)])


@case("fleet", "WawpSlowStarts")
def a_p90_of_exactly_45_seconds_is_not_slow() -> Group:
    return group(
        60, starts("GOWS", {"45": [0, 0, 9], "60": [0, 0, 10], "+Inf": [0, 0, 10]}), silent("WawpSlowStarts", 120)
    )


@case("fleet", "WawpSlowStarts")
def older_starts_neither_hide_slow_ones_nor_make_up_their_number() -> Group:
    """40 minutes ago 100 quick ones on GOWS, 5 slow ones on WEBJS; now 6 and 3 slow ones."""
    hidden = {
        "45": [0, 0] + [100] * 48,
        "60": [0, 0] + [100] * 38 + [106] * 10,
        "+Inf": [0, 0] + [100] * 38 + [106] * 10,
    }
    few = {"45": [0] * 50, "60": [0, 0] + [5] * 38 + [8] * 10, "+Inf": [0, 0] + [5] * 38 + [8] * 10}
    rows = [*starts("GOWS", hidden), *starts("WEBJS", few)]
    return group(60, rows, firing("WawpSlowStarts", 2520, engine="GOWS"))
