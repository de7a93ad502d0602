"""Every answer of `POST /webhook`, from a running exporter over real connections."""

import base64
import gzip
import http.client
import itertools
import json
import socket
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any

import httpx
import pytest
from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics_parser

from tests import parts

OLD_KEY, NEW_KEY = "an older key", "a newer key"
TOKENS = "t0ken-one", "t0ken/two+=&%"
LIMIT = 256 * 1024
REASONS = {
    "bad_signature",
    "missing_signature",
    "bad_token",
    "malformed",
    "too_large",
    "invalid_event",
    "log_unavailable",
}
numbers = itertools.count()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[parts.Exporter]:
    """One exporter with a source for each way to prove who sends."""
    folder = tmp_path_factory.mktemp("webhook")
    (folder / "keys").write_text(f"{OLD_KEY}\n\n{NEW_KEY}\n")
    (folder / "tokens").write_text("\n".join(TOKENS))
    (folder / "vector").write_text("my-secret-key\n")
    sources = {
        "default": {},
        "signed": {"hmac_keys_file": "keys"},
        "short": {"hmac_keys_file": "keys", "hmac_algorithm": "sha256", "hmac_header": "X-Hub-Signature-256"},
        "token": {"token_file": "tokens"},
        "either": {"hmac_keys_file": "keys", "token_file": "tokens"},
        "open": {"allow_unsigned": True},
        "vector": {"hmac_keys_file": "vector"},
        "evolution": {"dialect": "evolution", "token_file": "tokens"},
    }
    with parts.Exporter({"sources": sources, "metrics": {"session_histograms": False}}, folder) as exporter:
        yield exporter


def new_session() -> str:
    """A name that no other test uses."""
    return f"session-{next(numbers)}"


def event(**overrides: Any) -> bytes:
    """A webhook's body, of a new session and of now unless told otherwise."""
    return parts.encode(parts.envelope(**{"session": new_session(), "timestamp": parts.now_ms()} | overrides))


def lines_of(text: str, name: str) -> str:
    """The lines of one metric: reading thousands of others each time would be most of a test's time."""
    return "\n".join(line for line in text.split("\n") if line.startswith((name, "# EOF"))) + "\n"


def samples(exporter: parts.Exporter, name: str) -> list[tuple[dict[str, str], float]]:
    """All samples of a name."""
    families = parser.text_string_to_metric_families(lines_of(exporter.metrics(), name))
    return [(s.labels, s.value) for family in families for s in family.samples if s.name == name]


def value(exporter: parts.Exporter, name: str, **labels: str) -> float | None:
    """The sample of a name with these labels among others."""
    found = [v for own, v in samples(exporter, name) if labels.items() <= own.items()]
    assert len(found) <= 1
    return found[0] if found else None


def rejections(exporter: parts.Exporter, source: str) -> dict[str, float]:
    """The rejected webhooks of a source by reason."""
    name = "wawp_exporter_webhooks_rejected_total"
    return {own["reason"]: v for own, v in samples(exporter, name) if own["source"] == source}


def refused(answer: httpx.Response, status: int) -> str:
    """The message of an error in the one shape of errors."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert list(answer.json()) == ["error"]
    return answer.json()["error"]


def counts_one(exporter: parts.Exporter, source: str, reason: str, call: Callable[[], object]) -> None:
    """`call` is one rejection for that reason, and no other counter of the source moves."""
    before = rejections(exporter, source)
    rejected = value(exporter, "wawp_exporter_webhooks_total", source=source, outcome="rejected") or 0

    call()

    assert rejections(exporter, source) == before | {reason: before[reason] + 1}
    assert value(exporter, "wawp_exporter_webhooks_total", source=source, outcome="rejected") == rejected + 1


# 200


def test_a_first_status_is_a_transition(running: parts.Exporter) -> None:
    """The answer is exactly one outcome, as JSON."""
    answer = running.post(event())

    assert (answer.status_code, answer.json()) == (200, {"outcome": "transition"})
    assert answer.headers["content-type"] == "application/json"


def test_the_five_outcomes(running: parts.Exporter) -> None:
    """Another status, the same again, the very same event, an older one, another kind of event."""
    now, name = parts.now_ms() - 5000, new_session()
    bodies = [
        event(session=name, status="STARTING", timestamp=now),
        event(session=name, status="STARTING", timestamp=now + 1000),
        event(session=name, status="STARTING", timestamp=now + 1000),
        event(session=name, status="FAILED", timestamp=now - 1000),
        parts.encode({"event": "message", "session": name, "payload": {"body": "hello"}}),
        event(session=name, status="WORKING", timestamp=now + 2000),
    ]
    answers = [running.post(body, source="open").json()["outcome"] for body in bodies]

    assert answers == ["transition", "repeat", "duplicate", "late", "ignored", "transition"]
    counted = samples(running, "wawp_exporter_webhooks_total")
    assert {o["outcome"]: v for o, v in counted if o["source"] == "open"} == {
        "transition": 2,
        "repeat": 1,
        "duplicate": 1,
        "late": 1,
        "ignored": 1,
        "rejected": 0,
    }


def test_a_shortened_history_does_not_swap_two_statuses_of_one_millisecond(running: parts.Exporter) -> None:
    """WAHA sends the last three points: STARTING then stands first in a history, but it was second in its millisecond.

    The later event comes first, as when the receiver was away for a moment; the order of arrival decides nothing.
    """
    now = parts.now_ms() - 60_000
    told = [("STOPPED", now), ("STARTING", now), ("WORKING", now + 2000), ("FAILED", now + 4000)]
    points = [{"status": status, "timestamp": at} for status, at in told]
    views = []
    for order in ([0, 1, 2, 3], [3, 1, 0, 2], [3, 2, 1, 0]):
        name = new_session()
        for index in order:
            status, at = told[index]
            running.post(event(session=name, status=status, timestamp=at, statuses=points[: index + 1][-3:]))
        views.append(transitions(running, name))

    assert views == [["STOPPED", "STARTING", "WORKING", "FAILED"]] * 3


def transitions(exporter: parts.Exporter, session: str) -> list[str]:
    """What the log's view tells of a session."""
    query = "SELECT status FROM transitions WHERE session = ? ORDER BY at, tie, seq"
    with closing(sqlite3.connect(f"file:{exporter.directory}/wawp.db?mode=ro", uri=True)) as connection:
        return [status for (status,) in connection.execute(query, (session,))]


