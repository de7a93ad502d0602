"""Every operation over HTTP, as one table: the routes and the OpenAPI document are made from it."""

import msgspec

from wawp_exporter.audit.audit import Audit
from wawp_exporter.gateways.notification import Taken
from wawp_exporter.metrics.exposition import OPENMETRICS_TYPE, TEXT_TYPE
from wawp_exporter.model.outcome import Outcome
from wawp_exporter.web.api.audits import AuditQuery
from wawp_exporter.web.api.groups import Active, Groups
from wawp_exporter.web.api.preflight import NotReady, Ready
from wawp_exporter.web.api.problems import Problems
from wawp_exporter.web.api.restart import Restarting
from wawp_exporter.web.api.sessions import Sessions, SessionsQuery, SessionView
from wawp_exporter.web.api.transitions import Transitions, TransitionsQuery
from wawp_exporter.web.openapi import Answer, ErrorBody, Operation

SESSION = "/api/v1/sessions/{source}/{session:name}"


class Accepted(msgspec.Struct, frozen=True):
    """What became of a webhook."""

    outcome: Outcome


NO_SESSION = Answer("No such session is known.", ErrorBody)
FORBIDDEN = Answer("No token is configured, and the caller is not certainly on this machine.", ErrorBody)
UNREADABLE = Answer("The event log cannot be read; try again.", ErrorBody, headers=("Retry-After",))
BUSY = Answer("The event log cannot be written; try again.", ErrorBody, headers=("Retry-After",))
PLAIN = ("text/plain",)
HTML = ("text/html",)


def media_of(content_type: str) -> str:
    """A content type without its parameters."""
    return content_type.partition(";")[0]


