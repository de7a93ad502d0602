"""PromQL that dashboards share: the selections of the variables, and how replicas and shards are put together."""

from grafana.look import STATUS_CODES

JOB = 'job=~"$job"'
SOURCE = f'{JOB},source=~"$source"'
ENGINE = f'{SOURCE},engine=~"$engine"'
GROUP = f'{JOB},group=~"$group"'
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


def quantile(q: float, buckets: str) -> str:
    """A quantile of a fleet's buckets; nothing, rather than NaN, where nothing was observed."""
    return f"histogram_quantile({q}, {fleet(buckets, 'le', 'le')}) >= 0"


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


def spent(matchers: str, window: str) -> str:
    """Seconds of sessions by status in a window."""
    return f"max by ({BY_SESSION}, status) (increase(wawp_session_status_seconds_total{{{matchers}}}[{window}]))"


def slo(result: str, window: str, by: str = "source") -> str:
    """Seconds that count as one of `result`, a regular expression, in a window."""
    return fleet(f'increase(wawp_slo_seconds_total{{{ENGINE},result=~"{result}"}}[{window}])', by, "result")


def bad_share(window: str, by: str = "source") -> str:
    """The share of bad seconds among those that count."""
    return ratio(slo("bad", window, by), slo("bad|good", window, by))
