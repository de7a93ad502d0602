"""What happened to this session?"""

from grafana.board import Board, Row, away, source, variable
from grafana.look import ANY_IS_A_WARNING, KNOWN, PLAIN
from grafana.panels import (
    SPAN,
    bars,
    by_objective,
    figure,
    firing_alerts,
    firing_over_time,
    problems_over_time,
    rows,
    series,
    timeline,
)
from grafana.queries import BY_SESSION, FIRING, JOB, ONE_SESSION, age, info, problems, quantile, spent, status_code

COUNTED = f'{ONE_SESSION},status!~"STOPPED|UNKNOWN"'
WORKING = f'{ONE_SESSION},status="WORKING"'
SCANNING = f'{ONE_SESSION},status="SCAN_QR_CODE"'
UNACKNOWLEDGED = "wawp_session_unacknowledged_since_timestamp_seconds"
ALERTS = ',source="$source",session="$session"'


def uptime(window: str) -> str:
    """WORKING, of the seconds that count: not STOPPED, which is somebody's decision, and not UNKNOWN."""
    return f"sum({spent(WORKING, window)})\n  / (sum({spent(COUNTED, window)}) > 0)"


def coverage(window: str, seconds: int) -> str:
    """The share of the window for which there are figures."""
    return f"clamp_max(sum({spent(ONE_SESSION, window)}) / {seconds}, 1)"


def entries(status: str) -> str:
    """How often it came into a status in the range."""
    counter = f'wawp_session_transitions_total{{{ONE_SESSION},to=~"{status}"}}'
    return f"sum(max by ({BY_SESSION}, to) (increase({counter}[$__range])))"


def stays(title: str, share: float, words: str) -> object:
    """How long its stays lasted, by status: the length that a share of them did not exceed."""
    lengths = quantile(
        share,
        "wawp_session_status_duration_seconds",
        ONE_SESSION,
        "$__range",
        by="status",
        apart=f"{BY_SESSION}, status",
    )
    return bars(
        title,
        lengths,
        "{{status}}",
        description=f"How long does it stay in a status? {words} of its stays that ended in the range above were no"
        " longer; estimated from a histogram. Empty with `metrics.session_histograms: false`.",
        unit="s",
    )


def reliability(window: str, words: str, seconds: int) -> list[object]:
    """Uptime of a window, and beside it how much of the window is known."""
    return [
        by_objective(
            figure(
                f"Uptime, {words}",
                uptime(window),
                description="How reliable was it? WORKING time, of all but STOPPED and UNKNOWN. Counted by the"
                " exporter to the second; events that came late are only in the audit. Green from the configured"
                " objective on.",
                unit="percentunit",
                decimals=3,
            )
        ),
        figure(
            f"Known, {words}",
            coverage(window, seconds),
            description="How much of that time is known? Time for which Prometheus has figures of this session; judge"
            " the uptime by it.",
            unit="percentunit",
            steps=KNOWN,
            decimals=1,
        ),
    ]


def last_message(title: str, direction: str, words: str, more: str) -> object:
    """When the last one came, or was sent."""
    return figure(
        title,
        f'1000 * max(wawp_session_last_message_timestamp_seconds{{{ONE_SESSION},direction="{direction}"}} > 0)',
        description=f"When was its last message {words}? {more} Empty where the gateway reports no messages.",
        unit="dateTimeFromNow",
        width=8,
    )


