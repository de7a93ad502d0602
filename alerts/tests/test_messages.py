"""What a human reads: the shipped templates, rendered by amtool, and each kind of receiver as it is really sent."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from cases import ALERTS, texts
from promtool import RELEASES, find, run

from alerts.tests import recorder, stack
from tests import parts

PAGES, GRAFANA = "https://wawp.example/fleet", "https://grafana.example/"
BEGAN, ENDED = "2026-11-23T04:00:00Z", "2026-11-23T04:03:30Z"
RUNBOOKS = "https://github.com/wawp/wawp-exporter/blob/main/alerts/runbooks"
# The first Alertmanager that has this kind of receiver is the one of this release.
SINCE = {"msteams": "trixie", "whatsapp": "forky"}
RECEIVERS = [each["name"] for each in yaml.safe_load((ALERTS / "receivers.yml").read_text())["receivers"]]

PRESENT = {
    "is",
    "are",
    "has",
    "have",
    "must",
    "cannot",
    "does",
    "do",
    "runs",
    "sends",
    "restricts",
    "knows",
    "works",
    "come",
}

Alert = dict[str, Any]


def alert(session: str = "session-003", status: str = "firing", **labels: str) -> Alert:
    """An alert of a session as Alertmanager gives it to a template."""
    found = {
        "alertname": "WawpSessionStuckStarting",
        "severity": "warning",
        "category": "session",
        "source": "default",
        "session": session,
        "engine": "GOWS",
        "owner": "ana",
        **labels,
    }
    told = {
        "summary": f"{session} is stuck in STARTING",
        "description": "It has been STARTING for 12.35s.",
        "action": "Restart it.",
        "lasted": "3m 12s",
        "runbook_url": f"{RUNBOOKS}/WawpSessionStuckStarting.md",
        "dashboard_url": f"/d/wawp-session?var-source=default&var-session={session}",
    }
    return {"status": status, "labels": found, "annotations": told, "startsAt": BEGAN, "endsAt": ENDED}


def common(maps: list[dict[str, str]]) -> dict[str, str]:
    """What all of them have."""
    return {key: value for key, value in maps[0].items() if all(each.get(key) == value for each in maps)}


def message(*alerts: Alert) -> dict[str, Any]:
    """A notification about these alerts, as Alertmanager makes it."""
    firing = any(each["status"] == "firing" for each in alerts)
    labels = common([each["labels"] for each in alerts])
    return {
        "status": "firing" if firing else "resolved",
        "receiver": "somebody",
        "externalURL": "http://alertmanager.example:9093",
        "groupLabels": labels,
        "commonLabels": labels,
        "commonAnnotations": common([each["annotations"] for each in alerts]),
        "alerts": list(alerts),
    }


class Renderer:
    """The amtool of one release, with templates whose addresses may be filled in."""

    def __init__(self, release: str, folder: Path) -> None:
        self.amtool, self.folder, self.glob = find(release).amtool, folder, f"{ALERTS}/templates/*.tmpl"

    def fill(self, **settings: str) -> None:
        """Addresses, or a time zone."""
        (self.folder / "templates").mkdir(exist_ok=True)
        self.glob = stack.filled_templates(self.folder / "templates", **settings)

    def __call__(self, name: str, *alerts: Alert, kind: str = "text") -> str:
        """What the template makes of a message about these alerts."""
        data = self.folder / "message.json"
        data.write_text(json.dumps(message(*alerts)))
        text = f'--template.text={{{{ template "wawp.{name}" . }}}}'
        where = (f"--template.glob={self.glob}", f"--template.type={kind}", f"--template.data={data}")
        done = run(self.amtool, "template", "render", text, *where)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()


@pytest.fixture(params=RELEASES)
def render(request: pytest.FixtureRequest, tmp_path: Path) -> Renderer:
    return Renderer(request.param, tmp_path)


# Titles


def test_a_title_says_how_bad_and_what(render: Renderer) -> None:
    """All that a locked phone shows."""
    assert render("title", alert()) == "WARNING: session-003 is stuck in STARTING"


def test_what_is_over_is_told_in_the_past_tense_with_how_long_it_lasted(render: Renderer) -> None:
    """`lasted` is the rule's: an alert begins later than the problem."""
    assert render("title", alert(status="resolved")) == "RESOLVED: session-003 was stuck in STARTING (3m 12s)"


