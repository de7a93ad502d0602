"""The simulator: sequences as engines send them, bytes as WAHA sends them, and a truth to compare metrics with."""

import asyncio
import hashlib
import hmac
import json
import re
import signal
import sys
from asyncio.subprocess import PIPE
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from wawp_exporter.commands.simulate import command, first_line
from wawp_exporter.simulator.expected import ExpectedSession, Report
from wawp_exporter.simulator.gateway import Clock, Dialect, Ids, Options, SimulatedGateway, Timestamps
from wawp_exporter.simulator.pieces import ENGINES
from wawp_exporter.simulator.plan import Emission, dice
from wawp_exporter.simulator.player import Simulation, SimulationError
from wawp_exporter.simulator.scenarios import CATALOGUE, UnknownScenario, scenario

NAMES = [each.name for each in CATALOGUE]
DOCS = Path(__file__).resolve().parents[2] / "docs" / "simulator.md"
MIX = {"GOWS": 1.0, "NOWEB": 1.0, "WEBJS": 1.0, "WPP": 1.0}
START, QR, OK, FAIL, STOP = "STARTING", "SCAN_QR_CODE", "WORKING", "FAILED", "STOPPED"
NOW = 1_795_399_962_612


# Builders


def played(name: str, engine: str = "GOWS", seed: int = 1, **more: Any) -> list[Emission]:
    """All emissions of a fleet of one."""
    return list(scenario(name, seed, sessions=1, engines={engine: 1}, **more).emissions)


def statuses(name: str, engine: str = "GOWS", **more: Any) -> list[str]:
    return [each.status for each in played(name, engine, **more)]


def gaps(emissions: list[Emission]) -> list[float]:
    times = [each.at for each in emissions]
    return [round(after - before, 3) for before, after in pairwise(times)]


def bodies(name: str, engine: str = "GOWS", dialect: Dialect = Dialect.WAHA, **more: Any) -> list[dict[str, Any]]:
    """The JSON of each event of a fleet of one, stamped from NOW on in real time."""
    return [json.loads(each.body) for each in deliveries(name, engine, Options(dialect=dialect), **more)]


def deliveries(name: str, engine: str = "GOWS", options: Options | None = None, **more: Any) -> list[Any]:
    plan = scenario(name, 1, sessions=1, engines={engine: 1})
    clock = Clock(NOW, 1.0, 1000 if options and options.dialect == Dialect.WAWP_V1 else 1)
    gateway = SimulatedGateway(plan, options or Options(), clock, Ids(dice(1)), **more)
    return [gateway.delivery(clock.stamp(each)) for each in plan.emissions]


class Request:
    """One request as it came in."""

    def __init__(self, head: bytes, body: bytes) -> None:
        lines = head.decode().split("\r\n")
        self.path = lines[0].split()[1]
        self.headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
        self.body = body
        self.json = json.loads(body)


class Receiver:
    """A real HTTP server; `answer` maps a request and its number to a status (0: close without answer)."""

    def __init__(self, answer: Callable[[Request, int], int]) -> None:
        self.answer = answer
        self.requests: list[Request] = []
        self.url = ""
        self.open = 0
        self.drained = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        self.drained.clear()
        try:
            while status := await self.take(reader):
                outcome = json.dumps({"outcome": "transition"} if status < 300 else {"error": "no"}).encode()
                writer.write(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (status, len(outcome), outcome))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
            self.open -= 1
            if not self.open:
                self.drained.set()

    async def take(self, reader: asyncio.StreamReader) -> int:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(re.search(rb"content-length: (\d+)", head.lower())[1])  # type: ignore[index]
        self.requests.append(Request(head, await reader.readexactly(length)))
        return self.answer(self.requests[-1], len(self.requests))


@asynccontextmanager
async def receiving(answer: Callable[[Request, int], int]) -> AsyncIterator[Receiver]:
    receiver = Receiver(answer)
    async with await asyncio.start_server(receiver.serve, "127.0.0.1", 0) as server:
        receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/webhook"
        yield receiver
        await receiver.drained.wait()


