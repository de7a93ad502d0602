"""Can I trust the numbers?"""

from grafana.board import Board, Row, source
from grafana.look import ANY_IS_A_WARNING, ANY_IS_BAD, ONE_IS_GOOD, limit
from grafana.panels import figure, firing_alerts, rows, series
from grafana.queries import JOB, SOURCE, own, ratio


def rate(metric: str, by: str, matchers: str = SOURCE) -> str:
    """Per second, over all replicas."""
    return own(f"rate({metric}{{{matchers}}}[$__rate_interval])", by)


def took(metric: str) -> list[tuple[str, str]]:
    """Half, and 99 in 100, over all replicas; nothing where nothing was observed."""
    buckets = rate(f"{metric}_bucket", "le", JOB)
    return [
        (f"histogram_quantile({q}, {buckets}) >= 0", words)
        for q, words in ((0.5, "half within"), (0.99, "99 in 100 within"))
    ]


NOW = Row(
    "Is it running, and does it receive webhooks?",
    [
        figure(
            "How many exporters answer?",
            f"sum(up{{{JOB}}})",
            description="Replicas that Prometheus could read at its last attempt.",
            steps=ONE_IS_GOOD,
        ),
        figure(
            "When was a webhook last accepted?",
            f"1000 * max by (source) (wawp_exporter_last_accepted_timestamp_seconds{{{SOURCE}}} > 0)",
            description="By source. A healthy fleet can be silent for days.",
            unit="dateTimeFromNow",
            legend="{{source}}",
        ),
        figure(
            "How many webhooks were refused?",
            own(f"increase(wawp_exporter_webhooks_rejected_total{{{SOURCE}}}[$__range])"),
            description="In the range above, for any reason.",
            steps=ANY_IS_A_WARNING,
            decimals=0,
        ),
        figure(
            "How often did writing the log fail?",
            own(f"increase(wawp_exporter_log_append_errors_total{{{JOB}}}[$__range])"),
            description="Batches that could not be written in the range above: nothing was applied, the gateway"
            " sends again.",
            steps=ANY_IS_BAD,
            decimals=0,
        ),
        figure(
            "Is the configuration the one in the file?",
            f"min(wawp_exporter_config_last_reload_successful{{{JOB}}})",
            description="0: the last reload was refused, and the configuration before it is in force.",
            steps=ONE_IS_GOOD,
        ),
        figure(
            "How many sessions have no series?",
            f"sum(max by (shard) (wawp_sessions_dropped{{{JOB}}}))",
            description="Counted in the fleet's figures, but over `metrics.max_sessions`.",
            steps=ANY_IS_A_WARNING,
        ),
    ],
)
WEBHOOKS = Row(
    "What do the gateways send?",
    [
        series(
            "How are webhooks answered?",
            (rate("wawp_exporter_webhooks_total", "outcome") + " > 0", "{{outcome}}"),
            description="By answer. Duplicates are retries and double deliveries, late events are older than the"
            " newest one; both are harmless.",
            unit="reqps",
            stacked=True,
        ),
        series(
            "Why are webhooks refused?",
            (rate("wawp_exporter_webhooks_rejected_total", "source, reason") + " > 0", "{{source}}: {{reason}}"),
            description="By reason; empty is good.",
            unit="reqps",
            stacked=True,
        ),
        series(
            "How much comes twice or late?",
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
            description="Share of all webhooks of a source. Half duplicates: the same URL is configured twice.",
            unit="percentunit",
        ),
        series(
            "How old is an event when it arrives?",
            *took("wawp_exporter_webhook_delay_seconds"),
            description="Receipt minus the gateway's time. Grows with retries, and when a gateway's clock is slow.",
            unit="s",
            steps=limit(60),
        ),
        series(
            "How long is a gateway kept waiting?",
            *took("wawp_exporter_webhook_duration_seconds"),
            description="From a webhook's arrival to its answer; 200 means that the event is on disk.",
            unit="s",
        ),
        series(
            "Do clocks agree?",
            (
                f"max(wawp_exporter_time_seconds{{{JOB}}} - timestamp(wawp_exporter_time_seconds{{{JOB}}}))",
                "exporter ahead of Prometheus (s)",
            ),
            (
                "3600 * " + rate("wawp_exporter_clock_skew_events_total", "source"),
                "{{source}}: events from the future per hour",
            ),
            description="The exporter against Prometheus, and events dated more than 60 s ahead of their receipt.",
            least=None,
        ),
        series(
            "How many statuses are unknown?",
            ("3600 * " + rate("wawp_exporter_unknown_statuses_total", "source"), "{{source}}"),
            description="Events per hour with an unknown status: counted as UNKNOWN, kept in the log as sent.",
        ),
        series(
            "Did the gateway's API show that webhooks were missed?",
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
            description="Empty unless a source has an `api`. A correction is a webhook that never came.",
        ),
    ],
)
LOG = Row(
    "Does the log work?",
    [
        series(
            "How much is written?",
            (rate("wawp_exporter_log_appends_total", "instance", JOB), "{{instance}}: events per second"),
            (
                rate("wawp_exporter_log_append_errors_total", "instance", JOB),
                "{{instance}}: failed batches per second",
            ),
            description="Events appended, and batches that could not be written.",
            unit="ops",
            width=8,
        ),
        series(
            "How long does a write take?",
            *took("wawp_exporter_log_append_duration_seconds"),
            description="One batch, committed to disk.",
            unit="s",
            width=8,
        ),
        series(
            "How many events wait for the log?",
            (f"max by (instance) (wawp_exporter_queue_depth{{{JOB}}})", "{{instance}}"),
            description="Those that wait for the next batch; it should come back to 0.",
            width=8,
        ),
        series(
            "How large is the log, and how much room is left?",
            (f"max by (instance) (wawp_exporter_log_size_bytes{{{JOB}}})", "{{instance}}: log"),
            (f"max by (instance) (wawp_exporter_log_free_bytes{{{JOB}}})", "{{instance}}: free"),
            description="On the exporter's disk.",
            unit="bytes",
        ),
        figure(
            "How far back does the log go?",
            f"1000 * min(wawp_exporter_log_oldest_event_timestamp_seconds{{{JOB}}} > 0)",
            description="Receipt of the oldest event that is kept (`database.retention`).",
            unit="dateTimeFromNow",
            width=6,
            height=8,
        ),
        figure(
            "Since when is this configuration in force?",
            f"1000 * max(wawp_exporter_config_last_reload_success_timestamp_seconds{{{JOB}}})",
            description="The last load that succeeded.",
            unit="dateTimeFromNow",
            width=6,
            height=8,
        ),
    ],
)
COST = Row(
    "What does it cost?",
    [
        series(
            "How many series does a scrape bring?",
            (f"max by (instance) (scrape_samples_scraped{{{JOB}}})", "{{instance}}"),
            description="About 26 a session, and 100 more with `metrics.session_histograms`.",
            width=8,
        ),
        series(
            "How long does a scrape take?",
            (f"max by (instance) (scrape_duration_seconds{{{JOB}}})", "{{instance}}"),
            description="As Prometheus measures it; its timeout is 10 s unless configured.",
            unit="s",
            steps=limit(10),
            width=8,
        ),
        series(
            "How much memory and processor does it need?",
            (f"max by (instance) (process_resident_memory_bytes{{{JOB}}}) / 2 ^ 20", "{{instance}}: MiB"),
            (
                f"100 * max by (instance) (rate(process_cpu_seconds_total{{{JOB}}}[$__rate_interval]))",
                "{{instance}}: % of a core",
            ),
            description="Of the exporter's process.",
            width=8,
        ),
        firing_alerts(',category=~"exporter|feed|security"'),
        rows(
            "Which build runs where?",
            f"group by (instance, version, revision, python) (wawp_exporter_build_info{{{JOB}}})",
            description="Versions of the exporters that Prometheus reads.",
            columns=("instance", "version", "revision", "python"),
        ),
    ],
)

BOARD = Board(
    name="exporter",
    question="Can I trust the numbers?",
    rows=(NOW, WEBHOOKS, LOG, COST),
    variables=(source(),),
    alerts=',category=~"exporter|feed|security"',
)