@pytest.mark.parametrize(
    ("lasted", "shown"),
    [
        ("12.35s", "12s"),
        ("3m 12s", "3m 12s"),
        ("1h 2m 3s", "1h 2m"),
        ("2d 3h 4m 5s", "2d 3h 4m"),
        ("5m 0s", "5m"),
        ("0s", "3m 30s"),
        ("", "3m 30s"),
    ],
)
def test_how_long_it_lasted_is_rounded(render: Renderer, lasted: str, shown: str) -> None:
    """Without the annotation, and without a time in it, it is from the alert's begin to its end."""
    over = alert(status="resolved")
    over["annotations"]["lasted"] = lasted

    assert render("title", over).endswith(f" ({shown})")


def test_a_name_that_holds_a_verb_stays_as_it_is(render: Renderer) -> None:
    """Only the sentence behind it goes into the past."""
    over = alert("who is this", status="resolved")

    assert render("title", over) == "RESOLVED: who is this was stuck in STARTING (3m 12s)"


def test_a_title_of_several_names_three_of_them(render: Renderer) -> None:
    """So that the chat's list of messages says which sessions."""
    names = [f"s{number}" for number in range(12)]

    assert (
        render("title", *map(alert, names)) == "WARNING: WawpSessionStuckStarting ×12 on default: s0, s1, s2 and 9 more"
    )
    assert render("title", *map(alert, names[:2])) == "WARNING: WawpSessionStuckStarting ×2 on default: s0, s1"


def test_a_title_does_not_count_what_is_over(render: Renderer) -> None:
    """One message may hold both; what is over is listed in its text."""
    both = (alert("gone", status="resolved"), alert())

    assert render("title", *both) == "WARNING: session-003 is stuck in STARTING"
    assert "Over:\n• gone was stuck in STARTING (3m 12s), owner ana" in render("details", *both)


@pytest.mark.parametrize("entry", [pytest.param(entry, id=name) for name, entry in texts().items()])
def test_no_shipped_summary_is_over_in_the_present_tense(entry: Mapping[str, Any], tmp_path: Path) -> None:
    """The summaries that promtool saw, each as the title of its "resolved"."""
    render = Renderer(RELEASES[0], tmp_path)
    for fired in entry["alerts"]:
        told = {**alert()["annotations"], **fired["exp_annotations"]}
        over = {**alert(status="resolved"), "labels": {**fired["exp_labels"]}, "annotations": told}
        title = render("title", over)

        assert title.startswith("RESOLVED: ")
        words = set(title.replace(fired["exp_labels"].get("session", "\0"), "").replace(",", "").split())
        assert not words & PRESENT, title


def outage(step: int, status: str = "firing") -> Alert:
    """One step of an outage that has reached 30 sessions."""
    labels = {"alertname": "WawpMassDisconnect", "severity": "critical", "category": "mass"}
    found = {**labels, "source": "default", "engine": "GOWS", "kind": "disconnect", "step": str(step)}
    told = {"summary": "Mass disconnect: 31 sessions are lost", "description": f"At least {step}.", "action": "Look."}
    return {"status": status, "labels": found, "annotations": told, "startsAt": BEGAN, "endsAt": ENDED}


def test_an_outage_shows_its_highest_step_only(render: Renderer) -> None:
    """Each step is an alert; the labels of steps are sorted as text, 10 and 100 before 3."""
    steps = [outage(step) for step in (10, 100, 3, 30)]

    assert render("title", *steps) == "CRITICAL: Mass disconnect: 31 sessions are lost"
    assert render("details", *steps).splitlines()[:3] == [
        "critical since 23 Nov 04:00 UTC",
        "At least 100.",
        "Do first: Look.",
    ]