def send(
    answer: Callable[[Request, int], int] = lambda *_: 200,
    name: str = "restart",
    sessions: int = 1,
    scenario_options: dict[str, Any] | None = None,
    **options: Any,
) -> tuple[Report, list[Request]]:
    """Plays a scenario without any wait against a receiver that answers like this."""

    async def play() -> tuple[Report, list[Request]]:
        async with receiving(answer) as receiver:
            wanted = Options(url=receiver.url, **{"pace": 0, "retry_delay": 0, "concurrency": 8, **options})
            plan = scenario(name, 1, sessions=sessions, **scenario_options or {})
            return await Simulation(plan, wanted).play(), receiver.requests

    return asyncio.run(play())


@pytest.fixture
def invoke() -> Callable[..., Any]:
    return lambda *arguments: CliRunner().invoke(command, arguments)


# The plan


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_gives_one_plan(name: str) -> None:
    """Equal arguments give equal emissions, in time order; a session's are at least a millisecond apart."""
    plan = scenario(name, 7, sessions=8, engines=MIX)

    assert plan == scenario(name, 7, sessions=8, engines=MIX)
    assert plan != scenario(name, 8, sessions=8, engines=MIX)
    assert list(plan.emissions) == sorted(plan.emissions, key=lambda each: each.at_ms)
    keys = [(each.session, each.at_ms) for each in plan.emissions]
    assert len(set(keys)) == len(keys)
    assert {each.session for each in plan.emissions} == set(plan.engines)


def test_a_larger_fleet_changes_nothing_for_its_first_sessions() -> None:
    """Each session has random numbers of its own."""
    small = scenario("restart", 3, sessions=2)
    large = scenario("restart", 3, sessions=20)

    assert list(small.emissions) == [each for each in large.emissions if each.session in small.engines]


def test_engines_are_spread_by_weight() -> None:
    """Ten sessions of a mix 5:3:2 are five, three and two."""
    plan = scenario("steady", sessions=10, engines={"GOWS": 5, "NOWEB": 3, "WEBJS": 2})

    assert Counter(plan.engines.values()) == {"GOWS": 5, "NOWEB": 3, "WEBJS": 2}


def test_an_unknown_scenario_is_refused_by_name() -> None:
    """The message names what there is."""
    with pytest.raises(UnknownScenario, match="steady"):
        scenario("nonsense")


@pytest.mark.parametrize("name", NAMES)
def test_the_history_is_the_last_three_points_since_the_engine_started(name: str) -> None:
    """`statuses` ends with the event itself and begins anew where an engine object is made."""
    for engine in ENGINES:
        before: tuple[Any, ...] = ()
        for each in played(name, engine, duration=90):
            assert each.statuses[-1].status == each.status
            fresh = each.status == START and len(each.statuses) == 1
            assert each.statuses[:-1] == (() if fresh else before[-2:])
            before = each.statuses


# Engines: the sequences of wire.md 1.3


@pytest.mark.parametrize(("engine", "end"), [("GOWS", [OK]), ("NOWEB", [START, OK]), ("WEBJS", [OK]), ("WPP", [OK])])
def test_a_first_pairing_ends_as_its_engine_ends_it(engine: str, end: list[str]) -> None:
    """STARTING, one to six QR images, WORKING; NOWEB restarts its socket after the scan."""
    sequence = statuses("first-pairing", engine)
    images = sequence.count(QR)

    assert 1 <= images <= 6
    assert sequence == [START, *[QR] * images, *end]


@pytest.mark.parametrize("engine", ["GOWS", "NOWEB"])
def test_an_unscanned_qr_is_failed_after_six_images(engine: str) -> None:
    """The first image lasts 60 s, the others 20 s; then FAILED stays."""
    emissions = played("unscanned-qr", engine)

    assert [each.status for each in emissions] == [START, *[QR] * 6, FAIL]
    assert gaps(emissions)[1:] == [60, 20, 20, 20, 20, 20]


def test_a_browser_engine_starts_over_after_an_unscanned_qr() -> None:
    """FAILED is followed by STARTING and new images 2 s later."""
    assert statuses("unscanned-qr", "WEBJS") == [START, *[QR] * 6, FAIL] * 2


