"""The metrics of a session, one entry each."""

from collections.abc import Callable

from wawp_exporter.metrics.text import NOTHING_OBSERVED, Family, escape, fill, histogram_lines, seconds, template
from wawp_exporter.model.activity import Activity
from wawp_exporter.model.bucket import ORDINAL
from wawp_exporter.model.event import Restriction
from wawp_exporter.model.session import WEEKDAYS, Session

# -- one session ----------------------------------------------------------------------------------------------------


def info_lines(session: Session, labels: str) -> str:
    """Engine and metadata."""
    meta = session.meta
    return (
        f'wawp_session_info{{{labels},engine="{escape(session.engine)}",group="{escape(meta.group)}",'
        f'owner="{escape(meta.owner)}",tier="{escape(meta.tier)}"}} 1\n'
    )


def status_lines(session: Session, labels: str) -> str:
    """A line for each status; exactly one is 1."""
    now, statuses = session.state.status, session.statuses()
    return fill(template("wawp_session_status", "status", statuses, "%d"), labels, [s is now for s in statuses])


def since_lines(session: Session, labels: str) -> str:
    """The entry into the current status."""
    return f"wawp_session_status_since_timestamp_seconds{{{labels}}} {seconds(session.state.since)}\n"


def auth_lines(session: Session, labels: str) -> str:
    """The login episode."""
    return f"wawp_session_auth_required_since_timestamp_seconds{{{labels}}} {seconds(session.state.auth_since)}\n"


def down_lines(session: Session, labels: str) -> str:
    """The down episode."""
    return f"wawp_session_down_since_timestamp_seconds{{{labels}}} {seconds(session.state.down_since)}\n"


def maintenance_lines(session: Session, labels: str) -> str:
    """Whether a window is open."""
    return f"wawp_session_maintenance{{{labels}}} {int(session.maintenance)}\n"


def transition_lines(session: Session, labels: str) -> str:
    """Entries to each status."""
    statuses = session.statuses()
    counts = [session.transitions[ORDINAL[status]] for status in statuses]
    return fill(template("wawp_session_transitions_total", "to", statuses, "%d"), labels, counts)


def resting_seconds_lines(session: Session, labels: str) -> str:
    """The seconds of the statuses that it is not in now; they do not change with time."""
    now = session.state.status
    statuses = tuple([status for status in session.statuses() if status is not now])
    values = [session.seconds[ORDINAL[status]] for status in statuses]
    return fill(template("wawp_session_status_seconds_total", "status", statuses, "%.3f"), labels, values)


def stay_lines(session: Session, labels: str) -> str:
    """The lengths of its finished stays in each status."""
    name = "wawp_session_status_duration_seconds"
    return "".join(
        histogram_lines(name, f'{labels},status="{status.value}"', session.stays.get(status, NOTHING_OBSERVED))
        for status in session.statuses()
    )


def threshold_lines(session: Session, labels: str) -> str:
    """The limits that the configuration overrides for it."""
    return "".join(
        f'wawp_session_threshold_seconds{{{labels},kind="{kind}"}} {value:.3f}\n'
        for kind, value in session.meta.thresholds
    )


def recurring_lines(session: Session, labels: str) -> str:
    """The hours of the week in which it disconnects again and again; none in maintenance, which excuses it."""
    if session.maintenance:
        return ""
    return "".join(
        f'wawp_session_recurring_disconnects{{{labels},weekday="{WEEKDAYS[weekday]}",hour="{hour:02}"}} {weeks}\n'
        for (weekday, hour), weeks in sorted(session.recurring.items())
    )


def probe_success_lines(session: Session, labels: str) -> str:
    """Whether WhatsApp answered the last probe; none of a session that was not probed."""
    probe = session.probe
    return f"wawp_session_probe_success{{{labels}}} {int(not probe.failures)}\n" if probe else ""


def probe_duration_lines(session: Session, labels: str) -> str:
    """How long the last probe took."""
    probe = session.probe
    return f"wawp_session_probe_duration_seconds{{{labels}}} {seconds(probe.took_ms)}\n" if probe else ""