def test_the_end_of_an_outage_is_one_line(render: Renderer) -> None:
    """All steps end together, when hardly any session is still lost: the largest step says how many there were."""
    steps = [outage(step, "resolved") for step in (10, 3)]

    assert render("title", *steps) == "RESOLVED: Mass disconnect: 10 or more sessions were lost (3m 30s)"


# Messages


def test_a_message_says_how_bad_since_when_whose_what_to_do_first_and_where(render: Renderer) -> None:
    """With every address known."""
    render.fill(external_url=PAGES, grafana_url=GRAFANA)

    assert render("text", alert("sales/uk 1+2")).splitlines() == [
        "WARNING: sales/uk 1+2 is stuck in STARTING",
        "warning since 23 Nov 04:00 UTC, owner ana",
        "It has been STARTING for 12s.",
        "Do first: Restart it.",
        f"Session page: {PAGES}/sessions/default/sales%2Fuk%201%2B2",
        "Grafana: https://grafana.example/d/wawp-session?var-source=default&var-session=sales/uk 1+2",
        f"Runbook: {PAGES}/runbooks/WawpSessionStuckStarting?source=default&session=sales%2Fuk%201%2B2",
        "Silence: http://alertmanager.example:9093/#/silences/new?filter=%7Balertname%3D%22WawpSessionStuckStarting%22"
        "%2Csource%3D%22default%22%2Csession%3D%22sales%2Fuk%201%2B2%22%7D",
    ]


def test_a_link_without_an_address_is_left_out(render: Renderer) -> None:
    """As shipped: the runbook is on the Web, and Alertmanager knows its own address."""
    links = [line.split(":")[0] for line in render("text", alert()).splitlines()[4:]]

    assert links == ["Runbook", "Silence"]
    assert f"Runbook: {RUNBOOKS}/WawpSessionStuckStarting.md" in render("text", alert())
    assert render("page_link", alert()) == render("grafana_link", alert()) == ""


def test_a_runbook_about_the_exporter_is_not_read_from_the_exporter(render: Renderer) -> None:
    """It may be down."""
    render.fill(external_url=PAGES)

    assert render("runbook_link", alert(category="exporter")) == f"{RUNBOOKS}/WawpSessionStuckStarting.md"


@pytest.mark.parametrize("name", [".", ".."])
def test_a_name_that_browsers_resolve_stands_in_the_query(render: Renderer, name: str) -> None:
    """Else the link would lead to another page."""
    render.fill(external_url=PAGES)

    assert render("page_link", alert(name)) == f"{PAGES}/sessions/default?session={name}"


def test_a_message_about_several_leads_to_the_page_of_the_fleet(render: Renderer) -> None:
    """As do mass alerts, and the exporter's own."""
    render.fill(external_url=PAGES, grafana_url=GRAFANA)
    text = render("text", alert("a"), alert("b"))

    assert f"Fleet page: {PAGES}/\n" in text
    assert "Grafana: https://grafana.example/d/wawp-fleet?var-source=default\n" in text


def test_a_message_of_many_lists_ten_and_counts_the_rest(render: Renderer) -> None:
    """A phone shows no thirty alerts. What to do first is said once."""
    text = render("details", *[alert(f"s{number}") for number in range(12)])

    assert text.count("•") == 10
    assert "… 12 in all\nDo first: Restart it.\n" in text


def test_a_resolved_message_says_from_when_to_when_and_asks_nothing(render: Renderer) -> None:
    """Nothing is to be done, so there is no runbook and no silence."""
    render.fill(external_url=PAGES)

    assert render("details", alert(status="resolved")).splitlines() == [
        "23 Nov 04:00 UTC to 23 Nov 04:03 UTC, owner ana",
        f"Session page: {PAGES}/sessions/default/session-003",
    ]


@pytest.mark.parametrize("render", RELEASES[1:], indirect=True)
def test_times_are_local_where_alertmanager_knows_zones(render: Renderer) -> None:
    """From 0.28 on; 0.25 refuses a template that asks for a zone."""
    render.fill(zone="Europe/Madrid")

    assert render("details", alert()).startswith("warning since 23 Nov 05:00 CET, owner ana")


