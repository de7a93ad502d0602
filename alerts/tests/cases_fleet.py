"""Cases for fleet.rules.yml: failover groups and start times."""

from __future__ import annotations

from typing import Any

import series as s
from cases import Check, case, counted, firing, group, reads, silent, value

Group = dict[str, Any]


EXHAUSTED, DEGRADED = "WawpFailoverGroupExhausted", "WawpFailoverGroupDegraded"


def of_group(
    name: str, eligible: str, working: str, instance: str = "a:1", members: str = "2+0x30", **labels: str
) -> list[s.Series]:
    """What one replica counts; of several shards, `members` are those on its own."""
    found = {"members": members, "eligible": eligible, "working": working}
    return [
        s.one(f"wawp_group_{what}sessions", samples, group=name, instance=instance, **labels)
        for what, samples in zip(("", "eligible_", "working_"), found.values(), strict=True)
    ]


def configured(name: str, samples: str = "2+0x30", instance: str = "a:1") -> s.Series:
    return s.one("wawp_group_configured_sessions", samples, group=name, instance=instance)


@case("fleet", EXHAUSTED)
def a_group_of_which_no_member_has_worked_for_a_minute_is_exhausted() -> Group:
    rows = [configured("sales"), *of_group("sales", "2+0x30", "2 1 0 0 0 2+0x9")]
    return group(
        60,
        rows,
        [
            *silent(EXHAUSTED, 60, 120),
            *reads("group-exhausted", 180),
            *firing(EXHAUSTED, 240),
            *silent(EXHAUSTED, 300),
        ],
    )


@case("fleet", DEGRADED)
def a_group_with_one_working_member_for_five_minutes_is_degraded() -> Group:
    """Restarts of a member are shorter."""
    rows = [configured("sales"), *of_group("sales", "2+0x30", "2 1+0x7 2+0x9")]
    short = [configured("short"), *of_group("short", "2+0x30", "2 1+0x4 2 1+0x4 2+0x9")]
    return group(
        60,
        [*rows, *short],
        [*silent(DEGRADED, 300), *reads("group-degraded", 360), *firing(DEGRADED, 480), *silent(DEGRADED, 540)],
    )


@case("fleet", EXHAUSTED, DEGRADED)
def one_member_that_should_work_is_enough_to_be_exhausted_but_two_are_needed_to_be_degraded() -> Group:
    """STOPPED members and those in maintenance are not eligible; a group of one has nothing to fail over."""
    rows = []
    for name, members, eligible, working in (
        ("one-left", 2, 1, 0), ("none-left", 2, 0, 0), ("alone", 1, 1, 0), ("alone-works", 1, 1, 1),
        ("three", 3, 3, 2), ("one-of-one", 2, 1, 1), ("all-of-three", 3, 3, 0), ("one-of-three", 3, 3, 1),
    ):  # fmt: skip
        rows += [configured(name, f"{members}+0x30")]
        rows += of_group(name, f"{eligible}+0x30", f"{working}+0x30", members=f"{members}+0x30")
    return group(
        60,
        rows,
        [
            *counted(EXHAUSTED, {(("group", n),): 1.0 for n in ("one-left", "all-of-three")}, 360, by="group"),
            *counted(DEGRADED, {(("group", "one-of-three"),): 1.0}, 360, by="group"),
        ],
    )


@case("fleet", EXHAUSTED, DEGRADED)
def members_are_added_over_shards_and_not_over_replicas() -> Group:
    """Two replicas of one shard with 1 of 1, and one of another with 0 of 1: one of two works. One replica lags."""

    def shards(name: str, *working: int) -> list[s.Series]:
        return [
            configured(name, "2+0x30"), configured(name, "2+0x30", "c:1"), configured(name, "1+0x30", "old:1"),
            *of_group(name, "1+0x30", f"{working[0]}+0x30", "a:1", "1+0x30", shard="0"),
            *of_group(name, "1+0x30", f"{working[0]}+0x30", "b:1", "1+0x30", shard="0"),
            *of_group(name, "0+0x30", "0+0x30", "lags:1", "0+0x30", shard="0"),
            *of_group(name, "1+0x30", f"{working[1]}+0x30", "c:1", "1+0x30", shard="1"),
        ]  # fmt: skip

    return group(
        60,
        [*shards("sales", 1, 0), *shards("both", 1, 1), *shards("empty", 0, 0)],
        [
            *counted(DEGRADED, {(("group", "sales"),): 1.0}, 360, by="group"),
            *counted(EXHAUSTED, {(("group", "empty"),): 1.0}, 360, by="group"),
        ],
    )


