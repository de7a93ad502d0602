"""One end of a session that several webhooks are about, in any order: live, in the log, and after a restart."""

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import permutations
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from msgspec.structs import replace

from tests.builders import clock, make_fleet, memories_of, ms
from tests.event_log import transitions_of
from tests.parts import encode
from wawp_exporter.dialects.registry import DIALECTS
from wawp_exporter.log.history.history import History
from wawp_exporter.log.log import Log
from wawp_exporter.log.place import Place
from wawp_exporter.model.event import Status, StatusEvent
from wawp_exporter.model.fleet import Fleet
from wawp_exporter.model.machine import State
from wawp_exporter.model.outcome import Outcome

CAPTURED = Path(__file__).parents[1] / "captured" / "wppconnect" / "2.10.4.jsonl"
W, F, X, S, Q, D = "WORKING", "FAILED", "STOPPED", "STARTING", "SCAN_QR_CODE", "DISCONNECTED"
Body = dict[str, Any]


def evo(event: str, **data: Any) -> Body:
    """A webhook of Evolution; its time is put in when it is sent."""
    return {"event": event, "data": data}


def wpp(event: str, **more: Any) -> Body:
    """A webhook of wppconnect-server: any but its other events is a status."""
    return {"event": event, **more} if event in ("qrcode", "closesession", "logoutsession") else found(event)


def found(status: str) -> Body:
    """wppconnect-server's `status-find`."""
    return {"event": "status-find", "status": status}


OPEN = evo("connection.update", state="open", statusReason=200)
UNLINKED = evo("connection.update", state="close", statusReason=401)
ENDED = evo("status.instance", status="closed", disconnectionReasonCode=401)
LOGOUT = {"event": "logout.instance", "data": None}
REMOVED = {"event": "remove.instance", "data": None}
CODE = evo("qrcode.updated", qrcode={"code": "2@secret"})
LIMIT = evo("qrcode.updated", message="QR code limit reached, please login again", statusCode=500)
REFUSED = evo("connection.update", state="refused", statusReason=428)


class Story(NamedTuple):
    """What came in this order before, the webhooks of one end in any order, and what the session is then."""

    dialect: str
    before: Sequence[Body]
    end: Sequence[Body]
    status: str
    login: bool = False
    at_once: bool = True  # also in one millisecond, in which the log keeps a status once


STORIES = {
    "evolution: the phone unlinks, until 2.2.0": Story("evolution", [OPEN], [UNLINKED, ENDED, LOGOUT], F),
    "evolution: the phone unlinks, two enabled": Story("evolution", [OPEN], [UNLINKED, LOGOUT], F),
    "evolution: the phone unlinks, the other two": Story("evolution", [OPEN], [ENDED, LOGOUT], F),
    "evolution: the phone unlinks, one enabled": Story("evolution", [OPEN], [ENDED], F),
    "evolution: banned": Story(
        "evolution", [OPEN], [evo("connection.update", state="close", statusReason=403), LOGOUT], F
    ),
    "evolution: connection lost, then logged out": Story(
        "evolution", [OPEN], [evo("connection.update", state="close", statusReason=428), LOGOUT], D
    ),
    "evolution: logged out, nothing else enabled": Story("evolution", [OPEN], [LOGOUT], X),
    "evolution: removed": Story("evolution", [OPEN], [REMOVED, UNLINKED, ENDED, LOGOUT], X, at_once=False),
    "evolution: nobody scans": Story("evolution", [CODE], [REFUSED, LOGOUT], F, login=True),
    "evolution: nobody scans, all codes shown": Story("evolution", [CODE], [LIMIT, REFUSED, LOGOUT], F, login=True),
    "wppconnect: the phone unlinks": Story(
        "wppconnect", [wpp("inChat")], [wpp("disconnectedMobile"), wpp("browserClose")], F
    ),
    "wppconnect: as spelt until 2025": Story(
        "wppconnect", [wpp("inChat")], [wpp("desconnectedMobile"), wpp("browserClose")], F
    ),
    "wppconnect: the phone unlinks, alone": Story("wppconnect", [wpp("inChat")], [wpp("disconnectedMobile")], F),
    "wppconnect: the browser crashes": Story("wppconnect", [wpp("isLogged")], [wpp("browserClose")], F),
    "wppconnect: closed": Story("wppconnect", [wpp("inChat")], [wpp("browserClose"), wpp("closesession")], X),
    "wppconnect: closed, no status": Story("wppconnect", [wpp("inChat")], [wpp("closesession")], X),
    "wppconnect: closed, the browser is elsewhere": Story(
        "wppconnect", [wpp("inChat")], [wpp("serverClose"), wpp("closesession")], X
    ),
    "wppconnect: logged out": Story(
        "wppconnect", [wpp("inChat")], [wpp("logoutsession"), wpp("disconnectedMobile"), wpp("browserClose")], X
    ),
    "wppconnect: nobody scans": Story(
        "wppconnect", [wpp("notLogged"), wpp("qrcode")], [wpp("autocloseCalled"), wpp("browserClose")], F, login=True
    ),
    "wppconnect: the phone does not answer": Story(
        "wppconnect",
        [wpp("isLogged")],
        [wpp("phoneNotConnected"), wpp("autocloseCalled"), wpp("browserClose")],
        "",
    ),
}