def test_no_name_becomes_a_command_of_a_chat(render: Renderer) -> None:
    """`<!channel>` would wake everybody; and HTML is escaped."""
    both = (alert("<!channel>"), alert("<b>"))

    assert "<!channel>" not in render("slack", *both)
    assert "• \N{SINGLE LEFT-POINTING ANGLE QUOTATION MARK}b> is stuck" in render("slack", *both)
    assert "<b>" not in render("html", *both, kind="html").partition("</b>")[2]


def test_a_foreign_alert_has_a_title_too(render: Renderer) -> None:
    """Receivers may be shared with rules that know nothing of our annotations."""
    foreign = {**alert(), "labels": {"alertname": "HostDown"}, "annotations": {}}

    assert render("title", foreign) == "WARNING: HostDown"
    assert render("runbook_link", foreign) == "http://alertmanager.example:9093"


def test_a_name_as_long_as_there_can_be_does_not_lose_the_message(render: Renderer) -> None:
    """Telegram takes 4096 characters; Alertmanager cuts off the rest, and a link that is cut off is refused."""
    render.fill(external_url=PAGES, grafana_url=GRAFANA)
    long = "\N{CJK UNIFIED IDEOGRAPH-65E5}" * 85

    assert len(render("html", alert(long), kind="html")) < 2000
    assert len(render("html", *[alert(long)] * 12, kind="html")) < 3000
    assert f"Fleet page: {PAGES}/\n" in render("text", alert(long))


# Receivers


def test_the_shipped_routes_use_the_same_receivers() -> None:
    """What is copied from receivers.yml is what the shipped file has."""
    kinds = {"api_url", "channel", "to", "from", "smarthost", "auth_username", "auth_password", "routing_key"}

    def form(receiver: Mapping[str, Any]) -> dict[str, Any]:
        ((kind, (settings,)),) = [(key, value) for key, value in receiver.items() if key != "name"]
        return {"kind": kind, **{key: value for key, value in settings.items() if key not in kinds}}

    kept = [form(each) for each in yaml.safe_load((ALERTS / "receivers.yml").read_text())["receivers"]]
    for receiver in yaml.safe_load((ALERTS / "alertmanager.yml").read_text())["receivers"]:
        if receiver["name"] not in {"dead-mans-switch", "audit-mail"}:
            assert form(receiver) in kept


