"""How reliable were we, and what is the pattern?"""

from grafana.board import Board, Row, away, engine, source, variable
from grafana.look import BAD, GOOD, KNOWN, WARNING, Steps
from grafana.panels import SPAN, bars, by_objective, figure, rows, series, session_links, words
from grafana.queries import BY_SESSION, GROUP, JOB, SOURCE, bad_share, info, losses, objective, ratio, slo

OBJECTIVE = objective("source")
BUDGET: Steps = ((None, BAD), (0, WARNING), (0.25, GOOD))
# The four lines of `WawpErrorBudgetBurn`.
BURN: Steps = ((None, "transparent"), (1, WARNING), (3, WARNING), (6, BAD), (14.4, BAD))
WORKING, LOST = 'status="WORKING"', 'status!~"WORKING|STOPPED|UNKNOWN"'
ANY = 'status=~".+"'
META = 'engine=~"$engine",group=~"$group"'
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


def each(matchers: str) -> str:
    """Seconds of each session in the range, read at the panel's step: all samples of a month would be too many."""
    total = f"wawp_session_status_seconds_total{{{SOURCE},{matchers}}}"
    seconds = f"max by ({BY_SESSION}, status) (increase({total}[$__range:$__interval]))"
    known = f"group by ({BY_SESSION}) (wawp_session_info{{{JOB},{META}}})"
    return f"(sum by ({BY_SESSION}) ({seconds})\n    and on ({BY_SESSION}) {known})"


RESULT = Row(
    "Result",
    [
        by_objective(
            figure(
                "Availability",
                availability("$__range"),
                description="How available were we? Good seconds of sessions, of good and bad ones, in the range"
                " above. STOPPED, maintenance, UNKNOWN and sessions that never worked yet are excluded. Green from the"
                " configured objective on.",
                unit="percentunit",
                decimals=3,
                legend="{{source}}",
                width=6,
            )
        ),
        figure(
            "Error budget left",
            f"1 - ({burn('$__range')})",
            description="How much of the error budget is left? 1 is untouched, 0 used up, less is overdrawn: of the"
            " range above, against the objective.",
            unit="percentunit",
            steps=BUDGET,
            decimals=1,
            legend="{{source}}",
            width=6,
        ),
        figure(
            "Objective",
            OBJECTIVE,
            description="What was promised? The objective of the exporter's configuration (`slo.objective`).",
            unit="percentunit",
            decimals=2,
            legend="{{source}}",
        ),
        figure(
            "Excluded",
            ratio(slo("excluded", "$__range"), slo(".+", "$__range")),
            description="How much was excluded? Seconds that count neither as good nor as bad, of all: STOPPED,"
            " maintenance, UNKNOWN, never worked.",
            unit="percentunit",
            decimals=1,
            legend="{{source}}",
        ),
        figure(
            "Known",
            "clamp_max(max(sum_over_time((max by (job) (up{job=~'$job'}))[$__range:5m])) * 300 / $__range_s, 1)",
            description="How much of the range is known? Share of the range in which Prometheus could read an"
            " exporter, looked at every 5 minutes.",
            unit="percentunit",
            steps=KNOWN,
            decimals=1,
        ),
    ],
)
PATTERN = Row(
    "Error budget",
    [
        series(
            "Burn rate",
            *((burn(window), f"{{{{source}}}} {window}") for window in ("1h", "6h", "1d", "3d")),
            description="How many times too fast is the budget used? 1 uses up a month's budget in a month. The lines"
            " are those of the alerts: 14.4 (1h), 6 (6h), 3 (1d), 1 (3d).",
            steps=BURN,
            width=24,
            interval="1h",
        ),
        series(
            "Availability by day",
            (availability("1d"), "{{source}}"),
            description="How available were we on each day? Of the 24 hours before each bar.",
            unit="percentunit",
            interval="1d",
            bars=True,
            least=None,
            most=1,
        ),
        words(
            "Hours of the week",
            "One PromQL query cannot draw the hours of the week; the audit has them, from the log:\n\n"
            f"- [the audit of this range](${{exporter_url}}{AUDIT})\n"
            f"- [its figures as CSV](${{exporter_url}}/api/v1{AUDIT}&format=csv)\n"
            "- `wawp-exporter audit --help`\n\n"
            "If figures differ, the audit is right: it includes events that came late or while nothing was scraped.",
            description="In which hours of the week do we fail? The audit counts disconnects by hour and weekday in"
            " the configured time zone.",
            height=8,
        ),
    ],
)
WHO = Row(
    "Who was bad",
    [
        by_objective(
            bars(
                "Availability by engine",
                availability("$__range", "source, engine"),
                "{{source}} / {{engine}}",
                description="How available was each engine? Good seconds of those that count, in the range above.",
                unit="percentunit",
                width=8,
            ),
        ),
        by_objective(
            bars(
                "Availability by group",
                member_share("$__range"),
                "{{group}}",
                description="How available was each group? Working members of eligible ones, averaged over the"
                " scrapes: a loss shorter than a scrape interval may be missed.",
                unit="percentunit",
                width=8,
            ),
        ),
        bars(
            "Losses by reason",
            losses("$__range"),
            "{{reason}}",
            description="Why were sessions lost? Losses in the range above as the exporter counts them (a session that"
            " had worked, and is lost for longer than a restart takes), by the reason that the gateway gave.",
            unit="short",
            width=8,
        ),
        rows(
            "Uptime of every session",
            f"{each(WORKING)}\n  / ({each(WORKING)}\n    + ({each(LOST)} or {each(WORKING)} * 0) > 0)",
            each(LOST),
            f"clamp_max({each(ANY)} / $__range_s, 1)",
            info(f"{SOURCE},{META}", "engine", "group", "owner"),
            description="How reliable was each session in the range above? WORKING share of all but STOPPED and"
            " UNKNOWN, in the colours of the configured objective; the time that it did not work; and how much of the"
            " range Prometheus knows of it. The last 500th of the range may be missing. The audit also leaves out"
            " maintenance, and includes events that came late.",
            columns=("source", "session", "engine", "group", "owner"),
            values={
                "Value #A": ("uptime", "percentunit"),
                "Value #B": ("not working", "s"),
                "Value #C": ("known", "percentunit"),
            },
            links={"session": session_links("__data.fields")},
            width=16,
            height=16,
            sort="not working",
            promised="uptime",
        ).max_data_points(500),
        rows(
            "Recurring hours",
            f"topk(50, max by ({BY_SESSION}, weekday, hour) (wawp_session_recurring_disconnects{{{SOURCE}}}))",
            description="Which sessions fail in the same hour every week? Lost in this hour of the week in so many of"
            " the last 8 weeks; 3 and more only.",
            columns=("source", "session", "weekday", "hour"),
            values={"Value": ("weeks", "short")},
            links={"session": session_links("__data.fields")},
            width=8,
            height=16,
            sort="weeks",
        ),
    ],
)

BOARD = Board(
    name="slo",
    question="How reliable were we, and what is the pattern?",
    about="Availability and error budget of WhatsApp sessions as wawp-exporter exports them, and the uptime of every"
    " session.",
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