def test_noweb_without_network_gives_up_after_sixty_attempts() -> None:
    """STARTING every 2.006 s, and FAILED 4 ms after the 60th, 118 s after the first."""
    emissions = played("noweb-reconnect-storm")[2:]

    assert [each.status for each in emissions] == [START] * 60 + [FAIL]
    assert gaps(emissions) == [2.006] * 59 + [0.004]
    assert [point.status for point in emissions[-2].statuses] == [START] * 3


def test_a_noweb_drop_recovers() -> None:
    """WORKING, STARTING at every attempt, WORKING."""
    sequence = [key for key, _ in groupby(statuses("noweb-drop"))]

    assert sequence == [START, OK, START, OK]


def test_a_webjs_crash_is_restarted_after_two_seconds() -> None:
    """WORKING, FAILED, STARTING 2 s later, WORKING."""
    emissions = played("webjs-crash")

    assert [each.status for each in emissions] == [START, OK, FAIL, START, OK]
    assert gaps(emissions)[2] == 2


def test_a_webjs_crash_loop_never_ends() -> None:
    """FAILED stays 2 s, STARTING about half a second, and it is never WORKING again."""
    loop = played("webjs-crash-loop", duration=60)[2:]

    assert [each.status for each in loop] == [FAIL, START] * (len(loop) // 2)
    assert len(loop) >= 40
    assert set(gaps(loop)[::2]) == {2.0}
    assert all(0.4 <= gap <= 0.9 for gap in gaps(loop)[1::2])


def test_a_gows_drop_is_told_once() -> None:
    """One STARTING for the whole time without network."""
    emissions = played("gows-drop", duration=200)

    assert [each.status for each in emissions] == [START, OK, START, OK]
    assert gaps(emissions)[-1] == 200


@pytest.mark.parametrize(
    ("name", "engine", "expected"),
    [
        ("stuck-start", "NOWEB", [START]),
        ("passkey-pairing", "GOWS", [START, QR, "PASSKEY_REQUIRED", "PASSKEY_CONFIRMATION_REQUIRED", OK]),
        ("single-disconnect", "GOWS", [START, OK, "DISCONNECTED", START, OK]),
        ("restart", "NOWEB", [START, OK, STOP, START, OK]),
        ("logout", "GOWS", [START, OK, STOP, START, *[QR] * 6, FAIL]),
        ("qr-answered", "NOWEB", [START, OK, STOP, START, QR, QR, QR, START, OK]),
        ("phone-unlinked", "NOWEB", [START, OK, FAIL]),
        ("phone-unlinked", "WEBJS", [START, OK, FAIL, FAIL]),
        ("gateway-killed", "GOWS", [START, OK, OK, OK]),
        ("gateway-shutdown", "WEBJS", [START, OK, STOP, START, OK]),
    ],
)
def test_a_story_is_told_as_its_engine_tells_it(name: str, engine: str, expected: list[str]) -> None:
    """The status lists of wire.md 1.3."""
    assert statuses(name, engine) == expected


def test_a_restart_stays_stopped_for_three_or_thirteen_seconds() -> None:
    """As long as WAHA waits for a socket."""
    stopped = {round(gaps(played("restart", "NOWEB", seed=seed))[2]) for seed in range(9)}

    assert stopped == {3, 13}


@pytest.mark.parametrize(
    ("engine", "during"), [("GOWS", [START]), ("NOWEB", [START, FAIL, STOP, START]), ("WEBJS", [FAIL, START])]
)
def test_a_mass_disconnect_hits_half_of_an_engine_within_a_minute(engine: str, during: list[str]) -> None:
    """Each engine in its own words; all are back in the end."""
    plan = scenario("mass-disconnect", sessions=10, engines={engine: 1})
    lost = {each.session: each.at for each in reversed(plan.emissions) if each.at > 30 and each.status != OK}
    first = [key for key, _ in groupby(e.status for e in plan.emissions if e.session == min(lost))]

    assert len(lost) == 5
    assert max(lost.values()) - min(lost.values()) <= 65
    assert first[2 : 2 + len(during)] == during
    assert {each.session: each.status for each in plan.emissions} == dict.fromkeys(plan.engines, OK)


def test_a_restriction_comes_and_goes_while_working() -> None:
    """Only the changed key is in `data`, with Unix seconds; other events have a null."""
    data = [body["payload"]["data"] for body in bodies("account-restricted", version="2026.8.2")]

    assert [list(each) if each else None for each in data] == [None] * 2 + [["reachoutTimelock"]] * 2 + [
        ["messageCapping"]
    ] * 3
    assert data[2]["reachoutTimelock"]["isActive"] is True
    assert data[3]["reachoutTimelock"]["isActive"] is False
    assert data[2]["reachoutTimelock"]["timeEnforcementEnds"] == (NOW + 360_000) // 1000
    assert data[5]["messageCapping"]["cappingStatus"] == "CAPPED"


def test_a_passkey_comes_with_a_challenge_and_then_with_a_code() -> None:
    """What must never be logged is really there."""
    data = [body["payload"]["data"] for body in bodies("passkey-pairing", version="2026.8.2")]

    assert data[:2] == [None, None]
    assert data[2].keys() == {"rpId", "challenge", "timeout"}
    assert re.fullmatch(r"\d{4}", data[3]["code"])


def test_an_old_gateway_says_stopped_before_each_start() -> None:
    """WAHA up to 2026.1.1: 9 ms before, by the new engine object, which tells both in its first history."""
    emissions = played("restart", "NOWEB", spurious_stops=True)

    assert [each.status for each in emissions] == [STOP, START, OK, STOP, STOP, START, OK]
    assert gaps(emissions)[0] == gaps(emissions)[4] == 0.009
    assert [[point.status for point in each.statuses] for each in emissions[4:6]] == [[STOP], [STOP, START]]


def test_an_old_gateway_bears_its_version() -> None:
    """`environment.worker` came later."""
    _, requests = send(scenario_options={"spurious_stops": True})

    assert {each.headers["user-agent"] for each in requests} == {"waha/2026.1.1"}
    assert all("worker" not in each.json["environment"] for each in requests)


@pytest.mark.parametrize(("dialect", "expected"), [(Dialect.WAHA, 2), (Dialect.WAWP, 2), (Dialect.WAWP_V1, 0)])
def test_a_message_follows_what_is_working(dialect: Dialect, expected: int) -> None:
    """An event of another kind, with an id of its own, in the same envelope."""
    report, requests = send(dialect=dialect, messages=1.0)
    messages = [each.json for each in requests if each.json.get("event") == "message"]

    assert report.ok
    assert len(messages) == expected
    assert all(message["session"] == "session-001" and message["payload"]["body"] for message in messages)
    assert len({each.json.get("id", index) for index, each in enumerate(requests)}) == len(requests)


@pytest.mark.parametrize("dialect", [Dialect.WAHA, Dialect.WAWP])
def test_a_zombie_says_working_and_nothing_it_sends_is_acknowledged(dialect: Dialect) -> None:
    """It receives and sends as the others do, then nothing comes any more."""
    report, requests = send(name="zombie", sessions=2, dialect=dialect, start_at=1000.0)
    dead, well = (report.expected.sessions[f"session-{number:03d}"] for number in (1, 2))
    acknowledged = [each.json["payload"]["id"] for each in requests if each.json["event"] == "message.ack"]

    assert report.ok
    assert dead.status == well.status == OK
    assert dead.messages.unacknowledged > 0 == well.messages.unacknowledged
    assert dead.messages.last_received < dead.messages.last_sent
    assert 0 < dead.messages.received < well.messages.received
    assert len(acknowledged) == len(set(acknowledged)) > well.messages.sent
    assert all(each.startswith("true_") for each in acknowledged)


def test_half_dead_is_a_session_that_sends_and_receives_nothing() -> None:
    """Of all its second half nothing came, and each message that it sent was acknowledged."""
    plan = scenario("half-dead", 1, sessions=2)
    later = [each for each in plan.messages if each.session == "session-001" and each.at > 450]

    assert {each.own for each in later} == {True}
    assert len([each for each in later if each.acknowledges]) * 2 == pytest.approx(len(later), abs=1)


def test_a_holiday_is_quieter_for_all() -> None:
    """A tenth of what comes and goes before."""
    plan = scenario("quiet-holiday", 1, sessions=20)
    before = [each for each in plan.messages if 20 < each.at < 450]
    later = [each for each in plan.messages if each.at > 455]

    assert {each.session for each in before} == set(plan.engines)
    assert 20 * len(later) > len(before) > 5 * len(later)


def test_a_load_is_distinct_transitions_only() -> None:
    """Sessions × seconds events, no repeat among them."""
    plan = scenario("load", sessions=5, duration=20)

    assert len(plan.emissions) == 100
    for session in plan.engines:
        own = [each.status for each in plan.emissions if each.session == session]
        assert [key for key, _ in groupby(own)] == own


# The wire


def test_a_start_has_the_bytes_of_the_capture() -> None:
    """Compact JSON with the keys of WAHA 2026.2.1 in their order, `me` null before the login."""
    first = next(iter(deliveries("restart", "NOWEB")))
    body = json.loads(first.body)

    assert list(body) == ["id", "timestamp", "event", "session", "me", "payload", "engine", "environment"]
    assert list(body["payload"]) == ["name", "status", "statuses"]
    assert list(body["payload"]["statuses"][0]) == ["status", "timestamp"]
    assert list(body["environment"]) == ["version", "engine", "tier", "browser", "platform", "worker"]
    assert body["me"] is None
    assert re.fullmatch(r"evt_01[0-9a-hjkmnp-tv-z]{24}", body["id"])
    assert first.body == json.dumps(body, separators=(",", ":")).encode()


def test_me_has_the_form_of_its_engine() -> None:
    """GOWS leaves it out before the login, the others say null; browsers have no lid; STOPPED keeps it."""
    gows, noweb, webjs = (bodies("restart", engine) for engine in ("GOWS", "NOWEB", "WEBJS"))

    assert "me" not in gows[0]
    assert list(gows[1]["me"]) == ["id", "pushName", "lid", "jid"]
    assert list(noweb[1]["me"]) == ["id", "pushName", "lid"]
    assert list(webjs[1]["me"]) == ["id", "pushName"]
    assert noweb[2]["me"] == noweb[1]["me"]
    assert noweb[3]["me"] is None


def test_an_envelope_is_stamped_up_to_8_ms_after_its_point() -> None:
    """In about one of four events."""
    lags = [
        body["timestamp"] - body["payload"]["statuses"][-1]["timestamp"] for body in bodies("noweb-reconnect-storm")
    ]

    assert min(lags) == 0
    assert max(lags) <= 8
    assert 5 < sum(lag > 0 for lag in lags) < 30


@pytest.mark.parametrize("algorithm", ["sha512", "sha256"])
def test_the_signature_is_the_hmac_of_the_raw_body(algorithm: str) -> None:
    """Lower-case hex, its algorithm beside it."""
    signed = deliveries("restart", options=Options(hmac_key=b"key", hmac_algorithm=algorithm))[0]

    expected = hmac.new(b"key", signed.body, getattr(hashlib, algorithm)).hexdigest()
    assert signed.headers["X-Webhook-Hmac"] == expected
    assert signed.headers["X-Webhook-Hmac-Algorithm"] == algorithm
    assert re.fullmatch(r"[0-9a-z]{11}", signed.headers["X-Webhook-Request-Id"])
    assert signed.headers["X-Webhook-Timestamp"] == str(json.loads(signed.body)["timestamp"])


def test_wawp_sends_no_environment_no_history_and_no_data() -> None:
    """The v2 envelope in the order of Wawp's documentation."""
    body = bodies("restart", dialect=Dialect.WAWP)[1]

    assert list(body) == ["id", "timestamp", "session", "metadata", "engine", "event", "payload", "me"]
    assert body["payload"] == {"name": "session-001", "status": OK}


def test_wawp_v1_is_flat_and_in_seconds() -> None:
    """A QR wait has its image; no two events of a session share a second."""
    flat = bodies("first-pairing", dialect=Dialect.WAWP_V1)

    assert list(flat[0]) == ["instance_id", "status", "ts"]
    assert list(flat[1]) == ["instance_id", "status", "qr", "ts"]
    seconds = [body["ts"] for body in flat]
    assert sorted(set(seconds)) == seconds
    assert NOW // 1000 <= seconds[0] < NOW // 1000 + 10


# Time


def test_a_faster_pace_shortens_the_gaps_of_the_timestamps() -> None:
    """At pace 60 a virtual minute is a second, for the history too."""
    emissions = played("unscanned-qr")
    clock = Clock(NOW, 1 / 60)
    times = [clock.stamp(each).points_ms for each in emissions]

    assert times[2][-1] - times[1][-1] == pytest.approx(1000, abs=1)
    assert times[2][:-1] == (times[0][-1], times[1][-1])


def test_without_wait_every_event_is_stamped_when_sent() -> None:
    """Two events of a session never share a millisecond, though the clock stands still."""
    clock = Clock(NOW, None, now=lambda: NOW)

    assert [clock.stamp(each).at_ms for each in played("restart")] == [NOW + n for n in range(5)]


def test_a_plan_can_be_dated_back() -> None:
    """`start_at` gives start + virtual time; virtual-now lets the plan end now."""
    report, _ = send(start_at=1000.0)
    ending, _ = send(timestamps=Timestamps.VIRTUAL_NOW)
    plan = scenario("restart", 1, sessions=1)

    points = [at_ms for _, at_ms in report.expected.sessions["session-001"].points]
    assert points == [1_000_000 + each.at_ms for each in plan.emissions]
    assert ending.expected.end_ms - ending.expected.sessions["session-001"].points[0][1] == pytest.approx(
        plan.emissions[-1].at_ms - plan.emissions[0].at_ms, abs=1
    )


# The sender


def test_a_plan_arrives_whole_and_in_the_order_of_each_session() -> None:
    """Every event once, accepted at the first attempt."""
    report, requests = send(sessions=20, source="uk")

    assert report.ok
    assert (report.sent, report.delivered, report.retries) == (100, 100, 0)
    assert report.outcomes == {"transition": 100}
    assert report.answers == {200: 100}
    assert 0 < report.p50 <= report.p99 <= report.elapsed
    for session in report.expected.sessions:
        got = [each.json["payload"]["status"] for each in requests if each.json["session"] == session]
        assert got == [START, OK, STOP, START, OK]
    assert {each.path for each in requests} == {"/webhook/uk"}


@pytest.mark.parametrize("refusal", [0, 401, 404, 413, 500, 503])
def test_whatever_is_not_2xx_is_retried_byte_for_byte(refusal: int) -> None:
    """The same body, request id and signature, until it is accepted."""
    report, requests = send(lambda _, number: 200 if number > 3 else refusal, "stuck-start", hmac_key=b"key")

    assert report.ok
    assert report.retries == 3
    assert len(requests) == 4
    assert len({each.body for each in requests}) == 1
    assert len({tuple(sorted(each.headers.items())) for each in requests}) == 1
    assert sum(report.errors.values()) == (3 if refusal == 0 else 0)


def test_an_event_is_given_up_after_its_attempts() -> None:
    """16 by default; the others are not held up."""
    report, requests = send(lambda request, _: 500 if request.json["payload"]["status"] == STOP else 200)

    assert not report.ok
    assert (report.sent, report.delivered, report.given_up, report.retries) == (5, 4, 1, 15)
    assert report.answers == {200: 4, 500: 16}
    assert sum(each.json["payload"]["status"] == STOP for each in requests) == 16


def test_a_retried_event_arrives_after_newer_ones() -> None:
    """As WAHA's do: only the first attempt keeps the order."""
    seen: list[str] = []

    def refuse_stopped_once(request: Request, _: int) -> int:
        seen.append(request.json["payload"]["status"])
        return 500 if seen.count(STOP) == 1 and seen[-1] == STOP else 200

    report, _ = send(refuse_stopped_once, retry_delay=0.2)

    assert report.ok
    assert seen == [START, OK, STOP, START, OK, STOP]


def test_a_duplicate_is_the_same_event_under_another_request_id() -> None:
    """As when one URL is configured twice."""
    report, requests = send(duplicates=1.0)

    assert report.sent == 10
    for body in {each.body for each in requests}:
        pair = [each.headers["x-webhook-request-id"] for each in requests if each.body == body]
        assert len(set(pair)) == 2


def test_a_reordered_event_comes_after_its_successor() -> None:
    """The truth stays what the plan says."""
    report, requests = send(reorder=1.0)

    assert [each.json["payload"]["status"] for each in requests] == [OK, START, START, STOP, OK]
    assert report.expected.sessions["session-001"].transitions == {
        ("NONE", START): 1,
        (START, OK): 2,
        (OK, STOP): 1,
        (STOP, START): 1,
    }


def test_a_forgery_is_expected_to_be_refused() -> None:
    """It is signed with another key, never retried, no part of the truth; accepting one fails the run."""

    def check(request: Request, _: int) -> int:
        good = hmac.new(b"key", request.body, "sha512").hexdigest()
        return 200 if request.headers["x-webhook-hmac"] == good else 401

    refused, _ = send(check, forged=1.0, hmac_key=b"key")
    accepted, _ = send(forged=1.0, hmac_key=b"key")

    assert refused.ok
    assert (refused.forged, refused.forged_accepted, refused.sent) == (5, 0, 5)
    assert refused.answers == {200: 5, 401: 5}
    assert not accepted.ok
    assert accepted.outcomes == {"transition": 5}


# The truth


def test_the_truth_counts_transitions_and_seconds_without_repeats() -> None:
    """Repeats move nothing; the last status lasts until the end asked for."""
    truth = ExpectedSession("a", "GOWS", ((START, 1000), (START, 3000), (OK, 4000), (START, 9000)))

    assert truth.transitions == {("NONE", START): 1, (START, OK): 1, (OK, START): 1}
    assert (truth.status, truth.since_ms) == (START, 9000)
    assert truth.seconds(until_ms=10_500) == {START: 4.5, OK: 5.0}
    assert truth.seconds(until_ms=5000) == {START: 3.0, OK: 1.0}


@pytest.mark.parametrize("name", NAMES)
def test_the_seconds_of_all_statuses_sum_to_the_time_observed(name: str) -> None:
    """From a session's first event to the last of all."""
    report, _ = send(name=name, sessions=2, start_at=0.0)

    assert report.ok
    assert sum(report.expected.statuses.values()) == 2
    for session, seconds in report.expected.seconds().items():
        first = report.expected.sessions[session].points[0][1]
        assert sum(seconds.values()) == pytest.approx((report.expected.end_ms - first) / 1000)
    changes = sum(len(each.changes) for each in report.expected.sessions.values())
    assert sum(report.expected.transitions.values()) == changes


# The command


def test_the_command_prints_the_report_as_json(invoke: Callable[..., Any], tmp_path: Path) -> None:
    """For scripts: counts, and the truth by session."""
    key = tmp_path / "key"
    key.write_text("first\nsecond\n")

    async def play() -> Any:
        async with receiving(lambda *_: 200) as receiver:
            arguments = ["restart", "--url", receiver.url, "--pace", "0", "--sessions", "3", "--json"]
            result = await asyncio.to_thread(invoke, *arguments, "--hmac-key-file", str(key))
            return result, receiver.requests

    result, requests = asyncio.run(play())

    assert result.exit_code == 0
    report = json.loads(result.stdout)
    assert report["delivered"] == 15
    assert report["truth"]["transitions"]["NONE>STARTING"] == 3
    assert report["truth"]["sessions"]["session-003"]["status"] == OK
    expected = hmac.new(b"first", requests[0].body, "sha512").hexdigest()
    assert requests[0].headers["x-webhook-hmac"] == expected


def test_the_command_fails_when_an_event_is_given_up(invoke: Callable[..., Any]) -> None:
    """Exit status 1, and the table says how many."""

    async def play() -> Any:
        async with receiving(lambda *_: 401) as receiver:
            arguments = ["stuck-start", "--url", receiver.url, "--pace", "0", "--sessions", "1"]
            return await asyncio.to_thread(invoke, *arguments, "--attempts", "2", "--retry-delay", "0")

    result = asyncio.run(play())

    assert result.exit_code == 1
    assert re.search(r"given up\W+1\b", result.stdout)
    assert re.search(r"HTTP 401\W+2\b", result.stdout)


def test_ctrl_c_ends_with_what_was_sent_so_far() -> None:
    """Exit status 130, a report, no traceback."""
    asked = asyncio.Event()

    async def play() -> Any:
        async with receiving(lambda *_: asked.set() or 200) as receiver:
            arguments = ["simulate", "steady", "--url", receiver.url, "--pace", "20", "--json"]
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "wawp_exporter", *arguments, stdout=PIPE, stderr=PIPE
            )
            await asked.wait()
            process.send_signal(signal.SIGINT)
            return *await process.communicate(), process.returncode

    out, err, status = asyncio.run(play())

    assert (status, err) == (130, b"")
    assert 1 <= json.loads(out)["sent"] < 120