@case("fleet", EXHAUSTED)
def a_shard_that_is_not_heard_makes_no_group_look_exhausted() -> Group:
    """Its members worked when it was last heard, and are not known to be lost."""
    rows = [
        configured("sales"),
        *of_group("sales", "1+0x30", "0+0x30", "a:1", "1+0x30", shard="0"),
        *of_group("sales", "1 1 stale _x7 1+0x9", "1 1 stale _x7 0+0x9", "c:1", "1 1 stale _x7 1+0x9", shard="1"),
    ]
    never = [configured("never"), *of_group("never", "1+0x30", "0+0x30", "a:1", "1+0x30", shard="0")]
    return group(60, [*rows, *never], [*silent(EXHAUSTED, 240, 600), *firing(EXHAUSTED, 660, group="sales")])


SYNCED = s.one("wawp:source:synced_timestamp_seconds", "0+60x9 stale", source="default")


@case("fleet", EXHAUSTED, DEGRADED)
def nothing_is_over_while_no_exporter_answers() -> Group:
    """Nor while it answers without the members yet; but for a day only, after which nothing is remembered."""
    gap = "stale _x4"
    rows = [
        s.one("wawp_exporter_time_seconds", f"0 60 {gap} 0+0x1 stale", instance="a:1"),
        SYNCED,
        *[configured(name, f"2 2 {gap} 2 2 stale") for name in ("none", "one")],
        *of_group("none", "2 2 stale", "0 0 stale", members="2 2 stale"),
        *of_group("one", "2 2 stale", "1 1 stale", members="2 2 stale"),
    ]
    return group(
        60,
        rows,
        [
            *firing(EXHAUSTED, 60, 120, 300, 360, 420, 540, group="none"),
            *firing(DEGRADED, 300, 360, 540, group="one"),
            *silent(EXHAUSTED, 600),
            *silent(DEGRADED, 600),
        ],
    )


@case("fleet", EXHAUSTED)
def a_group_that_is_no_longer_configured_ends() -> Group:
    """The exporter answers without it."""
    rows = [
        s.one("wawp_exporter_time_seconds", "0+60x9", instance="a:1"),
        SYNCED,
        configured("sales", "2+0x3 stale"),
        *of_group("sales", "2+0x3 stale", "0+0x3 stale", members="2+0x3 stale"),
        configured("other", "2+0x9"),
        *of_group("other", "2+0x9", "0+0x9"),
    ]
    both = {(("group", n),): 1.0 for n in ("sales", "other")}
    return group(
        60,
        rows,
        [
            *counted(EXHAUSTED, both, 180, by="group"),
            *counted(EXHAUSTED, {(("group", "other"),): 1.0}, 240, by="group"),
            *recorded(240, "other"),
        ],
    )


@case("fleet", EXHAUSTED)
def groups_are_told_apart() -> Group:
    """What is heard of one says nothing of another."""
    rows = [
        *[configured(n, "2+0x9") for n in ("heard", "unheard")],
        *of_group("heard", "2+0x9", "2+0x9"),
        *of_group("unheard", "1+0x9", "0+0x9", members="1+0x9"),
    ]
    return group(60, rows, [*silent(EXHAUSTED, 120), *recorded(120, "heard")])


def recorded(at: int, *groups: str) -> list[Check]:
    """The groups of which the numbers are known."""
    found = [(s.selector("", group=name), 1) for name in groups]
    names = ("wawp:group_eligible_sessions:sum", "wawp:group_working_sessions:sum")
    return [check for name in names for check in value(f"count by (group) ({name})", at, *found)]


@case("fleet", DEGRADED)
def what_two_replicas_see_is_not_two_members() -> Group:
    """One of two members is STOPPED, the other works: nothing to be done."""
    rows = [row for i in ("a:1", "b:1") for row in of_group("sales", "1+0x9", "1+0x9", i)]
    return group(60, [configured("sales"), *rows], silent(DEGRADED, 540))


@case("fleet", DEGRADED)
def a_shard_that_is_not_heard_ends_nothing() -> Group:
    """Two members on two shards, of which one works. The second shard goes; another group is heard all the time."""
    rows = [
        *[configured(n) for n in ("sales", "other")],
        *of_group("sales", "1+0x30", "1+0x30", "a:1", "1+0x30", shard="0"),
        *of_group("sales", "1+0x7 stale", "0+0x7 stale", "c:1", "1+0x7 stale", shard="1"),
        *of_group("other", "2+0x30", "2+0x30"),
    ]
    return group(60, rows, [*firing(DEGRADED, 420, 480, 900, group="sales")])


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


EDGES = "custom_values:[30 45 60]"


