"""How reliable were we, and what is the pattern?"""

from grafana.board import Board, Row, away, engine, source, variable
from grafana.look import BAD, MORE_IS_BETTER, WARNING, Steps
from grafana.panels import SPAN, bars, figure, rows, series, session_links, words
from grafana.queries import BY_SESSION, GROUP, SOURCE, bad_share, ratio, slo

OBJECTIVE = f"max by (source) (wawp_slo_objective_ratio{{{SOURCE}}})"
BUDGET: Steps = ((None, BAD), (0, WARNING), (0.25, "#009e73"))
# The four lines of `WawpErrorBudgetBurn`.
BURN: Steps = ((None, "transparent"), (1, WARNING), (3, WARNING), (6, BAD), (14.4, BAD))
WORKING, COUNTED = 'status="WORKING"', 'status!~"STOPPED|UNKNOWN"'
AUDIT = f"/audit?{SPAN}"


def availability(window: str, by: str = "source") -> str:
    """Good seconds, of those that count."""
    return ratio(slo("good", window, by), slo("bad|good", window, by))


def burn(window: str) -> str:
    """How many times faster than the objective allows."""
    return f"{bad_share(window)}\n  / on (source) (1 - {OBJECTIVE})"


def member_share(window: str) -> str:
    """Working members of those that should work, averaged over the scrapes."""
    working, eligible = (
        f"sum by (group) (max by (group, shard) (avg_over_time(wawp_group_{kind}_sessions{{{GROUP}}}[{window}])))"
        for kind in ("working", "eligible")
    )
    return ratio(working, eligible)


def since_start(matchers: str) -> str:
    """Seconds that the exporter has counted since it started; as cheap as a look at a gauge."""
    counted = f"max by ({BY_SESSION}, status) (wawp_session_status_seconds_total{{{SOURCE},{matchers}}})"
    return f"sum by ({BY_SESSION}) ({counted})"


RESULT = Row(
    "Did we keep our promise?",
    [
        figure(
            "How available were we?",
            availability("$__range"),
            description="Good seconds of sessions, of good and bad ones, in the range above. STOPPED, maintenance,"
            " UNKNOWN"
            " and sessions that never worked yet are excluded.",
            unit="percentunit",
            steps=MORE_IS_BETTER,
            decimals=3,
            legend="{{source}}",
            width=6,
        ),
        figure(
            "How much of the error budget is left?",
            f"1 - ({burn('$__range')})",
            description="1 is untouched, 0 used up, less is overdrawn: of the range above, against the objective.",
            unit="percentunit",
            steps=BUDGET,
            decimals=1,
            legend="{{source}}",
            width=6,
        ),
        figure(
            "What was promised?",
            OBJECTIVE,
            description="The objective of the exporter's configuration (`slo.objective`).",
            unit="percentunit",
            decimals=2,
            legend="{{source}}",
        ),
        figure(
            "How much was excluded?",
            ratio(slo("excluded", "$__range"), slo(".+", "$__range")),
            description="Seconds that count neither as good nor as bad, of all: STOPPED, maintenance, UNKNOWN,"
            " never worked.",
            unit="percentunit",
            decimals=1,
            legend="{{source}}",
        ),
        figure(
            "How much of the range is known?",
            "clamp_max(max(sum_over_time((max by (job) (up{job=~'$job'}))[$__range:5m])) * 300 / $__range_s, 1)",
            description="Share of the range in which Prometheus could read an exporter, looked at every 5 minutes.",
            unit="percentunit",
            steps=MORE_IS_BETTER,
            decimals=1,
        ),
    ],
)
PATTERN = Row(
    "How fast is the budget used, and when?",
    [
        series(
            "How many times too fast is the budget used?",
            *((burn(window), f"{{{{source}}}} {window}") for window in ("1h", "6h", "1d", "3d")),
            description="1 uses up a month's budget in a month. The lines are those of the alerts: 14.4 (1h), 6 (6h), 3"
            " (1d), 1 (3d).",
            steps=BURN,
            width=24,
            interval="1h",
        ),
        series(
            "How available were we on each day?",
            (availability("1d"), "{{source}}"),
            description="Of the 24 hours before each bar.",
            unit="percentunit",
            interval="1d",
            bars=True,
            least=None,
            most=1,
        ),
        words(
            "In which hours of the week do we fail?",
            "One PromQL query cannot draw the hours of the week; the audit has them, from the log:\n\n"
            f"- [the audit of this range](${{exporter_url}}{AUDIT})\n"
            f"- [its figures as CSV](${{exporter_url}}/api/v1{AUDIT}&format=csv)\n"
            "- `wawp-exporter audit --help`\n\n"
            "If figures differ, the audit is right: it includes events that came late or while nothing was scraped.",
            description="The audit counts disconnects by hour and weekday in the configured time zone.",
            height=8,
        ),
    ],
)
WHO = Row(
    "Which ones were bad?",
    [
        bars(
            "How available was each engine?",
            availability("$__range", "source, engine"),
            "{{source}} / {{engine}}",
            description="Good seconds of those that count, in the range above.",
            unit="percentunit",
            width=8,
        ),
        bars(
            "How available was each group?",
            member_share("$__range"),
            "{{group}}",
            description="Working members of eligible ones, averaged over the scrapes: a loss shorter than a scrape"
            " interval may be missed.",
            unit="percentunit",
            width=8,
        ),
        rows(
            "Which sessions fail in the same hour every week?",
            f"topk(50, max by ({BY_SESSION}, weekday, hour) (wawp_session_recurring_disconnects{{{SOURCE}}}))",
            description="Lost in this hour of the week in so many of the last 8 weeks; 3 and more only.",
            columns=("source", "session", "weekday", "hour"),
            values={"Value": ("weeks", "short")},
            links={"session": session_links("__data.fields")},
            width=8,
            sort="weeks",
        ),
        rows(
            "Which 20 sessions were the worst?",
            f"bottomk(20, {since_start(WORKING)}\n  / on ({BY_SESSION}) ({since_start(COUNTED)} > 600))",
            description="WORKING share of all but STOPPED and UNKNOWN, since the exporter started (the counters"
            " themselves: a"
            " range over every session would cost too much). The audit has any range.",
            columns=("source", "session"),
            values={"Value": ("uptime", "percentunit")},
            links={"session": session_links("__data.fields")},
            width=24,
        ),
    ],
)

BOARD = Board(
    name="slo",
    question="How reliable were we, and what is the pattern?",
    rows=(RESULT, PATTERN, WHO),
    variables=(
        source(),
        engine(),
        variable("group", 'label_values(wawp_group_sessions{job=~"$job"}, group)', "Group").all_value(".*"),
    ),
    alerts=',category="slo",source=~"$source"',
    since="now-30d",
    refresh="5m",
    links=(away("The audit of this range", AUDIT),),
)
