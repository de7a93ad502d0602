"""The pages as they are without a script: what they say, what they link to, and what they refuse."""

import re
from collections.abc import Iterator
from datetime import date, timedelta
from html import unescape
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from starlette.datastructures import URL

from tests import parts
from tests.builders import KEY, config, live, make_fleet, ms
from wawp_exporter.dialects.registry import DIALECTS
from wawp_exporter.metrics.telemetry import REASONS
from wawp_exporter.model.alerts import ALERTS, MASS_ALERTS
from wawp_exporter.model.facts import Problem
from wawp_exporter.model.outage import Kind
from wawp_exporter.web.pages import feeds
from wawp_exporter.web.pages.fleet import FleetQuery, FleetView
from wawp_exporter.web.pages.problems import OUTAGE_WORDS, WORDS, Need, need_of, needs_of
from wawp_exporter.web.pages.render import session_link
from wawp_exporter.web.pages.standing import standing_of
from wawp_exporter.web.pages.welcome import address

RUNBOOKS = parts.ROOT / "alerts" / "runbooks"
S, Q, W, F, X, D = "STARTING", "SCAN_QR_CODE", "WORKING", "FAILED", "STOPPED", "DISCONNECTED"
HOSTILE = "<b>x</b>/\"é'&\n😀"


@pytest.fixture(scope="module")
def exporter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[parts.Exporter]:
    """A fleet in which everything is somewhere."""
    settings = {
        "groups": {"sales": ["default/down", "default/up"], "lost": ["default/waiting", "default/unseen"]},
        "sessions": [{"session": "wait*", "owner": "ana"}],
    }
    with parts.Exporter(settings, tmp_path_factory.mktemp("pages"), pace=0.02) as exporter:
        for name, *told in (
            ("up", (W, 7200)),
            ("down", (W, 7200), (D, 60)),
            ("waiting", (S, 900), (Q, 890)),
            ("stopped", (W, 7200), (X, 3600)),
            (HOSTILE, (W, 100)),
            ("odd", ("READY", 50)),
            ("gone", (W, 500), (F, 400)),
        ):
            for status, ago in told:
                at = parts.now_ms() - ago * 1000
                assert exporter.post(parts.envelope(session=name, status=status, timestamp=at)).status_code == 200
        exporter.client.delete(f"{exporter.url}/api/v1/sessions/default/gone")
        parts.wait_until(lambda: exporter.get("/api/v1/problems").json()["total"] == 3)
        yield exporter


def text(exporter: parts.Exporter, path: str, status: int = 200, **query: str) -> str:
    """A page as a person reads it: no tags, single spaces."""
    answer = exporter.client.get(exporter.url + path, params=query)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", answer.text)).split())


def rows(exporter: parts.Exporter, **query: str) -> set[str]:
    """The sessions of the big table."""
    page = exporter.client.get(exporter.url + "/", params=query).text
    table = page[page.index('id="sessions"') :]
    return set(re.findall(r'<th scope="row"><a href="/sessions/default/([^"]*)"', table))


# -- who needs a human


def test_the_page_shows_what_the_judge_says_first_things_first() -> None:
    """The alerts speak of the same sessions, since the same moment."""
    assert need_of({Problem.FLAPPING: 1, Problem.FAILED: 2}) == Need(Problem.FAILED, 2)
    assert need_of({}) is None
    assert set(WORDS) == set(Problem)
    assert set(OUTAGE_WORDS) == set(Kind)


def test_a_session_that_failed_needs_somebody_once_the_judge_says_so() -> None:
    """Its limit is 10 s, and then it settles for 10 s."""
    fleet = live((W, 0), (F, 5))

    found = []
    for second in (24, 25):
        fleet.advance(ms(second), second)
        found.append(needs_of(fleet))

    assert found == [{}, {KEY: Need(Problem.FAILED, ms(5))}]