OPERATIONS = (
    Operation(
        "GET",
        "/api/v1/sessions",
        "All sessions, a page at a time.",
        {200: Answer("Those that match, by source and name.", Sessions)},
        SessionsQuery,
    ),
    # Before the one session: its name may be anything, and would take the rest of the path.
    Operation(
        "GET",
        SESSION + "/ready",
        "The pre-flight check: may a message be sent now?",
        {
            200: Answer("The session is WORKING.", Ready),
            404: NO_SESSION,
            503: Answer("It is not.", NotReady, headers=("Retry-After",)),
        },
    ),
    Operation(
        "GET",
        SESSION + "/qr",
        "The QR code to scan, as soon as there is one; needs `sources.*.api`.",
        {
            200: Answer("The image, never to be kept.", media=("image/png",)),
            403: FORBIDDEN,
            404: Answer("No such session is known, or its source has no api.", ErrorBody),
            409: Answer("The session does not wait for a scan.", ErrorBody),
            503: Answer("The gateway has none yet; try again.", ErrorBody, headers=("Retry-After",)),
        },
    ),
    Operation(
        "POST",
        SESSION + "/restart",
        "Restarts a session through its gateway, within the limits of `remedy`; needs `sources.*.api`.",
        {
            202: Answer("The restart has begun.", Restarting),
            303: Answer("The same, to a browser: it goes back to the session's page.", headers=("Location",)),
            403: FORBIDDEN,
            404: Answer("No such session is known, or its source has no api.", ErrorBody),
            409: Answer("It is not restarted; the error says why.", ErrorBody),
            503: BUSY,
        },
    ),
    Operation(
        "GET",
        SESSION,
        "One session.",
        {200: Answer("The session as it is now.", SessionView), 404: NO_SESSION},
    ),
    Operation(
        "DELETE",
        SESSION,
        "Forget a session: all its series vanish together, its history stays.",
        {204: Answer("It is forgotten."), 403: FORBIDDEN, 404: NO_SESSION, 503: BUSY},
    ),
    Operation(
        "GET",
        "/api/v1/problems",
        "Which sessions need somebody, and the outages: the same judgement as in metrics, alerts and pages.",
        {200: Answer("Those that match, by source, session and problem.", Problems)},
        SessionsQuery,
    ),
    Operation("GET", "/api/v1/groups", "All failover groups.", {200: Answer("The groups.", Groups)}),
    Operation(
        "GET",
        "/api/v1/groups/{group:name}/active",
        "The first WORKING member of a group in failover order; maintenance is skipped.",
        {
            200: Answer("The member that serves now.", Active),
            404: Answer("No such group is configured.", ErrorBody),
            503: Answer("No member can serve.", ErrorBody, headers=("Retry-After",)),
        },
    ),
    Operation(
        "GET",
        "/api/v1/transitions",
        "The transition log, newest first.",
        {200: Answer("Those that match.", Transitions), 503: UNREADABLE},
        TransitionsQuery,
    ),
    Operation(
        "GET",
        "/api/v1/audit",
        "The uptime audit: how reliable sessions were, and when they fail.",
        {200: Answer("The report; each figure is defined in docs/audit.md.", Audit, ("text/csv",)), 503: UNREADABLE},
        AuditQuery,
    ),
    Operation(
        "GET",
        "/api/v1/events",
        "Server-sent events: transitions, and what is judged of sessions; `Last-Event-ID` goes on where it was cut.",
        {
            200: Answer(
                "A stream of `transition`, `problems`, `outage`, `deleted` and `reset` events.",
                media=("text/event-stream",),
            ),
            400: Answer("Last-Event-ID is not one that was given out.", ErrorBody),
            503: Answer("All streams are taken.", ErrorBody, headers=("Retry-After",)),
        },
    ),
    Operation(
        "GET",
        "/metrics",
        "The exposition, in the format that Accept asks for.",
        {200: Answer("The metrics.", media=(media_of(TEXT_TYPE), media_of(OPENMETRICS_TYPE)))},
    ),
    Operation(
        "GET",
        "/-/healthy",
        "Whether the process answers, and nothing in it has ended that only a restart brings back.",
        {200: Answer("It does.", media=PLAIN), 503: Answer("Restart it.", ErrorBody)},
        secured=False,
    ),
    Operation(
        "GET",
        "/-/ready",
        "Whether the log is replayed and writable.",
        {200: Answer("It is.", media=PLAIN), 503: Answer("It is not.", ErrorBody)},
        secured=False,
    ),
    Operation(
        "POST",
        "/-/reload",
        "Reads the configuration again; a bad one is refused and the old one stays.",
        {
            200: Answer("The new one is in force.", dict),
            400: Answer("The mistakes.", ErrorBody),
            403: Answer("It is switched off, or the caller may not.", ErrorBody),
            503: Answer("Several reloads wait already; try again.", ErrorBody, headers=("Retry-After",)),
        },
    ),
    Operation(
        "POST",
        "/alertmanager",
        "Alertmanager's webhook: restarts the sessions of those alerts that `remedy.alerts` names.",
        {
            200: Answer("What is being done, and what is not.", Taken),
            400: Answer("Not a notification of Alertmanager.", ErrorBody),
            403: FORBIDDEN,
            404: Answer("It is not configured.", ErrorBody),
            413: Answer("The body is over 4 MiB.", ErrorBody),
            503: BUSY,
        },
        body={"required": True, "content": {"application/json": {"schema": {"type": "object"}}}},
    ),
    Operation("GET", "/api/openapi.json", "This document.", {200: Answer("The document.", dict)}),
)

# They are answered before routes are looked at, and described here all the same.
WEBHOOKS = tuple(
    Operation(
        "POST",
        path,
        "A webhook of the gateway; it is answered when it is durable.",
        {
            200: Answer("What became of it.", Accepted),
            400: Answer("Not JSON, or not an object.", ErrorBody),
            401: Answer("The signature or the token is missing or wrong.", ErrorBody),
            404: Answer("Unknown source.", ErrorBody),
            408: Answer("The body did not arrive in time.", ErrorBody),
            413: Answer("The body is over 256 KiB.", ErrorBody),
            415: Answer("The body is compressed.", ErrorBody),
            422: Answer("A `session.status` event without a usable session or status.", ErrorBody),
            503: BUSY,
        },
        secured=False,
        body={"required": True, "content": {"application/json": {"schema": {"type": "object"}}}},
    )
    for path in ("/webhook", "/webhook/{source}")
)