def test_a_repeat_does_not_move_since(running: parts.Exporter) -> None:
    """A new QR image is no new status."""
    now, name = parts.now_ms() - 5000, new_session()
    for offset in (0, 1500, 3000):
        running.post(event(session=name, status="SCAN_QR_CODE", timestamp=now + offset))

    since = value(running, "wawp_session_status_since_timestamp_seconds", session=name)
    assert since == pytest.approx(now / 1000, abs=0.0005)


def test_a_second_delivery_under_another_request_id_is_a_duplicate(running: parts.Exporter) -> None:
    """WAHA sends two copies when one URL is configured twice."""
    body = event()
    outcomes = [running.post(body, {"X-Webhook-Request-Id": f"5uemwsms5c{n}"}).json()["outcome"] for n in range(2)]

    assert outcomes == ["transition", "duplicate"]


def test_webhook_is_short_for_the_source_default(running: parts.Exporter) -> None:
    """`/webhook` and `/webhook/default` are one path."""
    body = event()

    assert running.post(body).json() == {"outcome": "transition"}
    assert running.post(body, source="default").json() == {"outcome": "duplicate"}


def test_an_event_of_another_kind_is_a_sign_of_life(running: parts.Exporter) -> None:
    """It moves the last event of a known session and creates nothing for an unknown one."""
    known, unknown, then = new_session(), new_session(), parts.now_ms() - 60_000
    running.post(event(session=known, timestamp=then))
    before = value(running, "wawp_session_last_event_timestamp_seconds", session=known)
    for name in (known, unknown):
        answer = running.post({"event": "message", "session": name, "payload": {}})
        assert answer.json() == {"outcome": "ignored"}

    after = value(running, "wawp_session_last_event_timestamp_seconds", session=known)
    assert before is not None
    assert after is not None
    assert after > before
    assert value(running, "wawp_session_info", session=unknown) is None
    assert value(running, "wawp_session_status_since_timestamp_seconds", session=known) == then / 1000


def test_the_flat_envelope_of_wawp_v1_is_read(running: parts.Exporter) -> None:
    """Its time is in seconds."""
    seconds = parts.now_ms() // 1000
    body = {"instance_id": new_session(), "status": "SCAN_QR_CODE", "qr": "2@abc", "ts": seconds}

    assert running.post(body).json() == {"outcome": "transition"}
    since = value(running, "wawp_session_status_since_timestamp_seconds", session=body["instance_id"])
    assert since == seconds


def test_a_status_that_nobody_knows_is_unknown_and_counted(running: parts.Exporter) -> None:
    """A new gateway version must not lose events."""
    name, before = new_session(), value(running, "wawp_exporter_unknown_statuses_total", source="default") or 0

    assert running.post(event(session=name, status="HIBERNATING")).json() == {"outcome": "transition"}
    assert value(running, "wawp_session_status", session=name, status="UNKNOWN") == 1
    assert value(running, "wawp_exporter_unknown_statuses_total", source="default") == before + 1


def test_a_clock_that_runs_ahead_is_not_believed(running: parts.Exporter) -> None:
    """An hour ahead counts as now, and what comes after it is not late."""
    name, now = new_session(), parts.now_ms()
    first = running.post(event(session=name, status="STARTING", timestamp=now + 3_600_000)).json()
    again = running.post(event(session=name, status="STARTING", timestamp=now + 3_600_000)).json()
    second = running.post(event(session=name, status="WORKING", timestamp=parts.now_ms() + 100)).json()

    assert [a["outcome"] for a in (first, again, second)] == ["transition", "duplicate", "transition"]
    assert (value(running, "wawp_exporter_clock_skew_events_total", source="default") or 0) >= 1


def test_a_clock_that_is_behind_is_shown_after_minutes(running: parts.Exporter) -> None:
    """A burst of late webhooks is not enough: they may have waited for the exporter."""
    for _ in range(4):
        running.post(event(timestamp=parts.now_ms() - 300_000), source="open").raise_for_status()

    assert value(running, "wawp_exporter_clock_behind_seconds", source="open") == 0