def test_an_outage_is_one_line_with_its_sessions_behind_it() -> None:
    """Their own problems are muted, and they are among those who need somebody."""
    fleet = make_fleet()
    for number in range(5):
        live((W, number), key=("default", f"s-{number}"), fleet=fleet)
    for number in range(4):
        live((F, 100 + number), key=("default", f"s-{number}"), fleet=fleet)
    fleet.advance(ms(200), 200)

    standing = standing_of(fleet, [])
    view = FleetView(fleet, FleetQuery(need=True), standing)

    (line,) = standing.outages
    assert line.words == "4 GOWS sessions of default are lost at once"
    assert {session.name for session in view.shown} == {"s-0", "s-1", "s-2", "s-3"}
    assert standing.summary == "1 outage, and 0 of 5 sessions need a human"


def test_an_outage_whose_sessions_are_all_back_says_so() -> None:
    """It is over three minutes later."""
    fleet = make_fleet()
    for status, at in ((W, 0), (F, 100), (W, 300)):
        for number in range(4):
            live((status, at + number), key=("default", f"s-{number}"), fleet=fleet)
        fleet.advance(ms(at + 90), at + 90)

    (line,) = standing_of(fleet, []).outages
    assert line.words == "all GOWS sessions of default that it held are back"


def test_every_problem_has_a_runbook() -> None:
    """The page links to it."""
    alerts = {*ALERTS.values(), *MASS_ALERTS.values()}
    assert [alert for alert in alerts if not (RUNBOOKS / f"{alert}.md").exists()] == []


def test_an_empty_fleet_says_how_to_send_the_first_webhook_and_nothing_else(tmp_path: Path) -> None:
    """With the addresses of this very exporter, so that they can be pasted."""
    (tmp_path / "keys").write_text("k3y\n")
    (tmp_path / "token").write_text("t0ken\n")
    sources = {"default": {"hmac_keys_file": "keys"}, "evo": {"dialect": "evolution", "token_file": "token"}}
    with parts.Exporter({"sources": sources}, tmp_path) as exporter:
        page = text(exporter, "/")

        assert f"WHATSAPP_HOOK_URL={exporter.url}/webhook WHATSAPP_HOOK_EVENTS=session.status" in page
        assert "WHATSAPP_HOOK_HMAC_KEY=the key in the file that sources.default.hmac_keys_file names" in page
        assert f"{exporter.url}/webhook/evo?token=TOKEN" in page
        assert "k3y" not in page
        assert "t0ken" not in page
        for absent in ("Search", "History", "Needs a human", "All clear"):
            assert absent not in page


def test_an_address_for_everybody_is_shown_in_an_empty_fleet(tmp_path: Path) -> None:
    """`external_url` where webhooks come that way too, the host that the reader uses where all are listened on."""
    with parts.Exporter({"web": {"external_url": "https://wawp.example/x"}}, tmp_path) as exporter:
        assert "WHATSAPP_HOOK_URL=https://wawp.example/x/webhook" in text(exporter, "/")
    web = {"listen": "127.0.0.1:10011", "ingress_listen": "0.0.0.0:10012"}
    sources = {"default": {"allow_unsigned": True}}
    assert address(config(web=web, sources=sources), URL("http://10.0.0.7:10011/")) == "http://10.0.0.7:10012"


# -- no false all-clear


def test_the_headline_is_of_the_whole_fleet_whatever_is_filtered(exporter: parts.Exporter) -> None:
    """A filter that matches nobody must not look like a fleet that is well."""
    page = text(exporter, "/", q="zzz")

    assert "A failover group is exhausted, and 2 of 6 sessions need a human" in page
    assert 'class="bad"' in exporter.client.get(exporter.url + "/", params={"q": "zzz"}).text
    assert "2 more need a human, outside of this filter" in page