class Arrived(NamedTuple):
    """A webhook, when it came and, where its gateway says so, when it was sent, in seconds after T0."""

    body: Body
    at: float
    sent: float


class Watched:
    """A live fleet on a log, as the service has them: late events are folded anew from the log."""

    def __init__(self, place: Place) -> None:
        self.log = Log(place)
        self.fleet: Fleet = make_fleet(sources={name: {"dialect": name} for name in ("evolution", "wppconnect")})

    def take(self, dialect: str, session: str, arrived: Arrived) -> Outcome:
        """One webhook; what became of it."""
        event = DIALECTS[dialect](dialect, encode(dressed(dialect, session, arrived)), ms(arrived.at))
        assert isinstance(event, StatusEvent)
        known = self.fleet.sessions.get((dialect, session))
        if event.key_is_body and known and known.state.status is not event.own.status:
            event = replace(event, renews=True)  # as the intake does
        key, now, mono = (dialect, session), ms(arrived.at), clock(arrived.at)
        rows = self.log.append([event]).rows[0]
        outcome, late = self.fleet.apply(event, rows, now, mono)
        if late:
            state = self.log.states.fold(key)
            assert state
            assert self.fleet.correct(key, state, now, mono)
        return outcome

    def state(self, dialect: str, session: str) -> State:
        """What is believed of a session."""
        return self.fleet.sessions[dialect, session].state


def dressed(dialect: str, session: str, arrived: Arrived) -> Body:
    """The body with its session and, of Evolution, its local time."""
    if dialect == "wppconnect":
        return {**arrived.body, "session": session}
    return {**arrived.body, "instance": session, "date_time": text_of(ms(arrived.sent))}


def text_of(at: int) -> str:
    """Unix ms as Evolution writes it."""
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@pytest.fixture
def watched(place: Place) -> Iterator[Watched]:
    """A fleet and its log."""
    made = Watched(place)
    yield made
    made.log.close()


def orders(story: Story) -> Iterable[tuple[str, list[Arrived]]]:
    """The end of a story in every order of arrival, in one millisecond and some apart, each with a name of its own."""
    ways = ((0.0, False), (0.003, True))
    for spacing, sent_in_order in ways if story.at_once else ways[1:]:
        for number, order in enumerate(permutations(range(len(story.end)))):
            arrived = [
                Arrived(story.end[index], 60 + place * spacing, 60 + (index if sent_in_order else place) * spacing)
                for place, index in enumerate(order)
            ]
            yield f"s{spacing}-{sent_in_order}-{number}", arrived


