"""Probes: whether WhatsApp answers through the gateway, and when that is not known."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import parts
from tests.gateway import KEY, Gateway, Running
from tests.other_gateways import TOKENS, Evolution, Wppconnect
from tests.served import eventually, run, served
from wawp_exporter.config.load import check
from wawp_exporter.config.schema import GatewayApi
from wawp_exporter.errors import ConfigError, GatewayError
from wawp_exporter.gateways import evolution, waha, wppconnect
from wawp_exporter.gateways.kinds import make_gateway
from wawp_exporter.gateways.probes import PER_MINUTE, Prober
from wawp_exporter.model.probe import Probe

W, S, D = "WORKING", "STARTING", "DISCONNECTED"
NUMBER = "447700900123"
PROBLEM = 'problem="unresponsive"'
Kind = tuple[str, type[Gateway], str, str]
KINDS: list[Kind] = [
    ("waha", Gateway, W, KEY),
    ("evolution", Evolution, "open", KEY),
    ("wppconnect", Wppconnect, "CONNECTED", f"sales:{TOKENS['sales']}"),
]


def probed(running: Running, kind: Kind) -> bool:
    """What one probe says."""

    async def ask() -> bool:
        gateway = make_gateway(GatewayApi(kind=kind[0], url=running.url), kind[3])  # type: ignore[arg-type]  # a Literal
        try:
            return await gateway.probe("sales", NUMBER)
        finally:
            await gateway.close()

    return asyncio.run(ask())


def answered(running: Running, kind: Kind) -> bool | None:
    """What the prober makes of one probe."""

    async def ask() -> bool | None:
        gateway = make_gateway(GatewayApi(kind=kind[0], url=running.url), kind[3])  # type: ignore[arg-type]  # a Literal
        prober = Prober.__new__(Prober)
        prober._gateway, prober._number = gateway, NUMBER
        try:
            return await prober._answered("sales")
        finally:
            await gateway.close()

    return asyncio.run(ask())


# -- one probe


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind[0])
def test_a_probe_is_answered_or_not(kind: Kind) -> None:
    """Each gateway says 500 when its engine had no answer from WhatsApp."""
    with Running(kind[1], sessions={"sales": kind[2]}) as running:
        assert probed(running, kind) is True
        running.gateway.whatsapp = False
        assert probed(running, kind) is False
        assert answered(running, kind) is False


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind[0])
@pytest.mark.parametrize(
    "page", [(401, b"{}"), (404, b"{}"), (422, b"{}"), (429, b"{}"), (503, b"{}"), (500, b"<html>")]
)
def test_another_answer_says_nothing_of_whatsapp(kind: Kind, page: tuple[int, bytes]) -> None:
    """A wrong key, a session that is not there, a proxy. The number is in no error."""
    with Running(kind[1], sessions={"sales": kind[2]}) as running:
        running.gateway.page = page
        with pytest.raises(GatewayError) as caught:
            probed(running, kind)
        assert NUMBER not in str(caught.value)
        assert answered(running, kind) is None


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind[0])
def test_a_gateway_that_waits_for_whatsapp_is_not_one_that_is_away(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    """It still answers what it knows by itself; one that is away, or that knows better, does not make a failure."""
    for module in (waha, evolution, wppconnect):
        monkeypatch.setattr(module, "PROBE_TIMEOUT_S", 0.3)
    with Running(kind[1], sessions={"sales": kind[2]}, whatsapp="hang") as running:
        assert answered(running, kind) is False
        running.gateway.sessions = {"sales": {W: S, "open": "connecting", "CONNECTED": "INITIALIZING"}[kind[2]]}
        assert answered(running, kind) is None
        running.gateway.trouble = "cut"
        assert answered(running, kind) is None
    assert answered(running, kind) is None  # nobody listens there any more


@pytest.mark.parametrize(("status", "said"), [(502, None), (503, None), (504, False)])
def test_of_a_proxy_only_that_it_has_waited_is_a_failure(status: int, said: bool | None) -> None:
    """502 and 503 say that the gateway was not asked: then nothing is learnt, though it answers the next call."""
    with Running(sessions={"sales": W}, proxy=status) as running:
        assert answered(running, KINDS[0]) is said


def test_two_failures_in_a_row_are_enough() -> None:
    """One may be chance; they began with the first."""
    first = Probe(0, 0).followed(1000, 5, answered=False)
    second = first.followed(2000, 5, answered=False)

    assert [first.unresponsive, second.unresponsive, second.followed(3000, 5, answered=False).unresponsive] == [
        0,
        1000,
        1000,
    ]
    assert second.followed(3000, 5, answered=True) == Probe(3000, 5)


# -- in the service


def config(running: Running, folder: Path, interval: str = "1s") -> dict[str, Any]:
    """A source that is probed."""
    (folder / "key").write_text(KEY)
    (folder / "number").write_text(f"+{NUMBER}\n")
    api = {"url": running.url, "key_file": str(folder / "key"), "poll_interval": "1h"}
    probe = {"interval": interval, "number_file": str(folder / "number")}
    return {"sources": {"default": {"api": api, "probe": probe}}}


def test_a_session_that_is_working_but_dead_is_found(
    running: Running, exporter: Callable[..., parts.Exporter], tmp_path: Path
) -> None:
    """The problem, the pre-flight check, the metrics; and a probe that is answered ends it. The number is nowhere."""
    running.gateway.sessions, running.gateway.whatsapp = {"s": W, "stopped": "STOPPED"}, False
    made = exporter(config(running, tmp_path))
    success = 'wawp_session_probe_success{source="default",session="s"}'
    ready = "/api/v1/sessions/default/s/ready"

    parts.wait_until(lambda: PROBLEM in made.metrics())
    answer = made.get(ready)
    assert (answer.status_code, answer.json()["error"]) == (503, "WhatsApp has not answered the last probes")
    assert f"{success} 0\n" in made.metrics()
    assert 'wawp_session_probe_duration_seconds{source="default",session="s"} ' in made.metrics()
    shown = made.metrics() + made.get("/api/v1/problems").text + made.get("/").text

    running.gateway.whatsapp = True
    parts.wait_until(lambda: PROBLEM not in made.metrics())
    assert made.get(ready).status_code == 200
    assert f"{success} 1\n" in made.metrics()
    calls = running.gateway.asked("/api/contacts/check-exists")
    assert {call.query["phone"][0] for call in calls} == {NUMBER}
    assert {call.query["session"][0] for call in calls} == {"s"}
    made.stop()
    assert NUMBER not in shown + made.stderr


def test_probes_are_bounded_and_of_working_sessions_only(
    running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many sessions and however short the interval, one begins every two seconds; those in trouble are left."""
    monkeypatch.setattr("wawp_exporter.gateways.probes.PER_MINUTE", 1)  # none begins by itself
    running.gateway.sessions = {f"s{number}": W for number in range(5)} | {"lost": D}

    async def test() -> None:
        async with served(tmp_path, config(running, tmp_path, "1ms")) as service:
            fleet = service.service.fleet
            await eventually(lambda: len(fleet.sessions) == 6)
            (_, prober), *_ = service.service.watch._probers.values()
            for count in range(1, 4):
                await asyncio.sleep(0.01)  # all are due
                await prober._begin()
                await eventually(lambda count=count: len(running.gateway.asked("/api/contacts/check-exists")) == count)
            await eventually(lambda: not prober._asking)
            assert ("default", "lost") not in prober._due
            assert len([session for session in fleet.sessions.values() if session.probe]) >= 1

    run(test())
    assert PER_MINUTE == 30