def test_refused_webhooks_stand_in_the_headline_with_the_setting_to_check(tmp_path: Path) -> None:
    """A wrong key makes every other figure old; the log says so too, once in a while."""
    (tmp_path / "keys").write_text("k3y\n")
    with parts.Exporter({"sources": {"default": {"hmac_keys_file": "keys"}}}, tmp_path) as exporter:
        body = parts.envelope(session="a", status=W, timestamp=parts.now_ms())
        for _ in range(4):
            assert exporter.post(body, headers={"X-Webhook-Request-Id": "1"}).status_code == 401
        page = text(exporter, "/")

        assert "Webhooks are refused, and 0 of 0 sessions need a human" in page
        assert "4 webhooks refused: header X-Webhook-Hmac missing → check WHATSAPP_HOOK_HMAC_KEY" in page
    assert exporter.stderr.count('event="webhook refused"') == 1, exporter.stderr


@pytest.mark.parametrize(
    ("dialect", "setting"), [("evolution", "WEBHOOK_GLOBAL_URL"), ("wppconnect", "start-session"), ("waha", "?secret=")]
)
def test_a_wrong_token_names_the_setting_of_its_gateway(dialect: str, setting: str) -> None:
    """Each gateway has it elsewhere."""
    source = config(sources={"shop": {"dialect": dialect}}).sources["shop"]
    wrong, step = feeds.WORDS["bad_token"]("shop", source)

    assert "token" in wrong
    assert setting in step


def test_every_dialect_has_its_settings() -> None:
    """A wrong key must be mended at the right gateway."""
    assert set(feeds.TOKEN_SETTINGS) == set(DIALECTS)


def test_every_reason_of_a_refusal_that_may_be_the_gateways_has_words() -> None:
    """Too long a body is a stranger's, or a gateway's that is told so each time."""
    assert set(feeds.WORDS) == set(REASONS) - {"too_large"}


def test_a_gateway_that_does_not_answer_stands_in_the_headline(tmp_path: Path) -> None:
    """What is known of its sessions may be old."""
    api = {"url": "http://127.0.0.1:9", "poll_interval": "1s"}
    with parts.Exporter({"sources": {"default": {"api": api}}}, tmp_path) as exporter:
        exporter.post(parts.envelope(session="a", status=W, timestamp=parts.now_ms()))
        parts.wait_until(lambda: "A gateway does not answer, and 0 of 1 sessions need a human" in text(exporter, "/"))


def test_a_shard_says_that_it_is_one() -> None:
    """Its lists are a part of the fleet only."""
    fleet = make_fleet(shard={"index": 1, "total": 4}, database={"url": "postgresql://h/n"})

    assert standing_of(fleet, []).summary == "0 of 0 sessions need a human (shard 2 of 4)"


# -- the fleet page


def test_the_fleet_page_begins_with_who_needs_a_human(exporter: parts.Exporter) -> None:
    """How many, who, since when, and what to do."""
    page = text(exporter, "/")

    assert "2 of 6 sessions need a human" in page
    needing = page[page.index("a human") : page.index("Search and filter")]
    assert re.search(r"down disconnected since [^)]*\( 1m .*waiting login overdue since [^)]*\( 1\dm", needing)
    assert "Call whoever has the phone" in needing
    assert "Runbook WawpSessionQrEscalated" in needing


def test_groups_say_who_serves_them(exporter: parts.Exporter) -> None:
    """Those that nobody serves come first."""
    page = text(exporter, "/")

    groups = page[page.index("Failover groups") : page.index("History")]
    assert groups.index("lost nobody 0 of 1") < groups.index("sales up 1 of 2")
    assert "unseen never seen" in groups


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"q": "wait"}, {"waiting"}),
        ({"q": "ANA"}, {"waiting"}),
        ({"status": "WORKING"}, {"up", quote(HOSTILE, safe="")}),
        ({"group": "sales"}, {"up", "down"}),
        ({"need": "1"}, {"down", "waiting"}),
        ({"q": "", "status": "", "group": "", "engine": ""}, None),
        ({"q": "nobody"}, set()),
    ],
)
def test_the_table_can_be_filtered_without_a_script(
    exporter: parts.Exporter, query: dict[str, str], expected: set[str] | None
) -> None:
    """A form sends what was left empty too."""
    everybody = {"up", "down", "waiting", "stopped", "odd", quote(HOSTILE, safe="")}

    assert rows(exporter, **query) == (everybody if expected is None else expected)


