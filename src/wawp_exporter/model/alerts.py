"""The alert that reads each problem, and each kind of outage."""

from wawp_exporter.model.facts import Problem
from wawp_exporter.model.outage import Kind

ALERTS: dict[Problem, str] = {
    Problem.LOGIN: "WawpSessionQrWaiting",
    Problem.LOGIN_OVERDUE: "WawpSessionQrEscalated",
    Problem.LOGIN_UNATTENDED: "WawpSessionQrUnattended",
    Problem.DISCONNECTED: "WawpSessionDisconnected",
    Problem.FAILED: "WawpSessionFailed",
    Problem.STUCK_STARTING: "WawpSessionStuckStarting",
    Problem.FLAPPING: "WawpSessionFlapping",
    Problem.DOWN: "WawpSessionNotWorking",
    Problem.REACHOUT_TIMELOCK: "WawpSessionRestricted",
    Problem.MESSAGE_CAPPING: "WawpSessionRestricted",
    Problem.SILENT: "WawpSessionSilent",
    Problem.UNDELIVERED: "WawpSessionUndelivered",
    Problem.UNRESPONSIVE: "WawpSessionUnresponsive",
}
MASS_ALERTS: dict[Kind, str] = {
    Kind.DISCONNECT: "WawpMassDisconnect",
    Kind.REAUTH: "WawpMassReauth",
    Kind.SILENCE: "WawpMassSilence",
}
