"""Is the fleet up, and is trouble one device or the platform?"""

from grafana_foundation_sdk.builders.dashboard import CustomVariable
from grafana_foundation_sdk.models.dashboard import VariableOption

from grafana.board import Board, Row, engine, source, variable
from grafana.look import ANY_IS_A_WARNING, ANY_IS_BAD, MORE_IS_BETTER, limit
from grafana.panels import by_status, figure, firing_alerts, heatmap, matrix, rows, series, session_links
from grafana.queries import (
    BY_SESSION,
    DOWN,
    ENGINE,
    FIRING,
    JOB,
    SESSIONS,
    age,
    fleet,
    groups,
    info,
    quantile,
    ratio,
    status_code,
)

COUNTED = 'status!="STOPPED"'


def sessions(matchers: str, by: str = "") -> str:
    """How many sessions are in statuses that match."""
    return fleet(f"wawp_sessions{{{ENGINE},{matchers}}}", by, "status")


def changes(matchers: str, window: str, by: str) -> str:
    """Changes of status in a window."""
    return fleet(f"increase(wawp_transitions_total{{{ENGINE},{matchers}}}[{window}])", by, "from, to")


# One row a session in the first two tables: `topk` first, so that the joins are small at 10,000 sessions.
KNOWN = f"group_left (engine, group, owner) {info(SESSIONS, 'engine', 'group', 'owner')}"
CURRENT = (
    f"topk by ({BY_SESSION}) (1, max by ({BY_SESSION}, status) "
    f'(wawp_session_status{{{SESSIONS},status!~"{DOWN}"}} == 1))'
)
SHOWN = ("source", "session", "status", "engine", "group", "owner")


def longest(metric: str) -> str:
    """The sessions for which a time is longest ago, with their status and metadata."""
    oldest = f"topk($limit, {age(metric, SESSIONS)})"
    return f"{oldest}\n  * on ({BY_SESSION}) group_left (status) {CURRENT}\n  * on ({BY_SESSION}) {KNOWN}"


# The sessions of the heatmap: first those that are down, then those whose status changed last. They are found once for
# each look at the dashboard, and the heatmap then asks for them by name: 10,000 sessions cost it no more than 50.
RECENT = (
    f"topk($limit, max by ({BY_SESSION}) (wawp_session_status_since_timestamp_seconds{{{SESSIONS}}})"
    f" + on ({BY_SESSION}) 1e10 * (max by ({BY_SESSION}) (wawp_session_down_since_timestamp_seconds{{{SESSIONS}}})"
    f" > bool 0)"
    f' and on ({BY_SESSION}) wawp_session_info{{{JOB},engine=~"$engine",group=~"$group"}})'
)
VARIABLES = (
    source(),
    engine(),
    variable("group", f'label_values(wawp_session_info{{{JOB},source=~"$source"}}, group)', "Group").all_value(".*"),
    variable(
        "session",
        f'label_values(wawp_session_info{{{JOB},source=~"$source",engine=~"$engine",group=~"$group"}}, session)',
        "Session",
    ).all_value(".*"),
    CustomVariable("limit").label("At most").values("50,200,1000").current(VariableOption(text="50", value="50")),
    variable("shown", f"query_result({RECENT})", "Sessions of the heatmap", hidden=True).regex('/session="([^"]+)"/'),
)

UP = Row(
    "Is the fleet up?",
    [
        figure(
            "How much of the fleet works?",
            ratio(sessions('status="WORKING"'), sessions(COUNTED)),
            description="Sessions that are WORKING, of all that are not STOPPED (which is somebody's decision).",
            unit="percentunit",
            steps=MORE_IS_BETTER,
        ),
        figure(
            "How many sessions are not working?",
            sessions(f'status!~"{DOWN}"'),
            description="Sessions in any status but WORKING and STOPPED.",
            steps=ANY_IS_A_WARNING,
        ),
        figure(
            "How many wait for somebody to log in?",
            f"count(max by ({BY_SESSION}) (wawp_session_auth_required_since_timestamp_seconds{{{SESSIONS}}}) > 0)"
            " or vector(0)",
            description="Sessions in a login episode: a QR code or a passkey is wanted, whatever they go through"
            " meanwhile.",
            steps=ANY_IS_A_WARNING,
        ),
        figure(
            "How many groups have no working member?",
            f"count({groups('wawp_group_working_sessions')} == 0 and {groups('wawp_group_eligible_sessions')} > 0)"
            " or vector(0)",
            description="Failover groups in which no member works, though some should.",
            steps=ANY_IS_BAD,
        ),
        figure(
            "How many alerts fire?",
            f"count(group by (alertname, source, engine, group, session) (ALERTS{{{FIRING}}})) or vector(0)",
            description="Firing alerts of this project, without the watchdog, whatever is selected above.",
            steps=ANY_IS_A_WARNING,
        ),
        figure(
            "How many sessions are there?",
            sessions('status=~".+"'),
            description="All that the exporter counts, STOPPED ones and those without series of their own too.",
        ),
    ],
)