@pytest.mark.parametrize("query", [{"range": "2h"}, {"status": "FINE"}, {"page": "x"}])
def test_a_wrong_parameter_is_refused(exporter: parts.Exporter, query: dict[str, str]) -> None:
    """In the one shape of errors, naming it."""
    answer = exporter.client.get(exporter.url + "/", params=query)

    assert answer.status_code == 400
    assert answer.json()["error"].startswith(next(iter(query)))


def test_a_large_fleet_comes_in_pages() -> None:
    """A hundred rows each; a page beyond the last is the last."""
    fleet = make_fleet()
    for number in range(250):
        live((W, 0), key=("default", f"s-{number:03}"), fleet=fleet)

    views = [FleetView(fleet, FleetQuery(page=page), standing_of(fleet, [])) for page in (1, 3, 9)]

    assert [len(view.rows) for view in views] == [100, 50, 50]
    assert views[1].rows == views[2].rows


# -- a session's page


def test_a_session_page_tells_its_state_and_its_past(exporter: parts.Exporter) -> None:
    """What is wrong and what to do, uptime with coverage, facts, transitions."""
    page = text(exporter, "/sessions/default/down")

    # It was lost a minute before the first test; a slow machine takes minutes for those before this one.
    assert re.search(r"DISCONNECTED for \dm", page)
    assert "what to do: WawpSessionDisconnected" in page
    assert re.search(r"24 hours 9[4-9]\.\d\d\d % 8\.\d\d\d % \dm", page)
    assert "Group sales" in page
    assert re.search(r"WORKING DISCONNECTED (at once|\dm)", page)


def test_any_name_has_a_page(exporter: parts.Exporter) -> None:
    """Tags, slashes, quotes, line ends and emoji; shown as they are and run as nothing."""
    answer = exporter.client.get(f"{exporter.url}/sessions/default/{quote(HOSTILE, safe='')}")

    assert answer.status_code == 200
    assert "<b>x</b>" not in answer.text
    assert "&lt;b&gt;x&lt;/b&gt;" in answer.text


@pytest.mark.parametrize("name", [".", ".."])
@pytest.mark.parametrize("cursor", ["", "MTIz"])
def test_a_link_to_a_page_says_the_same_to_every_client(name: str, cursor: str) -> None:
    """Browsers resolve `.` and `..` in a path, encoded or not: such a name stands in the query."""
    link = session_link(("default", name), cursor)

    resolved = httpx.URL("http://x/").join(link)
    assert str(resolved) == f"http://x{link}"
    assert dict(resolved.params) == {"session": name, **({"cursor": cursor} if cursor else {})}


def test_a_session_with_dots_for_a_name_has_a_page(exporter: parts.Exporter) -> None:
    """Where the link leads."""
    assert "No session .. is known" in text(exporter, "/sessions/default", 404, session="..")
    assert exporter.client.get(exporter.url + session_link(("default", "."))).status_code == 404


def test_an_unknown_session_is_said_to_be_unknown(exporter: parts.Exporter) -> None:
    """404, for people."""
    assert "No session unheard is known" in text(exporter, "/sessions/default/unheard", 404)


def test_a_deleted_session_still_has_its_history(exporter: parts.Exporter) -> None:
    """The log keeps it."""
    page = text(exporter, "/sessions/default/gone", 404)

    assert "It was deleted" in page
    assert "WORKING FAILED" in page


def test_what_an_unknown_status_was_sent_as_is_told(exporter: parts.Exporter) -> None:
    """The log has it verbatim."""
    assert "UNKNOWN sent as READY" in text(exporter, "/sessions/default/odd")


# -- the audit page


