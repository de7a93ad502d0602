"""Is the fleet up, and is trouble one device or the platform?"""

from grafana_foundation_sdk.builders.dashboard import CustomVariable
from grafana_foundation_sdk.models.dashboard import VariableOption

from grafana.board import Board, Row, engine, source, variable
from grafana.look import ALL_IS_GOOD, ANY_IS_A_WARNING, ANY_IS_BAD, limit
from grafana.panels import (
    by_objective,
    by_status,
    figure,
    firing_alerts,
    heatmap,
    matrix,
    rows,
    series,
    session_links,
)
from grafana.queries import (
    BY_SESSION,
    DOWN,
    ENGINE,
    FIRING,
    JOB,
    SESSIONS,
    age,
    configured,
    fleet,
    groups,
    info,
    losses,
    outages,
    problems,
    quantile,
    ratio,
    status_code,
)

COUNTED = 'status!="STOPPED"'
JUDGED = f'{SESSIONS},engine=~"$engine",group=~"$group"'


def sessions(matchers: str, by: str = "") -> str:
    """How many sessions are in statuses that match."""
    return fleet(f"wawp_sessions{{{ENGINE},{matchers}}}", by, "status")


def changes(matchers: str, window: str, by: str) -> str:
    """Changes of status in a window."""
    return fleet(f"increase(wawp_transitions_total{{{ENGINE},{matchers}}}[{window}])", by, "from, to")


# One row a session in the table: `topk` first, so that the joins are small at 10,000 sessions.
KNOWN = f"group_left (engine, group, owner) {info(SESSIONS, 'engine', 'group', 'owner')}"
CURRENT = (
    f"topk by ({BY_SESSION}) (1, max by ({BY_SESSION}, status) "
    f'(wawp_session_status{{{SESSIONS},status!~"{DOWN}"}} == 1))'
)
LONGEST = f"topk($limit, {age('wawp_session_down_since_timestamp_seconds', SESSIONS)})"
# The sessions of the heatmap: first those that are down, then those whose status changed last. They are found once for
# each look at the dashboard, and the heatmap then asks for them by name: 10,000 sessions cost it no more than 50.
RECENT = (
    f"topk($limit, max by ({BY_SESSION}) (wawp_session_status_since_timestamp_seconds{{{SESSIONS}}})"
    f" + on ({BY_SESSION}) 1e10 * (max by ({BY_SESSION}) (wawp_session_down_since_timestamp_seconds{{{SESSIONS}}})"
    f" > bool 0)"
    f' and on ({BY_SESSION}) wawp_session_info{{{JOB},engine=~"$engine",group=~"$group"}})'
)
# A group of which a shard is not heard is not known to be down.
GROUPS_DOWN = (
    f"{groups('wawp_group_working_sessions')} == 0\n  and {groups('wawp_group_eligible_sessions')} > 0"
    f"\n  and {groups('wawp_group_sessions')} == {configured()}"
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
    "Now",
    [
        by_objective(
            figure(
                "Working",
                ratio(sessions('status="WORKING"'), sessions(COUNTED)),
                description="How much of the fleet works? Sessions that are WORKING, of all that are not STOPPED"
                " (which is somebody's decision). Green from the configured objective on.",
                unit="percentunit",
                width=3,
            )
        ),
        figure(
            "Not working",
            sessions(f'status!~"{DOWN}"'),
            description="How many sessions do not work? Those in any status but WORKING and STOPPED.",
            steps=ANY_IS_A_WARNING,
            width=3,
        ),
        figure(
            "Need a human",
            f"count(max by ({BY_SESSION}) (wawp_session_problem_since_timestamp_seconds{{{JUDGED}}})) or vector(0)",
            description="How many sessions need somebody? Those with a problem, as the exporter judges it; alerts and"
            " the exporter's pages say the same. Sessions of an outage are not among them.",
            steps=ANY_IS_A_WARNING,
            width=3,
        ),
        figure(
            "Wait for a login",
            f"count(max by ({BY_SESSION}) (wawp_session_auth_required_since_timestamp_seconds{{{SESSIONS}}}) > 0)"
            " or vector(0)",
            description="How many wait for somebody to log in? A QR code or a passkey is wanted, whatever they go"
            " through meanwhile.",
            steps=ANY_IS_A_WARNING,
            width=3,
        ),
        figure(
            "Outages",
            f"count({outages('wawp_outage_since_timestamp_seconds')}) or vector(0)",
            description="How many outages last? Many sessions of one engine lost, logged out or silent for one cause.",
            steps=ANY_IS_BAD,
            width=3,
        ),
        figure(
            "Groups down",
            f"count({GROUPS_DOWN}) or vector(0)",
            description="In how many failover groups does nobody work, though somebody should? Groups of which not all"
            " members are known here do not count.",
            steps=ANY_IS_BAD,
            width=3,
        ),
        figure(
            "Alerts",
            f"count(group by (alertname, source, engine, group, session) (ALERTS{{{FIRING}}})) or vector(0)",
            description="How many alerts fire? All of this project but the watchdog, whatever is selected above.",
            steps=ANY_IS_A_WARNING,
            width=3,
        ),
        figure(
            "Sessions",
            sessions('status=~".+"'),
            description="How many sessions are there? All that the exporter counts, STOPPED ones and those without"
            " series of their own too.",
            width=3,
        ),
    ],
)

