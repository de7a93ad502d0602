"""How Prometheus stores the histograms of the job: as classic ones, as native ones, or not at all."""

from dataclasses import replace
from typing import Any

import yaml

from wawp_exporter.doctor.finding import Finding, State, broken
from wawp_exporter.doctor.prometheus import JOB, SCRAPE, call
from wawp_exporter.doctor.site import Site, Unusable
from wawp_exporter.setup import versions
from wawp_exporter.setup.histograms import CONVERT, FEATURE, SINCE, WITHOUT_FLAG_SINCE, advised, has_feature

MANY = 500  # sessions; their classic histograms are 50,000 series
ONE_EACH = f'wawp_session_status_duration_seconds_count{{job="{JOB}",status="WORKING"}}'
CLASSIC = f"count(group by (source, session) ({ONE_EACH}))"


def look(site: Site, scraped: Finding) -> Finding:
    """The finding of a scrape that works, with what is to be said about its histograms; nothing where nobody says."""
    if scraped.state is not State.OK:
        return scraped
    try:
        return looked(site, scraped)
    except (Unusable, KeyError, TypeError, AttributeError, ValueError, yaml.YAMLError):
        return scraped  # others that answer as Prometheus does have no such calls


def looked(site: Site, scraped: Finding) -> Finding:
    """The same. Raises whatever an unexpected answer causes."""
    version = versions.parse(call(site, "status/buildinfo")["version"])
    feature = has_feature(call(site, "status/flags"))
    if SINCE <= version < WITHOUT_FLAG_SINCE and converts(site) and not feature:
        says = f"Prometheus {version} drops every histogram: the job has {CONVERT}, which needs a feature flag"
        flag = f"Start Prometheus with  --enable-feature={FEATURE}"
        return broken(SCRAPE, says, flag, f"Or remove {CONVERT} from the job {JOB}")
    sessions = classic(site)
    if sessions <= MANY:
        return scraped
    better = f"{CONVERT}: true makes them 7" if advised(version, feature) else "metrics.session_histograms: false"
    return replace(scraped, says=f"{scraped.says}; 105 series of histograms for each of {sessions} sessions: {better}")


def converts(site: Site) -> bool:
    """Whether the job makes native histograms of classic ones."""
    config: dict[str, Any] = yaml.safe_load(call(site, "status/config")["yaml"])
    jobs = [job for job in config.get("scrape_configs") or () if job["job_name"] == JOB]
    usual = (config.get("global") or {}).get(CONVERT, False)
    return any(job.get(CONVERT, usual) for job in jobs)


def classic(site: Site) -> int:
    """How many sessions have classic histograms of their own, on however many replicas."""
    result = call(site, "query", query=CLASSIC)["result"]
    return int(result[0]["value"][1]) if result else 0
