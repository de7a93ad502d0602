"""What happened to this session?"""

from grafana.board import Board, Row, away, source, variable
from grafana.look import ANY_IS_A_WARNING, MORE_IS_BETTER, PLAIN
from grafana.panels import SPAN, bars, figure, firing_alerts, rows, timeline
from grafana.queries import BY_SESSION, FIRING, JOB, ONE_SESSION, age, info, spent, status_code

COUNTED = f'{ONE_SESSION},status!~"STOPPED|UNKNOWN"'
WORKING = f'{ONE_SESSION},status="WORKING"'
SCANNING = f'{ONE_SESSION},status="SCAN_QR_CODE"'
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


def reliability(window: str, words: str, seconds: int) -> list[object]:
    """Uptime of a window, and beside it how much of the window is known."""
    return [
        figure(
            f"How reliable was it in {words}?",
            uptime(window),
            description="WORKING time, of all but STOPPED and UNKNOWN. Counted by the exporter to the second; events"
            " that came late are only in the audit.",
            unit="percentunit",
            steps=MORE_IS_BETTER,
            decimals=3,
        ),
        figure(
            f"How much of {words} is known?",
            coverage(window, seconds),
            description="Time for which Prometheus has figures of this session; judge the uptime by it.",
            unit="percentunit",
            steps=MORE_IS_BETTER,
            decimals=1,
        ),
    ]


NOW = Row(
    "How is it now?",
    [
        figure(
            "Which status is it in?",
            status_code(ONE_SESSION),
            description="The status that the gateway last reported.",
            unit="none",
            mapped=True,
        ),
        figure(
            "Since when?",
            f"1000 * max(wawp_session_status_since_timestamp_seconds{{{ONE_SESSION}}})",
            description="Entry into the status; repeats of the same status do not move it.",
            unit="dateTimeFromNow",
        ),
        figure(
            "For how long has it been down?",
            f"sum({age('wawp_session_down_since_timestamp_seconds', ONE_SESSION)}) or vector(0)",
            description="Since it left WORKING or STOPPED, whatever it went through since; 0 while it is not down.",
            unit="s",
            steps=ANY_IS_A_WARNING,
        ),
        figure(
            "For how long has it waited for a login?",
            f"sum({age('wawp_session_auth_required_since_timestamp_seconds', ONE_SESSION)}) or vector(0)",
            description="Since the first QR code or passkey request; 0 while none is wanted.",
            unit="s",
            steps=ANY_IS_A_WARNING,
        ),
        figure(
            "When was it last heard of?",
            f"1000 * max(wawp_session_last_event_timestamp_seconds{{{ONE_SESSION}}} > 0)",
            description="The last event of any kind that the exporter accepted. A healthy session can be silent for"
            " days.",
            unit="dateTimeFromNow",
        ),
        figure(
            "How many restrictions of WhatsApp is it under?",
            f"sum(max by (restriction) (wawp_session_restricted{{{ONE_SESSION}}})) or vector(0)",
            description="WORKING, but WhatsApp limits the account (reachout_timelock, message_capping).",
            steps=ANY_IS_A_WARNING,
        ),
    ],
)
STORY = Row(
    "What happened to it?",
    [
        timeline(
            "What did it go through?",
            status_code(ONE_SESSION),
            "{{session}}",
            description="Its status over time. Stays shorter than the step of the panel are in its log only.",
        ),
        timeline(
            "Which alerts fired meanwhile?",
            " or ".join(
                f'{code} * max by (alertname) (ALERTS{{{FIRING}{ALERTS},severity="{severity}"}})'
                for code, severity in ((3, "critical"), (2, "warning"), (1, "info"))
            ),
            "{{alertname}}",
            description="One row an alert, drawn while it fired, in the colour of its severity.",
            alerts=True,
        ),
        bars(
            "Where did its time go?",
            f"sum by (status) ({spent(ONE_SESSION, '$__range')}) > 0",
            "{{status}}",
            description="Time in each status in the range above.",
            unit="s",
        ),
        bars(
            "How often did it enter each status?",
            f"sum by (to) (max by ({BY_SESSION}, to)"
            f" (increase(wawp_session_transitions_total{{{ONE_SESSION}}}[$__range]))) > 0.5",
            "{{to}}",
            description="Entries in the range above. Prometheus extrapolates: a figure may be a little off a whole"
            " number.",
            unit="short",
        ),
    ],
)
RELIABILITY = Row(
    "How reliable was it?",
    [
        *reliability("24h", "the last day", 86_400),
        *reliability("7d", "the last week", 7 * 86_400),
        *reliability("30d", "the last month", 30 * 86_400),
        figure(
            "How long did it take to come back?",
            f"(sum({spent(COUNTED, '$__range')}) - sum({spent(WORKING, '$__range')})) / ({entries('WORKING')} > 0.5)",
            description="MTTR of the range: time neither WORKING, STOPPED nor UNKNOWN, for each entry into WORKING.",
            unit="s",
            width=6,
        ),
        figure(
            "How long did it work between failures?",
            f"sum({spent(WORKING, '$__range')}) / ({entries('WORKING')} > 0.5)",
            description="MTBF of the range: WORKING time for each entry into WORKING.",
            unit="s",
            width=6,
        ),
        figure(
            "How long did people take to scan?",
            f"sum({spent(SCANNING, '$__range')}) / ({entries('SCAN_QR_CODE')} > 0.5)",
            description="Time in SCAN_QR_CODE for each entry into it, in the range.",
            unit="s",
            width=6,
        ),
        figure(
            "How often was it lost?",
            entries("FAILED|DISCONNECTED"),
            description="Entries into FAILED and DISCONNECTED in the range.",
            decimals=0,
            steps=PLAIN,
            width=6,
        ),
    ],
)
MORE = Row(
    "What else is known?",
    [
        firing_alerts(ALERTS),
        rows(
            "Who owns it, and in which hours does it fail again and again?",
            info(ONE_SESSION, "engine", "group", "owner", "tier"),
            f"max by ({BY_SESSION}, weekday, hour) (wawp_session_recurring_disconnects{{{ONE_SESSION}}})",
            description="Configured metadata; and hours of the week in which it was lost in 3 of the last 8 weeks"
            " or more.",
            columns=("source", "session", "engine", "group", "owner", "tier", "weekday", "hour"),
            values={"Value #B": ("weeks", "short")},
        ),
    ],
)

BOARD = Board(
    name="session",
    question="What happened to this session?",
    rows=(NOW, STORY, RELIABILITY, MORE),
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
