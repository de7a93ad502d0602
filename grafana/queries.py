"""PromQL that dashboards share: the selections of the variables, and how replicas and shards are put together."""

from grafana.look import STATUS_CODES

JOB = 'job=~"$job"'
SOURCE = f'{JOB},source=~"$source"'
ENGINE = f'{SOURCE},engine=~"$engine"'
GROUP = f'{JOB},group=~"$group"'
# An outage of several sources has no source and no engine.
OUTAGES = f'{JOB},source=~"$source|",engine=~"$engine|"'
SESSIONS = f'{SOURCE},session=~"$session"'
ONE_SESSION = f'{JOB},source="$source",session="$session"'
FIRING = 'alertstate="firing",alertname=~"Wawp.+",alertname!="WawpWatchdog"'
BY_SESSION = "source, session"
DOWN = "STOPPED|WORKING"  # those that are not: what every panel calls "not working"


def fleet(expr: str, by: str = "", more: str = "") -> str:
    """A fleet series: `max` over replicas, then `sum` over shards, engines and whatever `by` leaves out.

    `more` names the labels, beside source and engine, that tell the metric's series apart.
    """
    labels = f"source, engine, shard{', ' if more else ''}{more}"
    return f"sum by ({by}) (max by ({labels}) ({expr}))"


def groups(metric: str) -> str:
    """A group's count over all shards."""
    return f"sum by (group) (max by (group, shard) ({metric}{{{GROUP}}}))"


def own(expr: str, by: str = "") -> str:
    """What each replica counts for itself: webhooks reach one of them only."""
    return f"sum by ({by}) ({expr})"


def ratio(part: str, whole: str) -> str:
    """Nothing, rather than 0/0, where there is nothing to divide by."""
    return f"{part}\n  / ({whole} > 0)"


def quantile(
    q: float, metric: str, matchers: str, window: str, *, by: str = "", apart: str = "source, engine, shard"
) -> str:
    """A quantile of a histogram that each replica has whole, for each value of `by`.

    `apart` names the labels that tell the metric's series apart; what differs in other labels comes from replicas.
    """
    seen = f"increase({metric}{{{matchers}}}[{window}])"
    most = f"{seen}\n    and topk by ({apart}) (1, histogram_count({seen}))"
    buckets = f"max by ({apart}, le) (increase({metric}_bucket{{{matchers}}}[{window}]))"
    return both(q, f"sum by ({with_le(by)}) ({buckets})", f"sum by ({by}) ({most})")


def own_quantile(q: float, metric: str, matchers: str, window: str) -> str:
    """A quantile of what each replica observes for itself."""
    classic, native = (f"rate({metric}{kind}{{{matchers}}}[{window}])" for kind in ("_bucket", ""))
    return both(q, own(classic, "le"), own(native))


def both(q: float, classic: str, native: str) -> str:
    """A quantile of classic histograms, or of native ones, whichever Prometheus has; nothing, rather than NaN, where
    nothing was observed.

    Native histograms are those that Prometheus makes of classic ones (`convert_classic_histograms_to_nhcb`): they have
    the metric's name without a suffix, and no `le`. `max` does not take them, so where replicas have the same
    histogram, `topk` chooses the one that has seen most.
    """
    return f"histogram_quantile({q}, {classic}) >= 0\n  or histogram_quantile({q}, {native}) >= 0"


def with_le(by: str) -> str:
    """The labels, and `le`."""
    return f"{by}, le" if by else "le"


def status_code(matchers: str) -> str:
    """Each session's status as its number of STATUS_CODES, the highest where replicas disagree.

    One selector for all statuses: a thousand names in `matchers` cost the more, the more often they are looked up.
    """
    codes = "\n    or ".join(
        f'label_replace(vector({code}), "status", "{status}", "", "")' for status, code in STATUS_CODES.items()
    )
    current = f"(wawp_session_status{{{matchers}}} == 1)"
    return f"max by ({BY_SESSION}) (\n  {current}\n  * on (status) group_left () (\n    {codes}\n  )\n)"


def info(matchers: str, *labels: str) -> str:
    """One row a session, also while two replicas disagree about its engine."""
    names = ", ".join(("source", "session", *labels))
    return f"topk by ({BY_SESSION}) (1, max by ({names}) (wawp_session_info{{{matchers}}}))"


def age(metric: str, matchers: str) -> str:
    """Seconds since a time that is not 0, by session."""
    return f"clamp_min(time() - (max by ({BY_SESSION}) ({metric}{{{matchers}}}) > 0), 0)"


def problems(matchers: str, *labels: str) -> str:
    """Since when the problems of sessions last, as the exporter judges them; one row a session and problem."""
    names = ", ".join((BY_SESSION, "problem", *labels))
    newest = f"max by ({names}) (wawp_session_problem_since_timestamp_seconds{{{matchers}}})"
    return f"topk by ({BY_SESSION}, problem) (1, {newest})" if labels else newest


def outages(metric: str) -> str:
    """A figure of the outages that last; each is judged whole on one shard."""
    return f"max by (source, engine, kind) ({metric}{{{OUTAGES}}})"


def losses(window: str) -> str:
    """Sessions that were lost in a window, by the reason that the gateway gave."""
    counted = f"max by (source, engine, reason) (increase(wawp_losses_total{{{ENGINE}}}[{window}]))"
    return f'label_replace(sum by (reason) ({counted}), "reason", "none given", "reason", "") > 0.5'


def configured() -> str:
    """How many members a group has by the configuration, on all shards."""
    return f"max by (group) (wawp_group_configured_sessions{{{GROUP}}})"


def spent(matchers: str, window: str) -> str:
    """Seconds of sessions by status in a window."""
    return f"max by ({BY_SESSION}, status) (increase(wawp_session_status_seconds_total{{{matchers}}}[{window}]))"


def slo(result: str, window: str, by: str = "source") -> str:
    """Seconds that count as one of `result`, a regular expression, in a window."""
    return fleet(f'increase(wawp_slo_seconds_total{{{ENGINE},result=~"{result}"}}[{window}])', by, "result")


def objective(by: str = "") -> str:
    """What is promised; of several sources the most."""
    return f"max by ({by}) (wawp_slo_objective_ratio{{{SOURCE}}})"


def bad_share(window: str, by: str = "source") -> str:
    """The share of bad seconds among those that count."""
    return ratio(slo("bad", window, by), slo("bad|good", window, by))
