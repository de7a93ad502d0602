"""Runbooks as pages: what to do, with the session of the link filled in, whatever its name is."""

import re
import subprocess
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from urllib.parse import quote

import pytest

from tests import parts
from wawp_exporter.web.pages.runbooks import filled

SHIPPED = sorted(path.stem for path in (parts.ROOT / "alerts" / "runbooks").glob("*.md"))
ALERTS = sorted(
    set(re.findall(r"alert: (\w+)", "".join(path.read_text() for path in (parts.ROOT / "alerts").glob("*.rules.yml"))))
)
HOSTILE = [
    "a'b\"; echo harm; '",
    "$(echo harm)",
    "~root",
    "<script>harm()</script>",
    "a\nb `harm`",
    "x](http://harm)",
    "é😀",
]
CONFIG = {"web": {"external_url": "https://tools.example/wawp", "grafana_url": "https://grafana.example"}}


@pytest.fixture(scope="module")
def exporter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[parts.Exporter]:
    """People reach it through a proxy."""
    with parts.Exporter(CONFIG, tmp_path_factory.mktemp("runbooks")) as running:
        yield running


def page_of(exporter: parts.Exporter, alert: str, status: int = 200, **about: str) -> str:
    """A runbook's HTML."""
    answer = exporter.client.get(f"{exporter.url}/runbooks/{quote(alert, safe='')}", params=about)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    return answer.text


def commands(page: str) -> str:
    """The commands of a page, as they are copied from it."""
    return "".join(unescape(block) for block in re.findall(r"<pre><code[^>]*>(.*?)</code></pre>", page, re.DOTALL))


def assigned(page: str) -> list[str]:
    """What a shell makes of the variables in the commands: E, SRC and S."""
    (line,) = re.findall(r"^S=.*$", commands(page), re.MULTILINE)
    (exporter,) = re.findall(r"^E=.*$", commands(page), re.MULTILINE)
    script = f'{exporter}\n{line}\nprintf "%s\\n" "$E" "$SRC" "$S"'
    return subprocess.run(["bash", "-c", script], check=True, capture_output=True, text=True).stdout.splitlines()


def test_every_alert_has_a_page(exporter: parts.Exporter) -> None:
    """Each rule's `runbook_url` leads there; the list leads to all of them."""
    index = exporter.get("/runbooks").text

    assert set(ALERTS) <= set(SHIPPED)
    for alert in SHIPPED:
        assert f'href="/wawp/runbooks/{alert}"' in index
        assert f"<h1>{alert}</h1>" in page_of(exporter, alert)


def test_the_session_is_filled_in(exporter: parts.Exporter) -> None:
    """Commands can be pasted as they are; links lead to the session's page and its dashboard."""
    page = page_of(exporter, "WawpSessionDisconnected", source="waha-1", session="sales-de")

    assert assigned(page) == ["https://tools.example/wawp", "waha-1", "sales-de"]
    assert "curl -s $E/api/v1/sessions/waha-1/sales-de " in commands(page)
    assert "$W/api/sessions/sales-de/restart" in commands(page)
    assert "sales-uk" not in page
    assert "$S" not in page
    assert 'href="/wawp/sessions/waha-1/sales-de"' in page
    assert 'href="https://grafana.example/d/wawp-session?var-source=waha-1&amp;var-session=sales-de"' in page


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_runs_neither_in_the_page_nor_in_a_shell(exporter: parts.Exporter, name: str) -> None:
    """It is escaped in the text and percent-encoded in the commands, all of which are URLs."""
    page = page_of(exporter, "WawpSessionDisconnected", source="default", session=name)

    assert assigned(page) == ["https://tools.example/wawp", "default", quote(name, safe="")]
    assert "<script>harm" not in page
    assert "http://harm" not in re.sub(r"<bdi>.*?</bdi>", "", page)


def test_only_the_source_is_filled_in_for_an_outage(exporter: parts.Exporter) -> None:
    """There is no one session."""
    page = page_of(exporter, "WawpMassDisconnect", source="waha-1")

    assert assigned(page)[1] == "waha-1"
    assert 'href="/wawp/?source=waha-1"' in page


def test_a_loop_keeps_its_variable() -> None:
    """There `$S` is another session in each turn: all of them would be the one of the alert."""
    loop = "```sh\nfor S in $(list); do restart $S; done\n```\n"

    assert filled(loop, ("default", "shop"), None) == loop


def test_a_runbook_without_a_session_shows_its_examples(exporter: parts.Exporter) -> None:
    """Somebody reads it in advance."""
    assert assigned(page_of(exporter, "WawpSessionDisconnected"))[1:] == ["default", "sales-uk"]


def test_runbooks_lead_to_each_other(exporter: parts.Exporter) -> None:
    """With the same session, and not from within a command."""
    pages = {alert: page_of(exporter, alert, source="default", session="shop") for alert in SHIPPED}
    ways = {each for page in pages.values() for each in re.findall(r'href="/wawp/runbooks/(\w+)\?([^"]*)"', page)}

    assert len(ways) > 5
    assert {alert for alert, _ in ways} <= set(SHIPPED)
    assert {query for _, query in ways} == {"source=default&amp;session=shop"}
    assert [alert for alert, page in pages.items() if "runbooks/" in commands(page)] == []


@pytest.mark.parametrize("alert", ["WawpNothing", "<b>x</b>", "..%2f..%2frules", "WawpWatchdog.md"])
def test_an_unknown_alert_is_a_page_of_its_own(exporter: parts.Exporter, alert: str) -> None:
    """It says so, and where the others are."""
    page = page_of(exporter, alert, 404)

    assert "No runbook for" in page
    assert 'href="/wawp/runbooks"' in page
    assert "<b>x</b>" not in page


def test_runbooks_ask_for_the_token_of_the_pages(tmp_path: Path) -> None:
    """They name sessions and addresses."""
    (tmp_path / "token").write_text("secret")
    with parts.Exporter({"web": {"api_token_file": "token"}}, tmp_path) as running:
        answers = [running.get(path).status_code for path in ("/runbooks", "/runbooks/WawpWatchdog")]
        bearer = {"Authorization": "Bearer secret"}

        assert answers == [401, 401]
        assert running.get("/runbooks/WawpWatchdog", bearer).status_code == 200