STAY_FAMILY = Family("wawp_session_status_duration_seconds", "histogram", "Length of each finished stay in a status.")
SECONDS_FAMILY = Family(
    "wawp_session_status_seconds_total", "counter", "Seconds spent in each status since the exporter started."
)
LAST_EVENT_FAMILY = Family(
    "wawp_session_last_event_timestamp_seconds",
    "gauge",
    "When an event of any kind was last accepted (Unix seconds), 0 if none.",
)
RESTRICTED_FAMILY = Family(
    "wawp_session_restricted", "gauge", "Whether WhatsApp limits the account; series exist once seen."
)
MESSAGES_FAMILY = Family("wawp_session_messages_total", "counter", "Messages that the gateway has reported.")
LAST_MESSAGE_FAMILY = Family(
    "wawp_session_last_message_timestamp_seconds", "gauge", "The time of the last message (Unix seconds)."
)
UNACKNOWLEDGED_FAMILY = Family(
    "wawp_session_unacknowledged_since_timestamp_seconds",
    "gauge",
    "When the oldest own message was sent that WhatsApp's server has not acknowledged (Unix seconds), 0 if none.",
)
# The families of a session, in order of output. The functions render lines that change with an event only.
SESSION_FAMILIES: tuple[tuple[Family, Callable[[Session, str], str]], ...] = (
    (Family("wawp_session_info", "gauge", "Always 1; engine and configured metadata."), info_lines),
    (
        Family("wawp_session_status", "gauge", "Whether the session is in the status; exactly one is 1."),
        status_lines,
    ),
    (
        Family(
            "wawp_session_status_since_timestamp_seconds",
            "gauge",
            "When the session entered its current status (Unix seconds).",
        ),
        since_lines,
    ),
    (
        Family(
            "wawp_session_auth_required_since_timestamp_seconds",
            "gauge",
            "When the login episode began (Unix seconds), 0 if there is none.",
        ),
        auth_lines,
    ),
    (
        Family(
            "wawp_session_down_since_timestamp_seconds",
            "gauge",
            "When the down episode began (Unix seconds), 0 if there is none.",
        ),
        down_lines,
    ),
    (
        Family("wawp_session_maintenance", "gauge", "Whether the session is in a maintenance window."),
        maintenance_lines,
    ),
    (Family("wawp_session_transitions_total", "counter", "Entries to each status."), transition_lines),
    (SECONDS_FAMILY, resting_seconds_lines),
    (STAY_FAMILY, stay_lines),
    (
        Family(
            "wawp_session_threshold_seconds",
            "gauge",
            "Limits that the configuration overrides for the session.",
        ),
        threshold_lines,
    ),
    (
        Family(
            "wawp_session_recurring_disconnects",
            "gauge",
            "In how many of the last 8 weeks it disconnected in this hour of the week; from 3 on, not in maintenance.",
        ),
        recurring_lines,
    ),
    (
        Family("wawp_session_probe_success", "gauge", "Whether WhatsApp answered the last probe of the session."),
        probe_success_lines,
    ),
    (
        Family("wawp_session_probe_duration_seconds", "gauge", "How long the last probe of the session took."),
        probe_duration_lines,
    ),
)
SECONDS_INDEX = next(i for i, (family, _) in enumerate(SESSION_FAMILIES) if family is SECONDS_FAMILY)
STAY_INDEX = next(i for i, (family, _) in enumerate(SESSION_FAMILIES) if family is STAY_FAMILY)


def restricted_lines(session: Session, labels: str, now: int) -> str:
    """A line for each restriction ever seen."""
    return "".join(
        f'wawp_session_restricted{{{labels},restriction="{restriction.value}"}} '
        f"{int(session.restricted(restriction, now))}\n"
        for restriction in Restriction
        if restriction in session.limits
    )


def by_direction(name: str, labels: str, received: str, sent: str) -> str:
    """A line for each direction that has a value."""
    lines = f'{name}{{{labels},direction="in"}} {received}\n' if received else ""
    return f'{lines}{name}{{{labels},direction="out"}} {sent}\n' if sent else lines


def message_lines(labels: str, activity: Activity) -> str:
    """How many messages came and were sent; a series exists once there was one."""
    return by_direction(MESSAGES_FAMILY.name, labels, str(activity.received or ""), str(activity.sent or ""))


def last_message_lines(labels: str, activity: Activity) -> str:
    """When the last one came, and when the last one was sent."""
    received, sent = (seconds(at) if at else "" for at in (activity.received_at, activity.sent_at))
    return by_direction(LAST_MESSAGE_FAMILY.name, labels, received, sent)


def unacknowledged_lines(labels: str, activity: Activity) -> str:
    """The oldest own message without an acknowledgement; the series exists once an own message was seen."""
    if not activity.sent:
        return ""
    return f"{UNACKNOWLEDGED_FAMILY.name}{{{labels}}} {seconds(activity.unacknowledged)}\n"


# They change with each message, and are rendered where there may have been one since the last scrape.
MESSAGE_FAMILIES: tuple[tuple[Family, Callable[[str, Activity], str]], ...] = (
    (MESSAGES_FAMILY, message_lines),
    (LAST_MESSAGE_FAMILY, last_message_lines),
    (UNACKNOWLEDGED_FAMILY, unacknowledged_lines),
)
MOVING_FAMILIES = (LAST_EVENT_FAMILY, *(family for family, _ in MESSAGE_FAMILIES))
FAMILY_COUNT = len(SESSION_FAMILIES) + 1