NOW = Row(
    "Now",
    [
        figure(
            "Status now",
            status_code(ONE_SESSION),
            description="Which status is it in? The status that the gateway last reported.",
            unit="none",
            mapped=True,
        ),
        figure(
            "In this status",
            f"1000 * max(wawp_session_status_since_timestamp_seconds{{{ONE_SESSION}}})",
            description="Since when? Entry into the status; repeats of the same status do not move it.",
            unit="dateTimeFromNow",
        ),
        figure(
            "Down for",
            f"sum({age('wawp_session_down_since_timestamp_seconds', ONE_SESSION)}) or vector(0)",
            description="For how long has it been down? Since it left WORKING or STOPPED, whatever it went through"
            " since; 0 while it is not down.",
            unit="s",
            steps=ANY_IS_A_WARNING,
        ),
        figure(
            "Waits for a login",
            f"sum({age('wawp_session_auth_required_since_timestamp_seconds', ONE_SESSION)}) or vector(0)",
            description="For how long has it waited for a login? Since the first QR code or passkey request; 0 while"
            " none is wanted.",
            unit="s",
            steps=ANY_IS_A_WARNING,
        ),
        figure(
            "Last heard of",
            f"1000 * max(wawp_session_last_event_timestamp_seconds{{{ONE_SESSION}}} > 0)",
            description="When was it last heard of? The last event of any kind that the exporter accepted. A healthy"
            " session can be silent for days.",
            unit="dateTimeFromNow",
        ),
        figure(
            "Restrictions",
            f"sum(max by (restriction) (wawp_session_restricted{{{ONE_SESSION}}})) or vector(0)",
            description="How many restrictions of WhatsApp is it under? WORKING, but WhatsApp limits the account"
            " (reachout_timelock, message_capping).",
            steps=ANY_IS_A_WARNING,
        ),
    ],
)
TROUBLE = Row(
    "Problems and alerts",
    [
        rows(
            "Problems",
            f"time() - {problems(ONE_SESSION, 'reason')}",
            description="What is wrong with it, why, and for how long? As the exporter judges it; the reason is the"
            " gateway's.",
            columns=("problem", "reason"),
            values={"Value": ("for", "s")},
            height=6,
        ),
        firing_alerts(ALERTS, height=6),
    ],
)
STORY = Row(
    "History",
    [
        timeline(
            "Status over time",
            status_code(ONE_SESSION),
            "{{session}}",
            description="What did it go through? Its status over time. Stays shorter than the step of the panel are in"
            " its log only.",
        ),
        problems_over_time(
            "Problems over time",
            f"{problems(ONE_SESSION)} > bool 0",
            description="What was wrong with it meanwhile? One row a problem, drawn while it lasted; nothing while it"
            " belonged to an outage.",
        ),
        firing_over_time(
            "Alerts over time",
            " or ".join(
                f'{code} * max by (alertname) (ALERTS{{{FIRING}{ALERTS},severity="{severity}"}})'
                for code, severity in ((3, "critical"), (2, "warning"), (1, "info"))
            ),
            description="Which alerts fired meanwhile? One row an alert, drawn while it fired, in the colour of its"
            " severity.",
        ),
        bars(
            "Time by status",
            f"sum by (status) ({spent(ONE_SESSION, '$__range')}) > 0",
            "{{status}}",
            description="Where did its time go? Time in each status in the range above.",
            unit="s",
        ),
        bars(
            "Entries by status",
            f"sum by (to) (max by ({BY_SESSION}, to)"
            f" (increase(wawp_session_transitions_total{{{ONE_SESSION}}}[$__range]))) > 0.5",
            "{{to}}",
            description="How often did it enter each status? Entries in the range above. Prometheus extrapolates: a"
            " figure may be a little off a whole number.",
            unit="short",
        ),
        stays("Usual stay by status", 0.5, "Half"),
        stays("Longest stays by status", 0.9, "Nine in ten"),
    ],
)
MESSAGES = Row(
    "Messages",
    [
        last_message("Last received", "in", "received", "Somebody may write to it: see whether it arrives."),
        last_message("Last sent", "out", "sent", "An own message, however it was sent."),
        figure(
            "Unacknowledged for",
            f"sum({age(UNACKNOWLEDGED, ONE_SESSION)}) or 0 * max({UNACKNOWLEDGED}{{{ONE_SESSION}}})",
            description="Do its messages leave? For how long the oldest own message has had no acknowledgement of"
            " WhatsApp's server; 0 while none is missing.",
            unit="s",
            steps=ANY_IS_A_WARNING,
            width=8,
        ),
        series(
            "Messages an hour",
            (f"3600 * max by (direction) (rate(wawp_session_messages_total{{{ONE_SESSION}}}[$__rate_interval]))",
             "{{direction}}"),
            description="Does anything come and go? Messages that the gateway reported, in and out; nothing, where it"
            " reports none.",
            width=24,
            height=6,
        ),
    ],
)  # fmt: skip
RELIABILITY = Row(
    "Reliability",
    [
        *reliability("24h", "1 day", 86_400),
        *reliability("7d", "7 days", 7 * 86_400),
        *reliability("30d", "30 days", 30 * 86_400),
        figure(
            "MTTR",
            f"(sum({spent(COUNTED, '$__range')}) - sum({spent(WORKING, '$__range')})) / ({entries('WORKING')} > 0.5)",
            description="How long did it take to come back? Mean time to recovery in the range: time neither WORKING,"
            " STOPPED nor UNKNOWN, for each entry into WORKING.",
            unit="s",
            width=6,
        ),
        figure(
            "MTBF",
            f"sum({spent(WORKING, '$__range')}) / ({entries('WORKING')} > 0.5)",
            description="How long did it work between failures? Mean time between failures in the range: WORKING time"
            " for each entry into WORKING.",
            unit="s",
            width=6,
        ),
        figure(
            "Mean scan time",
            f"sum({spent(SCANNING, '$__range')}) / ({entries('SCAN_QR_CODE')} > 0.5)",
            description="How long did people take to scan? Time in SCAN_QR_CODE for each entry into it, in the range.",
            unit="s",
            width=6,
        ),
        figure(
            "Times lost",
            entries("FAILED|DISCONNECTED"),
            description="How often was it lost? Entries into FAILED and DISCONNECTED in the range.",
            decimals=0,
            steps=PLAIN,
            width=6,
        ),
    ],
)
MORE = Row(
    "About it",
    [
        rows(
            "Owner and recurring hours",
            info(ONE_SESSION, "engine", "group", "owner", "tier"),
            f"max by ({BY_SESSION}, weekday, hour) (wawp_session_recurring_disconnects{{{ONE_SESSION}}})",
            description="Who owns it, and in which hours does it fail again and again? Configured metadata; and hours"
            " of the week in which it was lost in 3 of the last 8 weeks or more.",
            columns=("source", "session", "engine", "group", "owner", "tier", "weekday", "hour"),
            values={"Value #B": ("weeks", "short")},
            width=24,
            height=5,
        ),
    ],
)

BOARD = Board(
    name="session",
    question="What happened to this session?",
    about="One WhatsApp session as wawp-exporter exports it: status, problems, alerts, uptime, and times to recovery.",
    rows=(NOW, TROUBLE, STORY, MESSAGES, RELIABILITY, MORE),
    variables=(
        source(several=False),
        variable(
            "session", f'label_values(wawp_session_info{{{JOB},source="$source"}}, session)', "Session", several=False
        ),
    ),
    alerts=ALERTS,
    links=(
        away("Its log", f"/sessions/${{source:percentencode}}/${{session:percentencode}}?{SPAN}"),
        away(
            "Its log of this range (JSON)",
            f"/api/v1/transitions?source=${{source:percentencode}}&session=${{session:percentencode}}&{SPAN}",
        ),
    ),
)