TROUBLE = Row(
    "Is it one device or the platform?",
    [
        heatmap(
            "Status heatmap: a stripe down is the platform, a line across is a phone",
            status_code(f'{JOB},source=~"$source",session=~"$shown"'),
            "{{source}} / {{session}}",
            description="The sessions that are down, then those whose status changed last, as many as “At most”"
            " says. With"
            " more sessions than can be read, look at the groups and engines below.",
            height=20,
            links=session_links("__field.labels"),
        ),
        heatmap(
            "Which groups are hit?",
            ratio(groups("wawp_group_working_sessions"), groups("wawp_group_eligible_sessions")),
            "{{group}}",
            description="Share of the members that should work and do. The heatmap for fleets too large to read by"
            " session.",
            unit="percentunit",
            steps=MORE_IS_BETTER,
            width=12,
            height=8,
            mapped=False,
        ),
        heatmap(
            "Which engines are hit?",
            ratio(sessions('status="WORKING"', "source, engine"), sessions(COUNTED, "source, engine")),
            "{{source}} / {{engine}}",
            description="Share of the sessions that work, of those that are not STOPPED, by source and engine.",
            unit="percentunit",
            steps=MORE_IS_BETTER,
            width=12,
            height=8,
            mapped=False,
        ),
        by_status(
            "How many sessions are in which status?",
            sessions('status=~".+"', "status") + " > 0",
            description="Sessions by status; statuses without sessions are left out.",
        ),
        series(
            "Are enough lost at once for a mass alert?",
            (sessions('status=~"DISCONNECTED|FAILED"', "source, engine"), "{{source}} / {{engine}}"),
            (
                f"clamp_max(clamp_min(0.2 * {sessions(COUNTED, 'source, engine')}, 3), 25)",
                "mass: {{source}} / {{engine}}",
            ),
            description="DISCONNECTED and FAILED sessions by engine, beside the number from which a mass alert fires:"
            " a fifth of those not STOPPED, at least 3, at most 25. The alert also counts long reconnects.",
        ),
        series(
            "How many sessions are lost per minute?",
            (
                "60 * "
                + fleet(
                    f'rate(wawp_transitions_total{{{ENGINE},from="WORKING",to!="STOPPED"}}[$__rate_interval])',
                    "source, engine",
                    "from, to",
                ),
                "{{source}} / {{engine}}",
            ),
            description="Sessions that left WORKING for anything but STOPPED, per minute.",
            unit="cpm",
        ),
        matrix(
            "What changes into what?",
            changes('to=~".+"', "$__range", "from, to") + " > 0.5",
            row="from",
            column="to",
            description="Transitions in the range above, from (down) to (across). NONE: the session's first event.",
        ),
    ],
)

PEOPLE = Row(
    "Who needs a human?",
    [
        rows(
            "Which sessions are down, and for how long?",
            longest("wawp_session_down_since_timestamp_seconds"),
            description="Since they left WORKING or STOPPED, in whatever statuses since. A click opens the session.",
            columns=SHOWN,
            values={"Value": ("down for", "s")},
            links={"session": session_links("__data.fields")},
            sort="down for",
        ),
        rows(
            "Who waits for a login, and for how long?",
            longest("wawp_session_auth_required_since_timestamp_seconds"),
            description="Since the first QR code or passkey request. Only a person with the phone can end it.",
            columns=SHOWN,
            values={"Value": ("waits for", "s")},
            links={"session": session_links("__data.fields")},
            sort="waits for",
        ),
        firing_alerts(""),
        rows(
            "Which groups have a working member?",
            groups("wawp_group_working_sessions"),
            groups("wawp_group_eligible_sessions"),
            groups("wawp_group_sessions"),
            description="Failover groups: members that work, members that should (neither STOPPED nor in maintenance),"
            " and all.",
            columns=("group",),
            values={
                "Value #A": ("working", "short"),
                "Value #B": ("eligible", "short"),
                "Value #C": ("members", "short"),
            },
        ),
    ],
)


def waits(metric: str, matchers: str = "") -> list[tuple[str, str]]:
    """Half and nine tenths of the waits that ended about that time."""
    buckets = f"increase({metric}_bucket{{{ENGINE}{matchers}}}[$__rate_interval])"
    return [(quantile(0.5, buckets), "half within"), (quantile(0.9, buckets), "nine in ten within")]


TIMES = Row(
    "Do they come back in time?",
    [
        series(
            "How long does a start take?",
            *waits("wawp_start_duration_seconds", ',outcome="working"'),
            description="From STARTING to WORKING. At 60 s a start counts as stuck.",
            unit="s",
            steps=limit(60),
            width=8,
            interval="30m",
        ),
        series(
            "How long do people take to scan?",
            *waits("wawp_qr_wait_duration_seconds", ',outcome="working"'),
            description="From the first QR code to WORKING. After 300 s it is escalated.",
            unit="s",
            steps=limit(300),
            width=8,
            interval="1h",
        ),
        series(
            "How long until a lost session works again?",
            *waits("wawp_recovery_duration_seconds"),
            description="From leaving WORKING until WORKING again, whatever lies between.",
            unit="s",
            steps=limit(900),
            width=8,
            interval="1h",
        ),
    ],
)

BOARD = Board(
    name="fleet",
    question="Is the fleet up, and is trouble one device or the platform?",
    rows=(UP, TROUBLE, PEOPLE, TIMES),
    variables=VARIABLES,
)