# refused since


def refused_since(exporter: parts.Exporter, source: str) -> dict[str, float]:
    """The reasons for which webhooks of a source are refused, and since when."""
    found = samples(exporter, "wawp_exporter_refused_since_timestamp_seconds")
    return {own["reason"]: at for own, at in found if own["source"] == source and at}


def test_the_first_refusal_since_an_acceptance_is_shown(running: parts.Exporter) -> None:
    """How long nothing has come through is what an operator has to know, for each reason."""
    wrong = {"X-Webhook-Hmac": "0" * 128}
    begun = parts.now_ms() / 1000
    running.post(event(), source="signed", headers=wrong)
    first = refused_since(running, "signed")
    running.post(event(), source="signed", headers=wrong)
    running.post(b"[]", source="signed", key=NEW_KEY)
    second = refused_since(running, "signed")
    running.post(event(), source="signed", key=NEW_KEY).raise_for_status()

    assert begun <= first["bad_signature"] <= parts.now_ms() / 1000
    assert second["bad_signature"] == first["bad_signature"]
    assert second.keys() == {"bad_signature", "malformed"}
    assert refused_since(running, "signed") == {}


@pytest.mark.parametrize(
    ("source", "headers", "reasons"),
    [
        ("signed", {}, set()),
        ("signed", {"User-Agent": "curl/8"}, set()),
        ("signed", {"User-Agent": "WAHA/2026.2.1"}, {"missing_signature"}),
        ("signed", {"X-Webhook-Request-Id": "5uemwsms5c0"}, {"missing_signature"}),
        ("token", {}, set()),
        ("token", {"X-Webhook-Timestamp": "1795399962612"}, {"bad_token"}),
        ("token", {"Authorization": "Bearer wrong"}, {"bad_token"}),
        ("token", {"User-Agent": "axios/1.7.9"}, set()),
        ("evolution", {"User-Agent": "axios/1.7.9"}, {"bad_token"}),
        ("signed", {"Content-Encoding": "gzip"}, set()),
        ("signed", {"Content-Encoding": "gzip", "User-Agent": "WAHA/2026.2.1"}, {"malformed"}),
    ],
)
def test_scanners_do_not_look_like_a_gateway_that_is_refused(
    running: parts.Exporter, source: str, headers: dict[str, str], reasons: set[str]
) -> None:
    """A public URL is found by scanners, who send anything; nobody is to be woken up for that."""
    before = sum(n for own, n in samples(running, "wawp_exporter_webhooks_rejected_total") if own["source"] == source)
    token = {"Authorization": f"Bearer {TOKENS[0]}"} if source in ("token", "evolution") else {}
    running.post(event(), source=source, headers=token, key=NEW_KEY).raise_for_status()

    assert running.post(event(), source=source, headers=headers).status_code in (401, 415)

    assert refused_since(running, source).keys() == reasons
    after = sum(n for own, n in samples(running, "wawp_exporter_webhooks_rejected_total") if own["source"] == source)
    assert after == before + 1


# 400, 422


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"   ",
        b"STARTING",
        b'{"event": "session.status"',
        b"[]",
        b'"text"',
        b"null",
        b"12",
        b"\xff\xfe\x00",
        b'{"session": "\xff"}',
        b"[" * 100_000,
        b'{"a":' * 40_000,
        b"event=session.status&session=x",
    ],
    ids=lambda body: repr(body[:16]),
)
def test_what_is_not_a_json_object_is_answered_400(running: parts.Exporter, body: bytes) -> None:
    """And counted as malformed."""
    counts_one(running, "default", "malformed", lambda: refused(running.post(body), 400))


INVALID = [
    ("session", {"session": parts.OMIT}),
    ("session", {"session": ""}),
    ("session", {"session": None}),
    ("session", {"session": 12}),
    ("session", {"session": ["a"]}),
    ("session", {"session": "x" * 257}),
    ("session", {"session": "é" * 128 + "x"}),
    ("session", {"session": "nul\0nul"}),
    ("payload", {"payload": parts.OMIT}),
    ("payload", {"payload": None}),
    ("payload", {"payload": "WORKING"}),
    ("payload.status", {"payload": {}}),
    ("payload.status", {"payload": {"status": None}}),
    ("payload.status", {"payload": {"status": 3}}),
    ("payload.status", {"payload": {"status": ""}}),
    ("payload.status", {"payload": {"status": "S" * 257}}),
]


@pytest.mark.parametrize(("field", "change"), INVALID)
def test_a_status_event_without_what_it_needs_is_answered_422(
    running: parts.Exporter, field: str, change: Mapping[str, Any]
) -> None:
    """The error begins with the path of the field, and does not repeat the value."""
    body = {"event": "session.status", "session": "s", "payload": {"status": "WORKING"}, **change}
    body = {key: item for key, item in body.items() if item is not parts.OMIT}

    def call() -> None:
        message = refused(running.post(body), 422)
        assert message.startswith(f"{field}: ")
        assert "xxxx" not in message

    counts_one(running, "default", "invalid_event", call)


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("event", b"{}"),
        ("event", b'{"event": 7}'),
        ("instance_id", b'{"status": "WORKING"}'),
        ("instance_id", b'{"instance_id": "", "status": "WORKING"}'),
        ("status", b'{"instance_id": "a1"}'),
    ],
)
def test_a_flat_event_without_what_it_needs_is_answered_422(running: parts.Exporter, field: str, body: bytes) -> None:
    """Also for an object that is no event at all."""
    assert refused(running.post(body), 422).startswith(f"{field}: ")