@pytest.fixture(scope="module", params=RELEASES)
def post(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[recorder.Recorder]:
    """A recorder to which every receiver of this release has been sent one alert, and its end."""
    folder = tmp_path_factory.mktemp("templates")
    shipped = yaml.safe_load((ALERTS / "receivers.yml").read_text())["receivers"]
    usable = [r for r in shipped if RELEASES.index(SINCE.get(r["name"], RELEASES[0])) <= RELEASES.index(request.param)]
    find(request.param)
    with recorder.Recorder() as found:
        routes = [{"receiver": each["name"], "continue": True} for each in usable]
        times = {"group_wait": "0s", "group_interval": "1s", "repeat_interval": "1h"}
        config = {
            "route": {"receiver": usable[0]["name"], "group_by": ["alertname"], **times, "routes": routes},
            "receivers": [found.connect(each) for each in usable],
            "templates": [stack.filled_templates(folder, PAGES, GRAFANA)],
        }
        flags = ["--web.external-url=http://alertmanager.example:9093", "--web.route-prefix=/"]
        with parts.Alertmanager(config, flags, request.param) as running:
            wanted = {key: alert()[key] for key in ("labels", "annotations")}
            running.post_alerts(wanted)
            for each in usable:
                found.wait_for(each["name"])
            running.post_alerts({**wanted, "startsAt": BEGAN, "endsAt": ENDED})
            for each in usable:
                found.wait_for(each["name"], 2)
        yield found


def sent(post: recorder.Recorder, receiver: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The message and its end; skips where the release has no such receiver."""
    letters = [each.body for each in post.letters if each.receiver == receiver]
    if not letters:
        pytest.skip(f"this Alertmanager has no {receiver}")
    return letters[0], letters[1]


FIRING, OVER = "WARNING: session-003 is stuck in STARTING", "RESOLVED: session-003 was stuck in STARTING (3m 12s)"
PAGE = f"{PAGES}/sessions/default/session-003"


def test_every_receiver_is_sent_a_message_and_its_end_once(post: recorder.Recorder) -> None:
    """Nobody was sent one twice, as happens when an answer is not understood."""
    names = [each.receiver for each in post.letters]

    assert {name: names.count(name) for name in names} == dict.fromkeys(names, 2)


def test_an_email_has_subject_and_text(post: recorder.Recorder) -> None:
    """Plain text: every mail program shows its links."""
    message, over = sent(post, "email")

    assert (message["subject"], over["subject"]) == (FIRING, OVER)
    assert f"Session page: {PAGE}" in message["text"].splitlines()


def test_slack_has_a_title_that_leads_to_the_session_and_buttons(post: recorder.Recorder) -> None:
    """Runbook and Silence are buttons; page and dashboard are links, since their address may be unknown."""
    message, over = (each["attachments"][0] for each in sent(post, "slack"))

    assert (message["title"], over["title"]) == (FIRING, OVER)
    assert (message["color"], over["color"]) == ("warning", "good")
    assert message["title_link"] == PAGE
    assert f"<{PAGE}|Session page>  <https://grafana.example/d/" in message["text"]
    assert [each["text"] for each in message["actions"]] == ["Runbook", "Silence"]
    assert all(each["url"].startswith("http") for each in message["actions"] + over["actions"])


def test_telegram_has_html_with_links(post: recorder.Recorder) -> None:
    """Title in bold, links by their name."""
    message, over = sent(post, "telegram")

    assert message["parse_mode"] == "HTML"
    assert message["text"].startswith(f"<b>{FIRING}</b>\n")
    assert f'<a href="{PAGE}">Session page</a>' in message["text"]
    assert over["text"].startswith(f"<b>{OVER}</b>\n")


def test_discord_has_markdown_links(post: recorder.Recorder) -> None:
    """In the embed; a name in it pings nobody."""
    message, over = (each["embeds"][0] for each in sent(post, "discord"))

    assert (message["title"], over["title"]) == (FIRING, OVER)
    assert f"[Session page]({PAGE})" in message["description"]


def test_teams_has_a_card_with_links(post: recorder.Recorder) -> None:
    """The webhook of a workflow, from Alertmanager 0.28 on."""
    message, over = (each["attachments"][0]["content"]["body"] for each in sent(post, "msteams"))

    assert (message[0]["text"], over[0]["text"]) == (FIRING, OVER)
    assert f"[Session page]({PAGE})" in message[1]["text"]


def test_pagerduty_opens_an_incident_with_links_and_closes_it(post: recorder.Recorder) -> None:
    """By one key; what to do first and whose it is are fields of it."""
    message, over = sent(post, "pagerduty")

    assert (message["event_action"], over["event_action"]) == ("trigger", "resolve")
    assert message["dedup_key"] == over["dedup_key"]
    assert message["payload"]["summary"] == FIRING
    assert message["payload"]["custom_details"]["action"] == "Restart it."
    assert message["payload"]["custom_details"]["owner"] == "ana"
    assert [each["text"] for each in message["links"]] == ["Session page", "Grafana", "Runbook", "Silence"]
    assert message["links"][0]["href"] == message["client_url"] == PAGE


def test_whatsapp_is_what_a_gateway_takes(post: recorder.Recorder) -> None:
    """WAHA's sendText, by the payload that webhooks have from Alertmanager 0.32 on."""
    message, over = sent(post, "whatsapp")

    assert set(message) == {"session", "chatId", "text"}
    assert message["text"].startswith(f"*{FIRING}*\nwarning since ")
    assert over["text"].startswith(f"*{OVER}*\n")


def test_a_webhook_gets_alertmanagers_own_json(post: recorder.Recorder) -> None:
    """With every label and annotation."""
    message, over = sent(post, "webhook")

    assert (message["status"], over["status"]) == ("firing", "resolved")
    assert message["alerts"][0]["annotations"]["action"] == "Restart it."
