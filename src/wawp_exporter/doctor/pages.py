"""The links of messages: the exporter's pages, runbooks, and Grafana."""

from collections.abc import Iterator
from typing import Any

from wawp_exporter.config.settings import Settings
from wawp_exporter.doctor.finding import Finding, State, broken, ok, skipped
from wawp_exporter.doctor.shipped import SHARE
from wawp_exporter.doctor.site import Site, Unusable

PAGES, RUNBOOKS, DASHBOARDS = "pages", "runbooks", "dashboards"
RUNBOOK = "/runbooks/WawpSessionDisconnected"
UIDS = ("wawp-fleet", "wawp-session", "wawp-slo", "wawp-exporter")
NOT_SET = "  web: {{{key}: https://…}}"


def look(settings: Settings) -> Iterator[Finding]:
    """Whether the links in messages lead to this exporter."""
    url = settings.config.web.external_url
    if not url:
        says = "web.external_url is not set, so messages have no links to the pages"
        yield skipped(
            PAGES, says, "To have them, set it to the address that people use:", NOT_SET.format(key="external_url")
        )
        yield skipped(RUNBOOKS, "web.external_url is not set")
        return
    # Without the token of the API: another service may stand at that address.
    with Site("the exporter's pages", url) as site:
        found = pages(site)
        yield found
        yield runbooks(site) if found.state is State.OK else skipped(RUNBOOKS, "the pages cannot be reached")


def pages(site: Site) -> Finding:
    """Whether this exporter answers there; a login page before it is what people see too."""
    try:
        answer = site.get("/-/healthy")
    except Unusable as error:
        return broken(PAGES, f"web.external_url: {error}", *error.advice)
    if answer.status_code in (302, 303, 401, 403):
        return ok(PAGES, f"{site.url} answers, and asks for a login")
    if "wawp-exporter" not in answer.text:
        says = f"web.external_url: {site.url} answers HTTP {answer.status_code}, and is not this exporter"
        advice = "Let the proxy pass everything below that address on to web.listen, without the path of the address"
        return broken(PAGES, says, advice)
    return ok(PAGES, f"{site.url} leads to the exporter")


def runbooks(site: Site) -> Finding:
    """Whether runbooks open."""
    try:
        answer = site.get(RUNBOOK)
    except Unusable as error:
        return broken(RUNBOOKS, str(error), *error.advice)
    if answer.status_code in (302, 303, 401, 403):
        return ok(RUNBOOKS, f"{site.url}/runbooks asks for a login")
    if answer.status_code != 200:
        says = f"{site.url}{RUNBOOK} answers HTTP {answer.status_code}"
        return broken(RUNBOOKS, says, "Does the proxy pass /runbooks on, and is the exporter of this version?")
    return ok(RUNBOOKS, f"{site.url}/runbooks/… opens")


def dashboards(url: str | None, token: str | None) -> Finding:
    """Whether Grafana has the dashboards, as far as it lets us see."""
    if not url:
        return skipped(DASHBOARDS, "no Grafana is given (--grafana URL, or web.grafana_url)")
    login = "Give --grafana-token-file FILE (a service account with the role Viewer), or http://USER:PASSWORD@HOST"
    with Site("Grafana", url, token=token, login=login) as site:
        try:
            health = site.json("/api/health")
            if not isinstance(health, dict) or "database" not in health:
                return broken(
                    DASHBOARDS, f"{site.url} is not Grafana", "Is this its address, with its path if it has one?"
                )
            found = uids(site.json("/api/search", type="dash-db", limit=5000))
        except Unusable as error:
            if error.status in (401, 403):
                return skipped(DASHBOARDS, f"{site.url} answers, but its dashboards cannot be seen", login)
            return broken(DASHBOARDS, str(error), *error.advice, "If there is no Grafana, remove web.grafana_url")
    missing = [uid for uid in UIDS if uid not in found]
    if missing:
        return broken(
            DASHBOARDS,
            f"{site.url} does not show {', '.join(missing)}",
            *to_import(),
            *([] if token else [f"If they are there, but not for everybody: {login}"]),
        )
    return ok(DASHBOARDS, f"{site.url} has all {len(UIDS)}")


def uids(found: Any) -> set[str]:
    """The uids of a search."""
    return {each.get("uid", "") for each in found if isinstance(each, dict)} if isinstance(found, list) else set()


def to_import() -> tuple[str, ...]:
    """Where the dashboards are."""
    return (f"Import them in Grafana (Dashboards, New, Import):  {SHARE / 'dashboards'}/*.json",)