def test_half_a_character_in_a_name_is_refused_not_a_crash(running: parts.Exporter) -> None:
    """JSON can spell a lone surrogate, which no label can hold."""
    body = b'{"event":"session.status","session":"\\ud800","payload":{"status":"WORKING"}}'

    assert running.post(body).status_code in {400, 422}
    assert running.get("/metrics").status_code == 200


@pytest.mark.parametrize(
    "extra",
    [
        {"timestamp": "yesterday"},
        {"timestamp": -1},
        {"timestamp": 1e300},
        {"timestamp": None},
        {"timestamp": 10**30},
        {"id": ["x"]},
        {"id": "\0"},
        {"engine": {"engine": "GOWS"}},
        {"environment": "none"},
        {"me": "12345"},
        {"payload": {"statuses": "none"}},
        {"payload": {"statuses": [None, 3, {"status": 4}, {"timestamp": "x"}, []]}},
        {"payload": {"data": [1]}},
        {"payload": {"data": {"reachoutTimelock": 7, "messageCapping": []}}},
        {"payload": {"data": {"reachoutTimelock": {"isActive": "yes", "timeEnforcementEnds": "soon"}}}},
        {"metadata": {"owner": {"deep": [1, 2]}}},
    ],
    ids=repr,
)
def test_odd_companions_of_a_good_status_do_not_cost_the_event(
    running: parts.Exporter, extra: Mapping[str, Any]
) -> None:
    """Session and status are usable, so the event counts."""
    answer = running.post(event(**extra))

    assert (answer.status_code, answer.json()) == (200, {"outcome": "transition"})
    assert running.get("/metrics").status_code == 200