def test_an_end_is_the_same_in_any_order(watched: Watched) -> None:
    """Live, with every webhook twice, in the log folded anew, in both of its views, and after a restart."""
    for name, story in STORIES.items():
        for order, arrived in orders(story):
            session = f"{name} {order}"
            for number, body in enumerate(story.before):
                watched.take(story.dialect, session, Arrived(body, number, number))
            for webhook in arrived:
                watched.take(story.dialect, session, webhook)
            for webhook in arrived:
                watched.take(story.dialect, session, webhook)

            state = watched.state(story.dialect, session)
            assert state.status in (story.status or (F, D)), session
            assert bool(state.auth_since) is story.login, session
            assert bool(state.down_since) is (state.status is not Status.STOPPED), session
            assert watched.log.states.fold((story.dialect, session)) == state, session

    restored = watched.log.restore(["evolution", "wppconnect"])
    assert {key: memory.state for key, memory in memories_of(restored).items()} == {
        key: each.state for key, each in watched.fleet.sessions.items()
    }


def test_the_log_tells_of_an_end_what_the_fold_makes_of_it(watched: Watched) -> None:
    """`/transitions`, the view for SQL, the heatmap's timelines: none shows a status that the session was not in."""
    for name, story in STORIES.items():
        session = f"{story.dialect} {name}"
        for number, body in enumerate([*story.before, *story.end, *story.end[::-1]]):
            watched.take(story.dialect, session, Arrived(body, number, number))

    with History(watched.log.place) as history:
        for (dialect, session), each in watched.fleet.sessions.items():
            told, _ = history.transitions(source=dialect, session=session)
            view = transitions_of(watched.log, dialect, session)
            assert [(row.from_status, row.status, row.at) for row in view] == [
                (item.before, item.status, item.at) for item in reversed(told)
            ]
            assert told[0].status is each.state.status
            (line,) = history.timelines(ms(3600), ms(7200), source=dialect, session=session)
            assert line.points[-1][1] is each.state.status


def test_a_loss_continues_the_episodes_that_a_closing_seemed_to_end(watched: Watched) -> None:
    """Also where the closing came first: the login that nobody has done goes on from its beginning."""
    for at, body in enumerate([CODE, LOGOUT, REFUSED]):
        watched.take("evolution", "s", Arrived(body, at, at))

    assert watched.state("evolution", "s").auth_since == ms(0)


def test_a_logout_long_after_a_loss_is_a_decision(watched: Watched) -> None:
    """Somebody gives the session up."""
    for at, body in ((0, OPEN), (10, UNLINKED), (100, LOGOUT)):
        watched.take("evolution", "s", Arrived(body, at, at))

    assert watched.state("evolution", "s").status is Status.STOPPED


def test_a_session_that_was_started_again_can_be_lost_at_once(watched: Watched) -> None:
    """What explained the end before it explains nothing any more."""
    story = [wpp("inChat"), wpp("closesession"), wpp("notLogged"), wpp("browserClose")]
    for at, body in enumerate(story):
        watched.take("wppconnect", "s", Arrived(body, at, at))

    assert watched.state("wppconnect", "s").status is Status.FAILED
    assert watched.state("wppconnect", "s").auth_since == ms(2)


# -- what a real wppconnect-server sent


def captured() -> dict[str, list[Arrived]]:
    """Its webhooks by session, the URL's name where the body has none; those that reached nobody are left out."""
    sessions: dict[str, list[Arrived]] = {}
    started, last = 1_795_694_828.0, ""
    for line in CAPTURED.read_text().splitlines():
        record = json.loads(line)
        body = json.loads(record["body"])
        last = body.get("session", last)
        if record["answered"]:
            at = record["t"] - started
            sessions.setdefault(last, []).append(Arrived(body, at, at))
    return sessions


@pytest.mark.parametrize(
    ("session", "statuses"),
    [
        ("s2", [Q, W, F, Q, W, F, X, Q, W, F]),
        ("s3", [W, X]),
        ("u1", [W, F]),
        ("u2", [Q, W, F]),
        ("u3", [W, F]),
        ("u4", [W, F]),
        ("v1", [W, F, X, W, F, X]),
    ],
)
def test_captured_ends_are_what_was_done(watched: Watched, session: str, statuses: list[str]) -> None:
    """Unlinked by the phone: FAILED. Closed, logged out: STOPPED; a browser that closes first is FAILED for 0.4 ms."""
    for webhook in captured()[session]:
        watched.take("wppconnect", session, webhook)

    with History(watched.log.place) as history:
        told, _ = history.transitions(session=session)
    assert [item.status for item in reversed(told)] == statuses