PEOPLE = Row(
    "Who needs a human",
    [
        rows(
            "Problems",
            f"time() - bottomk($limit, {problems(JUDGED, 'engine', 'group', 'owner', 'reason')})",
            description="Which sessions need somebody, why, and for how long? As the exporter judges it: each line is"
            " what an alert is about. The reason is the gateway's. A click opens the session.",
            columns=("source", "session", "problem", "reason", "engine", "group", "owner"),
            values={"Value": ("for", "s")},
            links={"session": session_links("__data.fields")},
            sort="for",
            width=16,
        ),
        rows(
            "Outages that last",
            outages("wawp_outage_sessions"),
            f"time() - {outages('wawp_outage_since_timestamp_seconds')}",
            description="Which outages last, and how large are they? The sessions that are still lost, and the time"
            " since the first loss. Without a source: an outage of several.",
            columns=("source", "engine", "kind"),
            values={"Value #A": ("still lost", "short"), "Value #B": ("for", "s")},
            width=8,
        ),
        firing_alerts(""),
        rows(
            "Failover groups",
            groups("wawp_group_working_sessions"),
            groups("wawp_group_eligible_sessions"),
            groups("wawp_group_sessions"),
            configured(),
            description="Which groups have a working member? Members that work, that should (neither STOPPED nor in"
            " maintenance), that are known, and that are configured. Fewer known than configured: a shard is not"
            " heard.",
            columns=("group",),
            values={
                "Value #A": ("working", "short"),
                "Value #B": ("eligible", "short"),
                "Value #C": ("known", "short"),
                "Value #D": ("configured", "short"),
            },
        ),
    ],
)

TROUBLE = Row(
    "One device or the platform",
    [
        heatmap(
            "Status heatmap",
            status_code(f'{JOB},source=~"$source",session=~"$shown"'),
            "{{source}} / {{session}}",
            description="Is it one device or the platform? A stripe down is the platform, a line across is a phone."
            " The sessions that are down, then those whose status changed last, as many as “At most” says. With more"
            " sessions than can be read, look at the groups and engines below.",
            height=20,
            links=session_links("__field.labels"),
        ),
        heatmap(
            "Groups over time",
            ratio(groups("wawp_group_working_sessions"), groups("wawp_group_eligible_sessions")),
            "{{group}}",
            description="Which groups are hit? Share of the members that should work and do: all, some, none.",
            unit="percentunit",
            steps=ALL_IS_GOOD,
            width=12,
            height=8,
            mapped=False,
        ),
        by_objective(
            heatmap(
                "Engines over time",
                ratio(sessions('status="WORKING"', "source, engine"), sessions(COUNTED, "source, engine")),
                "{{source}} / {{engine}}",
                description="Which engines are hit? Share of the sessions that work, of those that are not STOPPED."
                " Green from the configured objective on, yellow while at most twice as many are lost as it allows.",
                unit="percentunit",
                width=12,
                height=8,
                mapped=False,
            )
        ),
        by_status(
            "Sessions by status",
            sessions('status=~".+"', "status") + " > 0",
            description="How many sessions are in which status? Statuses without sessions are left out.",
        ),
        series(
            "Sessions in outages",
            (outages("wawp_outage_sessions"), "{{source}} / {{engine}}: {{kind}}"),
            description="How large were the outages? The sessions of each that were still lost: disconnect, reauth"
            " (logged out) or silence. Nothing is drawn while there is no outage.",
        ),
        series(
            "Losses by reason",
            (losses("$__rate_interval"), "{{reason}}"),
            description="Why were sessions lost? Losses as the exporter counts them (a session that had worked, and is"
            " lost for longer than a restart takes), by the reason that the gateway gave.",
            bars=True,
            stacked=True,
            interval="5m",
        ),
        matrix(
            "Changes of status",
            changes('to=~".+"', "$__range", "from, to") + " > 0.5",
            row="from",
            column="to",
            description="What changes into what? Transitions in the range above, from (down) to (across). NONE: the"
            " session's first event.",
        ),
        rows(
            "Sessions that are down",
            f"{LONGEST}\n  * on ({BY_SESSION}) group_left (status) {CURRENT}\n  * on ({BY_SESSION}) {KNOWN}",
            description="Which sessions do not work, and for how long? Since they left WORKING or STOPPED, in whatever"
            " statuses since; those of outages, in maintenance, and those that are not yet a problem too.",
            columns=("source", "session", "status", "engine", "group", "owner"),
            values={"Value": ("down for", "s")},
            links={"session": session_links("__data.fields")},
            sort="down for",
            width=24,
        ),
    ],
)


def waits(metric: str, matchers: str = "") -> list[tuple[str, str]]:
    """Half and nine tenths of the waits that ended about that time."""
    return [
        (quantile(q, metric, f"{ENGINE}{matchers}", "$__rate_interval"), words)
        for q, words in ((0.5, "half within"), (0.9, "nine in ten within"))
    ]


TIMES = Row(
    "Times",
    [
        series(
            "Start time",
            *waits("wawp_start_duration_seconds", ',outcome="working"'),
            description="How long does a start take? From STARTING to WORKING. At 60 s a start counts as stuck.",
            unit="s",
            steps=limit(60),
            width=8,
            interval="30m",
        ),
        series(
            "Scan time",
            *waits("wawp_qr_wait_duration_seconds", ',outcome="working"'),
            description="How long do people take to scan? From the first QR code to WORKING. After 300 s it is"
            " escalated.",
            unit="s",
            steps=limit(300),
            width=8,
            interval="1h",
        ),
        series(
            "Recovery time",
            *waits("wawp_recovery_duration_seconds"),
            description="How long until a lost session works again? From leaving WORKING until WORKING again, whatever"
            " lies between.",
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
    about="Sessions of WhatsApp gateways (WAHA, Wawp, Evolution API, wppconnect-server) as wawp-exporter exports them:"
    " problems, outages, failover groups, and a status heatmap.",
    rows=(UP, PEOPLE, TROUBLE, TIMES),
    variables=VARIABLES,
)