HOSTILE = [
    'quo"te',
    "back\\slash",
    "new\nline",
    "carriage\rreturn",
    "trailing\\",
    "{}, =",
    "a b",
    "😀" * 64,
    "x" * 256,
    "</script><b>&amp;",
    "../../etc/passwd",
    "'; DROP TABLE event; --",
    "%s{0}${x}",
    "tab\tand\x01control",
    "\u202emirrored\u2028line",
    "\x85next",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_session_name_is_exported_as_it_is(running: parts.Exporter, name: str) -> None:
    """Both formats read back exactly the name that was sent."""
    assert running.post(event(session=name)).json() == {"outcome": "transition"}

    text = running.get("/metrics", {"Accept": "text/plain"}).content.decode()
    modern = running.get("/metrics", {"Accept": "application/openmetrics-text; version=1.0.0"}).content.decode()
    for families in (
        parser.text_string_to_metric_families(lines_of(text, "wawp_session_info")),
        openmetrics_parser.text_string_to_metric_families(lines_of(modern, "wawp_session_info").strip() + "\n"),
    ):
        assert name in {sample.labels["session"] for family in families for sample in family.samples}


# 401


def test_the_published_vector_of_waha_is_accepted(running: parts.Exporter) -> None:
    """Key, body and signature as WAHA's documentation has them."""
    body = b'{"event":"message","session":"default","engine":"WEBJS"}'
    signature = (
        "208f8a55dde9e05519e898b10b89bf0d0b3b0fdf11fdbf09b6b90476301b98d8"
        "097c462b2b17a6ce93b6b47a136cf2e78a33a63f6752c2c1631777076153fa89"
    )
    answer = running.post(body, {"X-Webhook-Hmac": signature}, "vector")

    assert (answer.status_code, answer.json()) == (200, {"outcome": "ignored"})


@pytest.mark.parametrize("key", [OLD_KEY, NEW_KEY])
@pytest.mark.parametrize("form", [str, str.upper, "sha512={}".format])
def test_any_key_of_the_file_is_accepted(running: parts.Exporter, key: str, form: Callable[[str], str]) -> None:
    """During a rotation both sign; hex of either case, with or without the algorithm before it."""
    body = event()
    answer = running.post(body, {"X-Webhook-Hmac": form(parts.sign(body, key))}, "signed")

    assert answer.json() == {"outcome": "transition"}


def test_sha256_and_another_header_are_a_matter_of_configuration(running: parts.Exporter) -> None:
    """As other gateways sign."""
    body = event()
    good = running.post(body, {"X-Hub-Signature-256": f"sha256={parts.sign(body, NEW_KEY, 'sha256')}"}, "short")
    longer = running.post(body, {"X-Hub-Signature-256": parts.sign(body, NEW_KEY)}, "short")
    elsewhere = running.post(body, source="short", key=NEW_KEY, algorithm="sha256")

    assert good.json() == {"outcome": "transition"}
    refused(longer, 401)
    refused(elsewhere, 401)


@pytest.mark.parametrize(
    "signature",
    ["", "0" * 128, "zz", "=" * 64, "é" * 10, "a" * 10_000, "sha512=", "null"],
    ids=lambda text: text[:12] or "empty",
)
def test_a_wrong_signature_is_answered_401(running: parts.Exporter, signature: str) -> None:
    """Whatever stands in the header, it is a refusal and counted as a bad signature."""
    headers = [("X-Webhook-Hmac", signature.encode())]

    def call() -> None:
        url = f"{running.url}/webhook/signed"
        refused(running.client.post(url, content=event(), headers=headers), 401)

    counts_one(running, "signed", "bad_signature", call)


def test_a_changed_body_is_answered_401(running: parts.Exporter) -> None:
    """One byte is enough."""
    body = event(status="WORKING")
    signature = parts.sign(body, NEW_KEY)
    answer = running.post(body.replace(b"WORKING", b"FAILED!"), {"X-Webhook-Hmac": signature}, "signed")

    refused(answer, 401)


def test_a_missing_signature_is_answered_401(running: parts.Exporter) -> None:
    """A loopback caller is no exception where a key is configured."""
    counts_one(running, "signed", "missing_signature", lambda: refused(running.post(event(), source="signed"), 401))


def test_the_body_of_a_bad_signature_is_not_looked_at(running: parts.Exporter) -> None:
    """Rubbish with a wrong signature is a bad signature, not malformed: only signed bytes are parsed."""
    counts_one(
        running,
        "signed",
        "bad_signature",
        lambda: refused(running.post(b"[" * 50_000, source="signed", key="wrong"), 401),
    )
    counts_one(
        running,
        "signed",
        "malformed",
        lambda: refused(running.post(b"rubbish", source="signed", key=NEW_KEY), 400),
    )


def basic(user: str, password: str) -> str:
    """An Authorization header as browsers and gateways' URLs make it."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize("token", TOKENS)
@pytest.mark.parametrize(
    "carry",
    [
        lambda token: {"headers": {"Authorization": f"Bearer {token}"}},
        lambda token: {"headers": {"Authorization": f"bearer {token}"}},
        lambda token: {"headers": {"Authorization": basic("waha", token)}},
        lambda token: {"params": {"token": token}},
        lambda token: {"params": {"secret": token}},
    ],
    ids=["bearer", "lower-case", "basic", "token", "secret"],
)
def test_a_shared_token_is_accepted_wherever_it_may_stand(
    running: parts.Exporter, carry: Callable[[str], dict[str, Any]], token: str
) -> None:
    """Wawp can put it into the URL only."""
    answer = running.client.post(f"{running.url}/webhook/token", content=event(), **carry(token))

    assert (answer.status_code, answer.text) == (200, '{"outcome":"transition"}')


@pytest.mark.parametrize(
    "carry",
    [
        {},
        {"headers": {"Authorization": "Bearer wrong"}},
        {"headers": {"Authorization": "Bearer"}},
        {"headers": {"Authorization": "Basic !!!"}},
        {"headers": {"Authorization": basic(TOKENS[0], "wrong")}},
        {"headers": {"Authorization": TOKENS[0]}},
        {"params": {"token": ""}},
        {"params": {"token": TOKENS[0][:-1]}},
        {"params": {"secret": TOKENS[0] + "x"}},
        {"params": {"password": TOKENS[0]}},
        {"headers": {"X-Webhook-Hmac": TOKENS[0]}},
    ],
    ids=repr,
)
def test_a_wrong_or_missing_token_is_answered_401(running: parts.Exporter, carry: dict[str, Any]) -> None:
    """And counted as a bad token; the message does not repeat it."""

    def call() -> None:
        answer = running.client.post(f"{running.url}/webhook/token", content=event(), **carry)
        assert TOKENS[0][:-1] not in refused(answer, 401)

    counts_one(running, "token", "bad_token", call)


def test_a_source_with_both_takes_either(running: parts.Exporter) -> None:
    """A signature that is there must match, even beside a good token."""
    token = {"Authorization": f"Bearer {TOKENS[0]}"}

    assert running.post(event(), source="either", key=OLD_KEY).status_code == 200
    assert running.post(event(), token, "either").status_code == 200
    assert running.post(event(), token, "either", key="wrong").status_code == 401
    assert running.post(event(), source="either").status_code == 401


def test_rejections_are_counted_under_every_reason_from_the_start(running: parts.Exporter) -> None:
    """`rate()` needs a zero to start from."""
    assert set(rejections(running, "vector")) == REASONS
    assert set(rejections(running, "vector").values()) == {0}


# 401 by the rules of loopback


@pytest.mark.parametrize(
    "header",
    [
        ("X-Forwarded-For", "203.0.113.9"),
        ("x-forwarded-for", "127.0.0.1"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-Host", "localhost"),
        ("Forwarded", "for=127.0.0.1"),
        ("X-Real-IP", "127.0.0.1"),
        ("Via", "1.1 proxy"),
        ("Origin", "https://evil.example"),
        ("Origin", "null"),
        ("Origin", "http://localhost.evil.example"),
        ("Host", "wawp.example.com"),
        ("Host", "127.0.0.1.evil.example:10011"),
        ("Host", "localhost.evil.example"),
        ("Host", "192.0.2.7:10011"),
        ("Host", "0x7f000001x"),
        ("Host", "evil.example:127.0.0.1"),
        ("Host", ""),
    ],
    ids=": ".join,
)
def test_an_unsigned_webhook_is_refused_unless_it_is_certainly_local(
    running: parts.Exporter, header: tuple[str, str]
) -> None:
    """A proxy makes everybody look like loopback, and a web page can make a browser post to loopback."""
    counts_one(
        running,
        "default",
        "missing_signature",
        lambda: refused(running.post(event(), dict([header])), 401),
    )


@pytest.mark.parametrize("host", ["localhost", "localhost:10011", "127.0.0.1", "127.9.9.9:80", "[::1]:10011", "[::1]"])
def test_an_unsigned_webhook_is_taken_under_any_loopback_host(running: parts.Exporter, host: str) -> None:
    """With or without a port."""
    assert running.post(event(), {"Host": host}).status_code == 200


def test_an_http_1_0_request_without_a_host_is_not_certainly_local(running: parts.Exporter) -> None:
    """Old proxies speak it."""
    body = event()
    head = f"POST /webhook HTTP/1.0\r\nContent-Length: {len(body)}\r\n\r\n".encode()

    assert raw(running, head + body).startswith(b"HTTP/1.1 401 ")


def test_a_proxied_webhook_is_taken_where_the_operator_allows_unsigned_ones(running: parts.Exporter) -> None:
    """`allow_unsigned: true` is meant."""
    answer = running.post(event(), {"X-Forwarded-For": "203.0.113.9", "Host": "wawp.example.com"}, "open")

    assert answer.status_code == 200


# 404, 405, 413, 415


@pytest.mark.parametrize(
    "path",
    ["/webhook/nobody", "/webhook//", "/webhook//default", "/webhook/default//", "/webhook/signed/x", "/webhooks"],
)
def test_an_unknown_source_is_answered_404(running: parts.Exporter, path: str) -> None:
    """The answer does not say which sources there are."""
    message = refused(running.client.post(running.url + path, content=event()), 404)

    assert "signed" not in message


@pytest.mark.parametrize("path", ["/webhook/", "/webhook/default/", "/webhook/%64efault", "/webhook/?utm=x"])
def test_one_slash_at_the_end_is_ignored_and_a_name_may_be_percent_encoded(running: parts.Exporter, path: str) -> None:
    """An address is pasted by people; with HTTP the two spellings are one."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n".encode()
    body = event()
    answer = raw(running, head + b"Content-Length: %d\r\n\r\n" % len(body) + body)

    assert answer.startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", ["/webhook", "/webhook/signed"])
def test_another_method_is_answered_405(running: parts.Exporter, method: str, path: str) -> None:
    """With the method that would do."""
    answer = running.client.request(method, running.url + path)

    refused(answer, 405)
    assert answer.headers["allow"] == "POST"


def test_head_is_answered_405_without_a_body(running: parts.Exporter) -> None:
    """A health check with HEAD must not break the connection."""
    assert running.client.head(f"{running.url}/webhook").status_code == 405
    assert running.get("/-/healthy").status_code == 200


def padded(size: int) -> bytes:
    """An event of exactly `size` bytes."""
    body = event(metadata={"note": ""})
    return body.replace(b'"note":""', b'"note":"%s"' % (b"n" * (size - len(body))))


def test_a_body_of_exactly_the_limit_is_taken(running: parts.Exporter) -> None:
    """256 KiB are allowed."""
    body = padded(LIMIT)

    assert len(body) == LIMIT
    assert running.post(body).json() == {"outcome": "transition"}


def raw(exporter: parts.Exporter, data: bytes) -> bytes:
    """Sends bytes on a connection of their own, and reads until the server closes it or is silent."""
    with closing(socket.create_connection(("127.0.0.1", exporter.port))) as connection:
        connection.sendall(data)
        answer = b""
        while b"\r\n\r\n" not in answer or not complete(answer):
            piece = connection.recv(65536)
            if not piece:
                break
            answer += piece
        return answer


def complete(answer: bytes) -> bool:
    """Whether the answer has as many bytes as it says."""
    head, _, body = answer.partition(b"\r\n\r\n")
    length = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
    return len(body) >= int(length or 0)


def test_a_longer_body_is_answered_413_before_it_is_sent(running: parts.Exporter) -> None:
    """The announced length is enough."""
    head = f"POST /webhook HTTP/1.1\r\nHost: localhost\r\nContent-Length: {LIMIT + 1}\r\n\r\n".encode()

    def call() -> None:
        answer = raw(running, head)
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]

    counts_one(running, "default", "too_large", call)