def test_an_exporter_that_is_not_there_is_named(invoke: Callable[..., Any]) -> None:
    """One line, exit status 1, no traceback."""
    result = invoke("steady", "--url", "http://127.0.0.1:1/webhook")

    assert result.exit_code == 1
    assert result.stderr == (
        "http://127.0.0.1:1/webhook: cannot connect (Connection refused); does `wawp-exporter serve` run there?\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["steady", "--hmac-key-file", "/nowhere/key"], "/nowhere/key: cannot be read (No such file or directory)"),
        (["steady", "--url", "ftp://x"], "ftp://x: not an http or https address"),
        (["steady", "--engines", "VENOM"], "expected for example GOWS=5,NOWEB=3"),
        (["steady", "--engines", "GOWS=0"], "expected for example GOWS=5,NOWEB=3"),
        (["steady", "--start-at", "soon"], "expected for example 2026-11-01T00:00:00Z"),
        (["nonsense"], "'nonsense' is not one of"),
    ],
)
def test_a_mistake_is_answered_with_what_was_expected(
    invoke: Callable[..., Any], arguments: list[str], message: str
) -> None:
    """Never with a traceback."""
    result = invoke(*arguments)

    assert result.exit_code in {1, 2}
    assert message in result.stderr


@pytest.mark.parametrize("content", ["two words\r\n", "# made with Notepad\r\n two words \r\nother\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_key_is_read_as_the_exporter_reads_it(tmp_path: Path, content: str, encoding: str) -> None:
    """The same file is named on both sides."""
    (tmp_path / "key").write_bytes(content.encode(encoding))

    assert first_line(tmp_path / "key") == "two words"


@pytest.mark.parametrize("content", [b"", b"# nothing\n", b"a\x00b", b"caf\xe9"])
def test_a_file_without_a_key_is_refused(tmp_path: Path, content: bytes) -> None:
    """By its name."""
    (tmp_path / "key").write_bytes(content)

    with pytest.raises(SimulationError, match=re.escape(str(tmp_path / "key"))):
        first_line(tmp_path / "key")


def test_the_list_names_every_scenario(invoke: Callable[..., Any]) -> None:
    """One line each, with what it does."""
    result = invoke("--list")

    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stdout.splitlines()] == NAMES


def test_the_documented_scenarios_are_those_of_the_code() -> None:
    """Name and line of each row of the table in docs/simulator.md."""
    rows = re.findall(r"^\| `([a-z-]+)` \| (.+?) \|", DOCS.read_text(), re.MULTILINE)

    assert rows == [(each.name, each.summary) for each in CATALOGUE]


def test_the_documented_options_exist() -> None:
    """Every --option of docs/simulator.md is one of the command's."""
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}

    assert set(re.findall(r"--[a-z][a-z-]+", DOCS.read_text())) <= known
