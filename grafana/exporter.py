"""Can I trust the numbers?"""

from grafana.board import Board, Row, source
from grafana.look import ANY_IS_A_WARNING, ANY_IS_BAD, ONE_IS_GOOD, limit
from grafana.panels import figure, firing_alerts, rows, series
from grafana.queries import JOB, SOURCE, own, own_quantile, ratio


def rate(metric: str, by: str, matchers: str = SOURCE) -> str:
    """Per second, over all replicas."""
    return own(f"rate({metric}{{{matchers}}}[$__rate_interval])", by)


def took(metric: str) -> list[tuple[str, str]]:
    """Half, and 99 in 100, over all replicas; nothing where nothing was observed."""
    return [
        (own_quantile(q, metric, JOB, "$__rate_interval"), words)
        for q, words in ((0.5, "half within"), (0.99, "99 in 100 within"))
    ]


KNOWN_SOURCES = f"group by (source) (wawp_threshold_default_seconds{{{SOURCE}}})"
SYNCED = f"group by (source) (wawp_source_synced{{{SOURCE}}})"
NOW = Row(
    "Now",
    [
        figure(
            "Exporters up",
            f"sum(up{{{JOB}}})",
            description="How many exporters answer? Replicas that Prometheus could read at its last attempt.",
            steps=ONE_IS_GOOD,
            width=3,
        ),
        figure(
            "Last webhook",
            f"1000 * max by (source) (wawp_exporter_last_accepted_timestamp_seconds{{{SOURCE}}} > 0)",
            description="When was a webhook last accepted? By source. A healthy fleet can be silent for days.",
            unit="dateTimeFromNow",
            legend="{{source}}",
            width=3,
        ),
        figure(
            "Webhooks refused",
            own(f"increase(wawp_exporter_webhooks_rejected_total{{{SOURCE}}}[$__range])"),
            description="How many webhooks were refused? In the range above, for any reason.",
            steps=ANY_IS_A_WARNING,
            decimals=0,
            width=3,
        ),
        figure(
            "Failed log writes",
            own(f"increase(wawp_exporter_log_append_errors_total{{{JOB}}}[$__range])"),
            description="How often did writing the log fail? Batches that could not be written in the range above:"
            " nothing was applied, the gateway sends again.",
            steps=ANY_IS_BAD,
            decimals=0,
            width=3,
        ),
        figure(
            "Configuration",
            f"min(wawp_exporter_config_last_reload_successful{{{JOB}}})",
            description="Is the configuration the one in the file? 0: the last reload was refused, and the"
            " configuration before it is in force.",
            steps=ONE_IS_GOOD,
            width=3,
        ),
        figure(
            "Without series",
            f"sum(max by (shard) (wawp_sessions_dropped{{{JOB}}}))",
            description="How many sessions have no series? Counted in the fleet's figures, but over"
            " `metrics.max_sessions`.",
            steps=ANY_IS_A_WARNING,
            width=3,
        ),
        figure(
            "Out of sync",
            f"count({KNOWN_SOURCES} unless on (source) {SYNCED}) or vector(0)",
            description="Of how many sources does no replica know everything? While it starts or is behind its log, it"
            " says nothing of their problems and outages.",
            steps=ANY_IS_BAD,
            width=3,
        ),
        figure(
            "Gateways unreachable",
            f"count(max by (source) (wawp_exporter_api_up{{{SOURCE}}}) == 0) or vector(0)",
            description="How many gateways' APIs do not answer? Only sources with an `api` are asked.",
            steps=ANY_IS_BAD,
            width=3,
        ),
    ],
)
WEBHOOKS = Row(
    "Webhooks",
    [
        series(
            "Webhooks by answer",
            (rate("wawp_exporter_webhooks_total", "outcome") + " > 0", "{{outcome}}"),
            description="How are webhooks answered? By answer. Duplicates are retries and double deliveries, late"
            " events are older than the newest one; both are harmless.",
            unit="reqps",
            stacked=True,
        ),
        series(
            "Refusals by reason",
            (rate("wawp_exporter_webhooks_rejected_total", "source, reason") + " > 0", "{{source}}: {{reason}}"),
            description="Why are webhooks refused? By reason; empty is good.",
            unit="reqps",
            stacked=True,
        ),
        series(
            "Duplicate and late",
            *(
                (
                    ratio(
                        rate("wawp_exporter_webhooks_total", "source", f'{SOURCE},outcome="{outcome}"'),
                        rate("wawp_exporter_webhooks_total", "source"),
                    ),
                    f"{{{{source}}}}: {outcome}",
                )
                for outcome in ("duplicate", "late")
            ),
            description="How much comes twice or late? Share of all webhooks of a source. Half duplicates: the same"
            " URL is configured twice.",
            unit="percentunit",
        ),
        series(
            "Age of events on arrival",
            *took("wawp_exporter_webhook_delay_seconds"),
            description="How old is an event when it arrives? Receipt minus the gateway's time. Grows with retries,"
            " and when a gateway's clock is slow.",
            unit="s",
            steps=limit(60),
        ),
        series(
            "Answer time",
            *took("wawp_exporter_webhook_duration_seconds"),
            description="How long is a gateway kept waiting? From a webhook's arrival to its answer; 200 means that"
            " the event is on disk.",
            unit="s",
        ),
        series(
            "Clocks",
            (
                f"max(wawp_exporter_time_seconds{{{JOB}}} - timestamp(wawp_exporter_time_seconds{{{JOB}}}))",
                "exporter ahead of Prometheus (s)",
            ),
            (
                "3600 * " + rate("wawp_exporter_clock_skew_events_total", "source"),
                "{{source}}: events from the future per hour",
            ),
            description="Do clocks agree? The exporter against Prometheus, and events dated more than 60 s ahead of"
            " their receipt.",
            least=None,
        ),
        series(
            "Unknown statuses",
            ("3600 * " + rate("wawp_exporter_unknown_statuses_total", "source"), "{{source}}"),
            description="How many statuses are unknown? Events per hour with an unknown status: counted as UNKNOWN,"
            " kept in the log as sent.",
        ),
        series(
            "Missed webhooks",
            (
                "3600 * " + rate("wawp_exporter_reconcile_corrections_total", "source"),
                "{{source}}: corrections per hour",
            ),
            (f"max by (source) (wawp_exporter_api_up{{{SOURCE}}})", "{{source}}: API up"),
            (
                f"(time() - max by (source) (wawp_exporter_reconcile_last_success_timestamp_seconds{{{SOURCE}}})) /"
                f" 3600",
                "{{source}}: hours since the last success",
            ),
            description="Did the gateway's API show that webhooks were missed? Empty unless a source has an `api`. A"
            " correction is a webhook that never came.",
        ),
    ],
)
LOG = Row(
    "Log",
    [
        series(
            "Log writes",
            (rate("wawp_exporter_log_appends_total", "instance", JOB), "{{instance}}: events per second"),
            (
                rate("wawp_exporter_log_append_errors_total", "instance", JOB),
                "{{instance}}: failed batches per second",
            ),
            description="How much is written? Events appended, and batches that could not be written.",
            unit="ops",
            width=8,
        ),
        series(
            "Write time",
            *took("wawp_exporter_log_append_duration_seconds"),
            description="How long does a write take? One batch, committed to disk.",
            unit="s",
            width=8,
        ),
        series(
            "Events that wait",
            (f"max by (instance) (wawp_exporter_queue_depth{{{JOB}}})", "{{instance}}"),
            description="How many events wait for the log? Those that wait for the next batch; it should come back to"
            " 0.",
            width=8,
        ),
        series(
            "Log size",
            (f"max by (instance) (wawp_exporter_log_size_bytes{{{JOB}}})", "{{instance}}: log"),
            (f"max by (instance) (wawp_exporter_log_free_bytes{{{JOB}}})", "{{instance}}: free"),
            description="How large is the log, and how much room is left? On the exporter's disk.",
            unit="bytes",
        ),
        figure(
            "Oldest event",
            f"1000 * min(wawp_exporter_log_oldest_event_timestamp_seconds{{{JOB}}} > 0)",
            description="How far back does the log go? Receipt of the oldest event that is kept"
            " (`database.retention`).",
            unit="dateTimeFromNow",
            width=6,
            height=8,
        ),
        figure(
            "Configuration loaded",
            f"1000 * max(wawp_exporter_config_last_reload_success_timestamp_seconds{{{JOB}}})",
            description="Since when is this configuration in force? The last load that succeeded.",
            unit="dateTimeFromNow",
            width=6,
            height=8,
        ),
    ],
)
COST = Row(
    "Cost",
    [
        series(
            "Series per scrape",
            (f"max by (instance) (scrape_samples_scraped{{{JOB}}})", "{{instance}}"),
            description="How many series does a scrape bring? About 27 a session; with"
            " `metrics.session_histograms` 105 more, or 7 where Prometheus converts them to native ones.",
            width=8,
        ),
        series(
            "Scrape time",
            (f"max by (instance) (scrape_duration_seconds{{{JOB}}})", "{{instance}}"),
            description="How long does a scrape take? As Prometheus measures it; its timeout is 10 s unless"
            " configured.",
            unit="s",
            steps=limit(10),
            width=8,
        ),
        series(
            "Memory and processor",
            (f"max by (instance) (process_resident_memory_bytes{{{JOB}}}) / 2 ^ 20", "{{instance}}: MiB"),
            (
                f"100 * max by (instance) (rate(process_cpu_seconds_total{{{JOB}}}[$__rate_interval]))",
                "{{instance}}: % of a core",
            ),
            description="How much memory and processor does it need? Of the exporter's process.",
            width=8,
        ),
        firing_alerts(',category=~"exporter|feed|security"'),
        rows(
            "Builds",
            f"group by (instance, version, revision, python) (wawp_exporter_build_info{{{JOB}}})",
            description="Which build runs where? Versions of the exporters that Prometheus reads.",
            columns=("instance", "version", "revision", "python"),
        ),
    ],
)

BOARD = Board(
    name="exporter",
    question="Can I trust the numbers?",
    about="Webhooks, log and cost of wawp-exporter itself.",
    rows=(NOW, WEBHOOKS, LOG, COST),
    variables=(source(),),
    alerts=',category=~"exporter|feed|security"',
)