def test_a_longer_body_in_chunks_is_answered_413(running: parts.Exporter) -> None:
    """Without an announced length the limit holds as well."""
    head = b"POST /webhook HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"4000\r\n" + b" " * 0x4000 + b"\r\n"

    counts_one(
        running,
        "default",
        "too_large",
        lambda: raw(running, head + chunk * 17).startswith(b"HTTP/1.1 413 ") or pytest.fail("expected 413"),
    )


def test_a_body_in_chunks_is_as_good_as_another(running: parts.Exporter) -> None:
    """Some proxies re-send in chunks; the signature is over the bytes, not over their packaging."""
    body = event()
    pieces = iter([body[:7], body[7:100], body[100:]])
    headers = {"X-Webhook-Hmac": parts.sign(body, NEW_KEY)}
    answer = running.client.post(f"{running.url}/webhook/signed", content=pieces, headers=headers)

    assert answer.json() == {"outcome": "transition"}


@pytest.mark.parametrize("encoding", ["identity", "Identity", ""])
def test_a_body_without_an_encoding_is_read(running: parts.Exporter, encoding: str) -> None:
    """An empty list of encodings names none."""
    assert running.post(event(), {"Content-Encoding": encoding}, "open").status_code == 200


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "gzip, identity"])
def test_a_compressed_body_is_answered_415(running: parts.Exporter, encoding: str) -> None:
    """A small bomb is as good as a large one, so none is unpacked."""
    answer = running.post(gzip.compress(event()), {"Content-Encoding": encoding}, "open")

    refused(answer, 415)


