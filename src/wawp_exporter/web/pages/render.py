"""A page from its template: the environment of the templates, what they may call, the headers of every page."""

import gzip
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

import jinja2
import msgspec
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from wawp_exporter import __version__, times
from wawp_exporter.audit.heatmap import RANGES
from wawp_exporter.audit.words import duration, percent
from wawp_exporter.model.bucket import STATUSES
from wawp_exporter.model.rules import Key
from wawp_exporter.model.session import WEEKDAYS
from wawp_exporter.web.api.parameters import converted
from wawp_exporter.web.pages.steps import steps

PAGE_ROWS = 100
COMPRESSED_BYTES = 16_384  # larger pages are compressed, fast: a heatmap of thousands of sessions repeats itself
LABELLED = 40  # lines of a heatmap up to which each has its name beside it
NEEDS_SHOWN = 10
GROUPS_SHOWN = 20
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src 'self' blob:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}

T = TypeVar("T", bound=msgspec.Struct)


def given_in(request: Request, kind: type[T]) -> T:
    """The query of a page; a form sends what was left empty too. Raises BadRequest, which names the parameter."""
    return converted({key: value for key, value in request.query_params.items() if value}, kind)


def render(request: Request, template: str, now: int, status: int = 200, **values: Any) -> Response:
    """A page, as of `now` (Unix ms). Its own links begin with `root`."""
    values |= {"root": root_of(request), "grafana": request.state.web.grafana_url, "zone": request.state.zone}
    body = templates.get_template(template).render(now=now, version=__version__, **values)
    answer = HTMLResponse(body, status, headers=SECURITY_HEADERS)
    if len(answer.body) > COMPRESSED_BYTES and "gzip" in request.headers.get("accept-encoding", ""):
        answer.body = gzip.compress(answer.body, 1)
        answer.headers.update({"Content-Encoding": "gzip", "Content-Length": str(len(answer.body))})
    answer.headers["Vary"] = "Accept, Accept-Encoding"
    return answer


def root_of(request: Request) -> str:
    """What links to own pages begin with: the path of `web.external_url`, encoded; empty without one."""
    return quote(request.scope["root_path"], safe="/:@!$&'()*+,;=~")


def shade(count: int, most: int) -> int:
    """How dark a cell is, from 0 for nothing to 4 for the most."""
    return -(-4 * count // most) if count else 0


def day(moment: datetime, zone: str) -> str:
    """A date and time of day in a time zone."""
    return moment.astimezone(ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M")


def age(ms: int) -> str:
    """Milliseconds as a duration in whole seconds, rounded down; 0 if the clocks disagree."""
    return duration(max(0, ms) // 1000)


def utc(ms: int, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """Unix ms as a date and time of day in UTC."""
    return times.utc(ms).strftime(form)


@jinja2.pass_context
def local(context: jinja2.runtime.Context, ms: int, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """Unix ms as a date and time of day in the configured zone; a script shows it in the reader's."""
    return times.utc(ms).astimezone(ZoneInfo(context["zone"])).strftime(form)


@jinja2.pass_context
def short(context: jinja2.runtime.Context, ms: int) -> str:
    """As `local`, but only as much as is needed: the time of day, and the day if it is another one than now's."""
    here = ZoneInfo(context["zone"])
    then, now = times.utc(ms).astimezone(here), times.utc(context["now"]).astimezone(here)
    return then.strftime("%H:%M" if then.date() == now.date() else "%d %b %H:%M")


def step(alert: str) -> str:
    """The first thing to do about an alert."""
    return steps().get(alert, "")


def session_link(key: Key, cursor: str = "") -> str:
    """Where a session's page is; its name may be anything. Browsers resolve `.` and `..` in a path, encoded or not."""
    source = f"/sessions/{quote(key[0], safe='')}"
    link = f"{source}?session={key[1]}" if key[1] in (".", "..") else f"{source}/{quote(key[1], safe='')}"
    return f"{link}{'&' if '?' in link else '?'}cursor={quote(cursor, safe='')}" if cursor else link


def qr_link(key: Key) -> str:
    """Where the QR code of a session is."""
    return f"/api/v1/sessions/{quote(key[0], safe='')}/{quote(key[1], safe='')}/qr"


def restart_link(key: Key) -> str:
    """Where a restart of a session is asked for."""
    return f"/api/v1/sessions/{quote(key[0], safe='')}/{quote(key[1], safe='')}/restart"


def runbook_link(alert: str, key: Key = ("", "")) -> str:
    """Where the runbook of an alert is, filled in for a session or a source."""
    about = {name: value for name, value in zip(("source", "session"), key, strict=True) if value}
    return f"/runbooks/{quote(alert, safe='')}" + (f"?{urlencode(about, quote_via=quote)}" if about else "")


def dashboard_link(key: Key) -> str:
    """Where Grafana shows a session, below its own address."""
    return "/d/wawp-session?" + urlencode({"var-source": key[0], "var-session": key[1]}, quote_via=quote)


def rooted(link: Callable[..., str]) -> Callable[..., str]:
    """A filter that makes a link to one of our own pages."""

    @jinja2.pass_context
    def below(context: jinja2.runtime.Context, *about: Any) -> str:
        return f"{context['root']}{link(*about)}"

    return below


def load_templates() -> None:
    """Reads them all: to read one later takes a file descriptor, of which there may be none left.

    Each is compiled when it is first used: all of them would take a sixth of a start.
    """
    read = jinja2.PackageLoader("wawp_exporter.web").get_source
    templates.loader = jinja2.DictLoader({name: read(templates, name)[0] for name in templates.list_templates()})


templates = jinja2.Environment(
    loader=jinja2.PackageLoader("wawp_exporter.web"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
    auto_reload=False,
)
templates.filters.update(
    age=age,
    utc=utc,
    local=local,
    short=short,
    step=step,
    day=day,
    shade=shade,
    session_link=rooted(session_link),
    qr_link=rooted(qr_link),
    restart_link=rooted(restart_link),
    runbook_link=rooted(runbook_link),
    dashboard_link=dashboard_link,
    percent=percent,
    duration=duration,
)
templates.globals.update(
    statuses=STATUSES,
    ranges=RANGES,
    weekdays=WEEKDAYS,
    needs_shown=NEEDS_SHOWN,
    groups_shown=GROUPS_SHOWN,
    rows_shown=PAGE_ROWS,
    labelled=LABELLED,
)