def native(
    engine: str, counts: list[list[int]], instance: str = "a:1", outcome: str = "working", **labels: str
) -> s.Series:
    """The same as Prometheus 3 converts it: for each sample the counts up to 30, 45, 60 s and above."""
    who = {"source": "default", "engine": engine, "outcome": outcome, "instance": instance, **labels}
    samples = [
        f"{{{{schema:-53 sum:{45 * sum(each)} count:{sum(each)} {EDGES} buckets:[{' '.join(map(str, each))}]}}}}"
        for each in counts
    ]
    return s.one("wawp_start_duration_seconds", " ".join(samples), **who)


NONE, SLOW, QUICK = [0, 0, 0, 0], [0, 0, 5, 0], [0, 99, 0, 0]


@case("fleet", "WawpSlowStarts", native=True)
def slow_starts_are_noticed_in_native_histograms_too() -> Group:
    """Over shards; of two replicas the one that has seen more; not other outcomes; each engine for itself."""
    two, three = [0, 0, 2, 0], [0, 0, 3, 0]
    rows = [
        native("WEBJS", [NONE, NONE, SLOW]),
        native("WEBJS", [NONE, NONE, NONE], "b:1"),
        native("GOWS", [NONE, NONE, SLOW], outcome="qr"),
        native("GOWS", [NONE, NONE, NONE]),
        *[native("NOWEB", [NONE, NONE, n], i, shard=k) for n, i, k in ((two, "a:1", "0"), (three, "c:1", "1"))],
        native("WPP", [NONE, NONE, QUICK]),
        native("WPP", [NONE, NONE, SLOW], source="other"),
        native("OTHER", [NONE, NONE, two]),
        native("OTHER", [NONE, NONE, two], "b:1"),
        native("VENOM", [NONE, NONE, QUICK], shard="0"),
        native("VENOM", [NONE, NONE, [0, 0, 12, 0]], "c:1", shard="1"),
        native("VENOM", [NONE, NONE, [0, 0, 11, 0]], "d:1", shard="1"),
    ]
    slow = {
        (("source", "default"), ("engine", "WEBJS")): 1.0, (("source", "default"), ("engine", "NOWEB")): 1.0,
        (("source", "other"), ("engine", "WPP")): 1.0, (("source", "default"), ("engine", "VENOM")): 1.0,
    }  # fmt: skip
    return group(60, rows, counted("WawpSlowStarts", slow, 120, by="source, engine"))


@case("fleet", "WawpSlowStarts", native=True)
def native_histograms_are_forgotten_after_half_an_hour_too() -> Group:
    """And twice five minutes ago is not forgotten yet."""
    rows = [native("WEBJS", [NONE] * 5 + [SLOW] * 50)]
    return group(60, rows, [*firing("WawpSlowStarts", 1980), *silent("WawpSlowStarts", 2280)])


@case("fleet", "WawpSlowStarts", native=True)
def of_two_native_replicas_the_one_that_has_seen_most_is_asked() -> Group:
    """Not both; and most within the half hour. A slow one in a hundred is no slow tenth."""
    rows = [
        native("GOWS", [NONE, NONE, [0, 20, 0, 0]]),
        native("GOWS", [NONE, NONE, [0, 0, 19, 0]], "b:1"),
        native("WPP", [NONE, NONE, [0, 95, 4, 0]]),
        native("WEBJS", [NONE, NONE, [0, 0, 6, 0]]),
        native("WEBJS", [NONE, NONE, [0, 1, 0, 0]], "b:1"),
    ]
    return group(60, rows, counted("WawpSlowStarts", {(("engine", "WEBJS"),): 1.0}, 120, by="engine"))


@case("fleet", "WawpSlowStarts", native=True)
def older_native_starts_neither_hide_slow_ones_nor_make_up_their_number() -> Group:
    """40 minutes ago 100 quick ones on GOWS, 5 slow ones on WEBJS; now 6 and 3 slow ones.

    On NOWEB the replica that saw the 100 has seen nothing since. On WPP there were slow ones 20 minutes ago, and the
    other replica has just seen a quick one.
    """
    before, now = [[0, 100, 0, 0]] * 38, [[0, 100, 6, 0]] * 10
    few, more = [[0, 0, 5, 0]] * 38, [[0, 0, 8, 0]] * 10
    rows = [
        native("GOWS", [NONE, NONE, *before, *now]),
        native("WEBJS", [NONE, NONE, *few, *more]),
        native("NOWEB", [NONE, NONE, *before, *before[:10]], "b:1"),
        native("NOWEB", [*[NONE] * 40, *[[0, 0, 6, 0]] * 10]),
        native("WPP", [*[NONE] * 22, *[[0, 0, 6, 0]] * 28]),
        native("WPP", [*[NONE] * 40, *[[0, 1, 0, 0]] * 10], "b:1"),
    ]
    slow = {(("engine", name),): 1.0 for name in ("GOWS", "NOWEB", "WPP")}
    return group(60, rows, counted("WawpSlowStarts", slow, 2520, by="engine"))


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