def test_a_connection_goes_on_after_a_refusal(running: parts.Exporter) -> None:
    """401 and 422 cost a sender nothing but the answer."""
    with closing(http.client.HTTPConnection("127.0.0.1", running.port)) as connection:
        seen = []
        for path, body in (("/webhook/signed", event()), ("/webhook", b"{}"), ("/webhook", event())):
            connection.request("POST", path, body)
            answer = connection.getresponse()
            answer.read()
            seen.append((answer.status, answer.will_close))

    assert seen == [(401, False), (422, False), (200, False)]


def test_a_query_string_is_no_part_of_the_path(running: parts.Exporter) -> None:
    """Gateways append parameters of their own."""
    answer = running.client.post(f"{running.url}/webhook/open?utm=x&token=unused", content=event())

    assert answer.status_code == 200


def request_of(body: bytes, *headers: str) -> bytes:
    """A whole request as bytes."""
    lines = ["POST /webhook HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def test_a_sender_that_waits_to_be_asked_is_asked(running: parts.Exporter) -> None:
    """`Expect: 100-continue`: the body comes only after the interim answer."""
    body = event()
    whole = request_of(body, "Expect: 100-continue")
    with closing(socket.create_connection(("127.0.0.1", running.port))) as connection:
        connection.sendall(whole[: -len(body)])
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 OK\r\n")


def test_requests_in_a_row_are_answered_in_their_order(running: parts.Exporter) -> None:
    """Pipelined webhooks, and another path between them, on one connection."""
    first, second = event(), event()
    between = b"GET /-/ready HTTP/1.1\r\nHost: localhost\r\n\r\n"
    answers = b""
    with closing(socket.create_connection(("127.0.0.1", running.port))) as connection:
        connection.sendall(request_of(first) + between + request_of(b"{}") + request_of(second, "Connection: close"))
        while piece := connection.recv(65536):
            answers += piece

    statuses = [int(part[:3]) for part in answers.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [200, 200, 422, 200]
    assert answers.index(b"ready") < answers.index(b"error")


def test_a_request_that_arrives_byte_by_byte_is_a_request(running: parts.Exporter) -> None:
    """Wherever the network cuts it."""
    whole = request_of(event(), "Connection: close")
    answer = b""
    with closing(socket.create_connection(("127.0.0.1", running.port))) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(len(whole)):
            connection.sendall(whole[at : at + 1])
        while piece := connection.recv(1000):
            answer += piece

    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b'{"outcome":"transition"}')


# What the URL says


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Iterator[parts.Exporter]:
    """Gateways that append to the URL, or whose URL has to name the session."""
    folder = tmp_path_factory.mktemp("named")
    (folder / "tokens").write_text("t0ken\nbase/64+token/call-me==\ncaf\u00e9\n")
    sources = {
        "default": {"dialect": "evolution", "allow_unsigned": True},
        "evo": {"dialect": "evolution", "token_file": "tokens"},
        "wpp": {"dialect": "wppconnect", "allow_unsigned": True},
        "waha": {"token_file": "tokens"},
    }
    with parts.Exporter({"sources": sources, "metrics": {"session_histograms": False}}, folder) as exporter:
        yield exporter


def by_url(exporter: parts.Exporter, url: bytes, body: bytes, *headers: bytes) -> tuple[int, Any]:
    """Status and JSON of the answer to a URL that is sent as it is."""
    lines = [b"POST " + url + b" HTTP/1.1", b"Host: localhost", b"Connection: close", *headers]
    answer = raw(exporter, b"\r\n".join([*lines, b"Content-Length: %d" % len(body), b"", body]))
    return int(answer.split(b" ")[1]), json.loads(answer.partition(b"\r\n\r\n")[2])


def evolution_event() -> bytes:
    """A connection.update of a new instance."""
    return parts.encode({"event": "connection.update", "instance": new_session(), "data": {"state": "open"}})


@pytest.mark.parametrize(
    "url",
    [
        b"/webhook/evo?token=t0ken",
        b"/webhook/evo?token=t0ken/connection-update",
        b"/webhook/evo?secret=t0ken/messages-upsert",
        b"/webhook/evo?token=t0ken&x=y/connection-update",
        b"/webhook/evo?x=y&token=t0ken/group-participants-update",
        b"/webhook/evo?token=t0ken/call",
        b"/webhook/evo/?token=t0ken/qrcode-updated",
        b"/webhook/evo/connection-update?token=t0ken",
        b"/webhook/evo//connection-update?token=t0ken",
        b"/webhook/evo?token=base/64+token/call-me==",
        b"/webhook/evo?token=base/64%2Btoken/call-me==/connection-update",
        b"/webhook/evo?token=caf%C3%A9/connection-update",
        b"/webhook/evo?token=caf\xc3\xa9&shop=caf\xe9",
        b"/webhook/evo?%74oken=%740ken",
        b"/webhook/evo?token=wrong&secret=t0ken",
        b"http://localhost/webhook/evo?token=t0ken",
        b"/webhook/evo?token=t0ken#fragment",
        b"/webhook/connection-update",
        b"/webhook/qrcode-updated/",
    ],
)
def test_evolution_appends_the_events_name_to_the_whole_url(named: parts.Exporter, url: bytes) -> None:
    """Query included, and it never tries again: a refusal loses the event."""
    assert by_url(named, url, evolution_event()) == (200, {"outcome": "transition"})


@pytest.mark.parametrize(
    "url",
    [
        b"/webhook/evo?token=t0ken/Connection-Update",
        b"/webhook/evo?token=t0ken/connection-update/messages-upsert",
        b"/webhook/evo?token=t0ke/connection-update",
        b"/webhook/evo?token=/connection-update",
        b"/webhook/evo?token=",
        b"/webhook/evo?token=%C3%A9&x=%",
        b"/webhook/evo?token=%zz\xff",
        b"/webhook/evo?shop=caf\xc3\xa9",
        b"/webhook/waha?token=t0ken/connection-update",
        b"/webhook/waha?token=caf%E9",
    ],
)
def test_another_url_is_a_counted_401(named: parts.Exporter, url: bytes) -> None:
    """Whatever bytes are in it."""
    source = url.split(b"?")[0].rpartition(b"/")[2].decode()

    counts_one(named, source, "bad_token", lambda: by_url(named, url, b"{}")[0] == 401 or pytest.fail("expected 401"))


@pytest.mark.parametrize(
    ("url", "session"),
    [
        (b"/webhook/wpp?session=shop-1", "shop-1"),
        (b"/webhook/wpp/shop-2", "shop-2"),
        (b"/webhook/wpp/shop-3/", "shop-3"),
        (b"/webhook/wpp/?x=y&session=shop-4", "shop-4"),
        (b"/webhook/wpp/caf%C3%A9%2F1", "caf\u00e9/1"),
        (b"/webhook/wpp?session=caf\xc3\xa9-2", "caf\u00e9-2"),
        (b"/webhook/wpp?session=+49 151".replace(b" ", b"%20"), "+49 151"),
        (b"/webhook/wpp/a/b", "a/b"),
        (b"/webhook/wpp/" + b"%C3%A9" * 128, "\u00e9" * 128),
    ],
)
def test_the_session_may_come_from_the_url(named: parts.Exporter, url: bytes, session: str) -> None:
    """wppconnect-server leaves it out of some events."""
    body = parts.encode({"event": "status-find", "status": "inChat"})

    assert by_url(named, url, body) == (200, {"outcome": "transition"})
    assert value(named, "wawp_session_status", source="wpp", session=session, status="WORKING") == 1


@pytest.mark.parametrize(
    "url",
    [
        b"/webhook/wpp",
        b"/webhook/wpp?session=",
        b"/webhook/wpp/" + b"x" * 257,
        b"/webhook/wpp?session=" + b"%C3%A9" * 129,
        b"/webhook/wpp?session=%FF",
        b"/webhook/wpp/%00",
    ],
    ids=lambda url: repr(url[:24]),
)
def test_a_session_in_the_url_that_is_no_name_is_answered_422(named: parts.Exporter, url: bytes) -> None:
    """The error names the field."""
    body = parts.encode({"event": "status-find", "status": "inChat"})

    def call() -> None:
        status, answer = by_url(named, url, body)
        assert status == 422
        assert answer["error"].startswith("session: ")

    counts_one(named, "wpp", "invalid_event", call)


def test_what_belongs_to_no_source_is_counted_without_one(running: parts.Exporter) -> None:
    """A typing error in the gateway's URL must be seen somewhere; nothing of the URL becomes a label."""
    name = "wawp_exporter_webhooks_total"
    before = value(running, name, source="") or 0
    for path in ("/webhook/nobody", "/webhook/some\u00e9body", "/webhook//", "/webhook/default/%ff"):
        refused(running.client.post(running.url + path, content=event()), 404)
    for method in ("GET", "DELETE"):
        refused(running.client.request(method, f"{running.url}/webhook"), 405)

    assert set(rejections(running, "")) == {"unknown_source", "method"}
    assert value(running, name, source="") == before + 6
    assert sum(rejections(running, "").values()) == before + 6


@pytest.mark.parametrize("source", ["default", "signed"])
def test_a_byte_order_mark_before_the_json_is_skipped(running: parts.Exporter, source: str) -> None:
    """RFC 8259, 8.1; the signature is over the bytes as they came. A second one is no JSON."""
    body = b"\xef\xbb\xbf" + event()
    key = NEW_KEY if source == "signed" else None

    assert running.post(body, source=source, key=key).json() == {"outcome": "transition"}
    refused(running.post(b"\xef\xbb\xbf" + body, source=source, key=key), 400)
    if key:
        refused(running.post(body, {"X-Webhook-Hmac": parts.sign(body[3:], key)}, source), 401)
