"""The series that rules may read, and their labels: the public contract, section 5."""

from wawp_exporter.model.facts import Problem
from wawp_exporter.model.outage import Kind

SESSION = {"source", "session"}
FLEET = {"source", "engine", "shard"}
OUTAGE = {"source", "engine", "kind"}
TARGET = {"job", "instance"}

SERIES: dict[str, set[str]] = {
    "wawp_session_info": SESSION | {"engine", "group", "owner", "tier"},
    "wawp_session_status": SESSION | {"status"},
    "wawp_session_status_since_timestamp_seconds": SESSION,
    "wawp_session_auth_required_since_timestamp_seconds": SESSION,
    "wawp_session_down_since_timestamp_seconds": SESSION,
    "wawp_session_last_event_timestamp_seconds": SESSION,
    "wawp_session_maintenance": SESSION,
    "wawp_session_restricted": SESSION | {"restriction"},
    "wawp_session_transitions_total": SESSION | {"to"},
    "wawp_session_status_seconds_total": SESSION | {"status"},
    "wawp_session_status_duration_seconds_bucket": SESSION | {"status", "le"},
    "wawp_session_threshold_seconds": SESSION | {"kind"},
    "wawp_session_recurring_disconnects": SESSION | {"weekday", "hour"},
    "wawp_sessions": FLEET | {"status"},
    "wawp_transitions_total": FLEET | {"from", "to"},
    "wawp_status_seconds_total": FLEET | {"status"},
    "wawp_slo_seconds_total": FLEET | {"result"},
    "wawp_start_duration_seconds": FLEET | {"outcome"},  # as a native histogram
    "wawp_start_duration_seconds_bucket": FLEET | {"outcome", "le"},
    "wawp_start_duration_seconds_count": FLEET | {"outcome"},
    "wawp_qr_wait_duration_seconds_bucket": FLEET | {"outcome", "le"},
    "wawp_recovery_duration_seconds_bucket": FLEET | {"le"},
    "wawp_group_configured_sessions": {"group"},
    "wawp_group_sessions": {"group", "shard"},
    "wawp_group_eligible_sessions": {"group", "shard"},
    "wawp_group_working_sessions": {"group", "shard"},
    "wawp_threshold_default_seconds": {"source", "kind"},
    "wawp_slo_objective_ratio": {"source"},
    "wawp_sessions_dropped": {"shard"},
    "wawp_session_problem_since_timestamp_seconds": SESSION | {"engine", "group", "owner", "tier", "problem", "reason"},
    "wawp_session_never_worked": SESSION,
    "wawp_outage_since_timestamp_seconds": OUTAGE,
    "wawp_outage_sessions": OUTAGE,
    "wawp_outage_step": OUTAGE | {"step"},
    "wawp_source_synced": {"source"},
    "wawp_losses_total": {"source", "engine", "reason"},
    "wawp_exporter_names_over_limit": {"source"},
    "wawp_exporter_webhooks_total": {"source", "outcome"},
    "wawp_exporter_webhooks_rejected_total": {"source", "reason"},
    "wawp_exporter_unknown_statuses_total": {"source"},
    "wawp_exporter_clock_skew_events_total": {"source"},
    "wawp_exporter_last_accepted_timestamp_seconds": {"source"},
    "wawp_exporter_refused_since_timestamp_seconds": {"source", "reason"},
    "wawp_exporter_clock_behind_seconds": {"source"},
    "wawp_exporter_log_appends_total": set(),
    "wawp_exporter_log_append_errors_total": set(),
    "wawp_exporter_log_size_bytes": set(),
    "wawp_exporter_log_free_bytes": set(),
    "wawp_exporter_log_disk_bytes": set(),
    "wawp_exporter_queue_depth": set(),
    "wawp_exporter_reconcile_corrections_total": {"source"},
    "wawp_exporter_reconcile_last_success_timestamp_seconds": {"source"},
    "wawp_exporter_api_up": {"source"},
    "wawp_exporter_restarts_total": {"source", "result"},
    "wawp_exporter_config_last_reload_successful": set(),
    "wawp_exporter_time_seconds": set(),
    "up": set(),
    "ALERTS": {"alertname", "alertstate", "severity", "source"},
    "process_start_time_seconds": set(),
}

# Problems of the contract that the exporter does not judge yet.
PLANNED = {"undelivered", "unresponsive"} - set(map(str, Problem))

# What a label's matcher may name; a typo in a value silences a rule as surely as one in a name.
VALUES: dict[str, set[str]] = {
    "status": {
        "STARTING", "SCAN_QR_CODE", "WORKING", "FAILED", "STOPPED", "DISCONNECTED", "UNKNOWN",
        "PASSKEY_REQUIRED", "PASSKEY_CONFIRMATION_REQUIRED",
    },
    "kind": {"qr_unattended", "feed_silence", *map(str, Kind)},
    "problem": {*map(str, Problem), *PLANNED},
    "result": {"good", "bad", "excluded", "given_up"},
    "outcome": {"working", "qr", "failed", "stopped"},
    "reason": {
        "bad_signature", "missing_signature", "bad_token", "malformed", "too_large", "invalid_event", "log_unavailable",
    },
    "job": {"wawp-exporter"},
    "alertname": {"WawpWebhookFeedRejected", "WawpWebhookFeedUnreadable"},
    "severity": {"critical", "warning"},
    "source": {""},
    "alertstate": {"firing"},
    "shard": {""},
}  # fmt: skip