@pytest.mark.parametrize("number", ["12345", "my-phone", "447700900123\n447700900124", "+44 7700 900123"])
def test_a_number_that_is_none_is_refused_and_not_shown(tmp_path: Path, number: str) -> None:
    """Whatever was written instead of it."""
    (tmp_path / "number").write_text(number)
    source = {"api": {"url": "http://waha"}, "probe": {"interval": "5m", "number_file": "number"}}

    with pytest.raises(ConfigError) as refused:
        check({"sources": {"default": source}}, tmp_path)

    (mistake,) = refused.value.mistakes
    assert "holds no phone number, expected one line of 7 to 15 digits" in mistake
    assert number not in mistake


@pytest.mark.parametrize("api", [{}, {"kind": "wawp", "instances": ["a"], "key_file": "key"}])
def test_a_probe_needs_an_api_that_can_be_asked(tmp_path: Path, api: dict[str, Any]) -> None:
    """Else it would silently probe nothing."""
    (tmp_path / "number").write_text(NUMBER)
    (tmp_path / "key").write_text(KEY)

    with pytest.raises(ConfigError) as refused:
        check({"sources": {"default": {"api": api, "probe": {"interval": "5m", "number_file": "number"}}}}, tmp_path)

    assert "sources.default.probe.interval: needs sources.default.api of kind" in refused.value.mistakes[0]