def test_the_audit_page_has_the_figures_of_the_api(exporter: parts.Exporter) -> None:
    """Page, API and command line read the same."""
    asked = {"from": "24h", "to": str(parts.now_ms() // 1000), "session": "down"}
    page = text(exporter, "/audit", **asked)
    report = exporter.client.get(f"{exporter.url}/api/v1/audit", params=asked).json()

    (row,) = report["sessions"]
    assert f"{int(row['uptime_ratio'] * 100_000) / 1000:.3f} %"[:5] in page
    assert row["disconnects"] == 1
    assert "Disconnects by hour of the week" in page
    assert "No session disconnects in the same hour of the week" in page


def test_the_audit_page_says_whether_the_objective_was_met(exporter: parts.Exporter) -> None:
    """In a sentence for all that was asked for, and for each row; a session that never worked has no uptime."""
    met, none = text(exporter, "/audit", session="up"), text(exporter, "/audit", session="waiting")

    assert "uptime 100.000 % , the objective of 99 % is met ." in met
    assert "up default met 100.000 %" in met
    assert "session waiting: no time that counts." in none


def test_the_last_day_of_an_audit_is_included(exporter: parts.Exporter) -> None:
    """As people say a period; the files that are linked are of the same."""
    given = {"from": "2026-01-30", "last": "2026-01-31", "timezone": "Europe/Madrid"}
    page = exporter.client.get(f"{exporter.url}/audit", params=given).text

    assert "2026-01-30 00:00 to 2026-02-01 00:00 (Europe/Madrid)" in page
    assert 'name="last" value="2026-01-31"' in page
    assert 'name="timezone" value="Europe/Madrid"' in page
    assert "times are in Europe/Madrid</footer>" in page
    assert "from=2026-01-30&amp;to=2026-02-01&amp;timezone=Europe%2FMadrid&amp;format=csv" in page


def test_an_audit_of_last_month_is_one_click_away(exporter: parts.Exporter) -> None:
    """A whole month of the calendar, and of the same sessions as before."""
    page = unescape(exporter.client.get(f"{exporter.url}/audit", params={"group": "sales"}).text)
    (query,) = re.findall(r'href="/audit\?([^"]*)">Last month<', page)
    month = unescape(exporter.client.get(f"{exporter.url}/audit?{query}").text)

    first, last = map(date.fromisoformat, re.fullmatch(r"from=(.*)&last=(.*)&group=sales", query).groups())  # type: ignore[union-attr]
    assert (first.day, (last + timedelta(days=1)).day) == (1, 1)
    assert 0 <= (last - first).days <= 30
    assert f"{first} 00:00 to {last + timedelta(days=1)} 00:00 (UTC), group sales" in month
    assert ">Last month<" in month.split('aria-current="page"')[2][:20]


def test_an_audit_offers_what_there_is(exporter: parts.Exporter) -> None:
    """Sources, sessions, groups and time zones; what was asked for stays chosen, whether it is known or not."""
    page = exporter.client.get(f"{exporter.url}/audit", params={"source": "elsewhere"}).text

    for option in ("<option>default", "<option selected>elsewhere", "<option>lost", '<option value="down"'):
        assert option in page
    assert '<option value="America/Sao_Paulo">' in page


def test_csv_is_for_who_asks(exporter: parts.Exporter) -> None:
    """By format or by Accept."""
    url = f"{exporter.url}/api/v1/audit"
    by_format = exporter.client.get(url, params={"format": "csv"})
    by_accept = exporter.client.get(url, headers={"Accept": "text/csv"})

    for answer in (by_format, by_accept):
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        assert answer.text.startswith("kind,source,name,")
    assert "attachment" in by_format.headers["content-disposition"]


def test_a_mistake_in_the_form_is_shown_beside_it(exporter: parts.Exporter) -> None:
    """What was typed is kept."""
    answer = exporter.client.get(f"{exporter.url}/audit", params={"timezone": "Mars/Olympus"})

    assert answer.status_code == 400
    assert "timezone: not a known time zone" in unescape(answer.text)
    assert 'value="Mars/Olympus"' in answer.text
    assert "last: not a day, expected one such as" in text(exporter, "/audit", 400, last="soon")


def test_the_audit_of_the_api_names_what_is_wrong(exporter: parts.Exporter) -> None:
    """In the one shape of errors."""
    answer = exporter.client.get(f"{exporter.url}/api/v1/audit", params={"from": "soon"})

    assert answer.status_code == 400
    assert answer.json()["error"].startswith("from: not a time, expected a date")


def test_transitions_of_the_api_are_those_of_the_log(exporter: parts.Exporter) -> None:
    """Newest first, filtered, with a cursor."""
    url = f"{exporter.url}/api/v1/transitions"
    first = exporter.client.get(url, params={"session": "down", "limit": 1}).json()
    second = exporter.client.get(url, params={"session": "down", "cursor": first["next_cursor"]}).json()

    assert [(t["from"], t["to"]) for t in first["transitions"]] == [(W, D)]
    assert [(t["from"], t["to"]) for t in second["transitions"]] == [(None, W)]
    assert second["next_cursor"] is None


def test_the_reason_of_a_loss_is_shown_wherever_the_loss_is(tmp_path: Path) -> None:
    """By the API, on the session's page, and in the audit."""
    with parts.Exporter({"sources": {"wpp": {"dialect": "wppconnect"}}}, tmp_path) as exporter:
        for status in ("inChat", "disconnectedMobile", "browserClose"):
            exporter.post({"event": "status-find", "session": "s", "status": status}, source="wpp").raise_for_status()
        newest, first = exporter.get("/api/v1/transitions").json()["transitions"]
        report = exporter.get("/api/v1/audit?from=1h").json()
        page, audit = text(exporter, "/sessions/wpp/s"), text(exporter, "/audit", **{"from": "1h"})

    assert [(each["to"], each["reason"]) for each in (first, newest)] == [(W, ""), ("FAILED", "logged_out")]
    assert report["losses"] == [{"reason": "logged_out", "losses": 1, "sessions": 1}]
    assert "Reason logged out" in page
    assert "FAILED logged out at once" in page
    assert "logged out 1 1" in audit


# -- what goes wrong


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/absent", 404, "There is no such page"),
        ("/?range=2h", 400, "That address cannot be read"),
        ("/sessions/default/up?cursor=x", 400, "That address cannot be read"),
    ],
)
def test_wrong_pages_answer_as_pages(exporter: parts.Exporter, path: str, status: int, words: str) -> None:
    """To a browser; programs get JSON, whatever they accept."""
    as_page = exporter.get(path, {"Accept": "text/html,*/*"})
    as_json = exporter.get(path)

    assert (as_page.status_code, as_json.status_code) == (status, status)
    assert f"<h1>{words}</h1>" in as_page.text
    assert as_page.headers["content-security-policy"].startswith("default-src 'none'")
    assert as_json.json()["error"]
    assert exporter.get("/api/v1/absent", {"Accept": "text/html"}).json()["error"] == "not found"


def test_without_an_api_a_page_says_what_the_qr_code_and_a_restart_need(exporter: parts.Exporter) -> None:
    """And where to scan meanwhile."""
    page = text(exporter, "/sessions/default/waiting")

    assert "QR display needs sources.default.api ; meanwhile scan in the gateway's own dashboard" in page
    assert "A restart from here needs sources.default.api" in page
    assert "Call whoever has the phone" in page
    assert "$W/api/sessions/waiting/restart" in page


# -- tokens


def test_pages_need_the_token_where_one_is_configured(tmp_path: Path) -> None:
    """Browsers give it as the password."""
    (tmp_path / "token").write_text("t0ken\n")
    with parts.Exporter({"web": {"api_token_file": "token"}}, tmp_path) as exporter:
        for path in ("/", "/audit", "/sessions/default/a", "/api/v1/sessions", "/api/v1/audit", "/api/openapi.json"):
            assert exporter.client.get(exporter.url + path).status_code == 401, path
        assert exporter.client.get(exporter.url + "/", auth=("me", "t0ken")).status_code == 200
        assert "<h1>A token is needed</h1>" in exporter.get("/", {"Accept": "text/html"}).text
