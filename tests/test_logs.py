"""The service's own log lines: what they show of hostile values, and how many of them strangers can cause."""

import io
import json
import logging
import re
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import structlog

import wawp_exporter
from tests import parts
from wawp_exporter import log_lines
from wawp_exporter.log_limit import BURST, LINES_A_SECOND, MAX_KINDS, OTHER, TELL_EVERY_S, Limit
from wawp_exporter.metrics.telemetry import Telemetry

Written = Callable[[], list[str]]
HOSTILE = {
    "a\nlevel=error event=forged": r"a\nlevel=error event=forged",
    "a\r\nforged=1": r"a\r\nforged=1",
    "\x1b[2J\x1b[31mred": r"\x1b[2J\x1b[31mred",
    "\u202etxt.exe": r"\u202etxt.exe",
    "\u2066a\u2069": r"\u2066a\u2069",
    "a\u200bb\u200db\ufeff": r"a\u200bb\u200db\ufeff",
    "u\u2028v\u2029w\x85x": r"u\u2028v\u2029w\x85x",
    "\x00\x07\x08\x7f\x9b": r"\x00\x07\x08\x7f\x9b",
    "\ud800": r"\ud800",
    "\U000e0041": r"\U000e0041",
    "a\xa0b": r"a\xa0b",
    "Zoë 漢 😀": "Zoë 漢 😀",
    'q" level=error x="': 'q" level=error x="',
    "a \\": "a \\",
}


@pytest.fixture
def configured() -> Iterator[Callable[[Any], Written]]:
    """Configures logging in a form; gives what gives the lines. All is as it was after the test."""
    root = logging.getLogger()
    before = root.handlers[:], root.level

    def configure(form: Any) -> Written:
        root.handlers[:] = []
        log_lines.configure("info", form)
        (handler,) = log_lines.limited(root)
        handler.stream = out = io.StringIO()
        return lambda: out.getvalue().split("\n")[:-1]

    yield configure
    root.handlers[:], root.level = before
    structlog.reset_defaults()


def fields(line: str) -> dict[str, str]:
    """The fields of a line of logfmt, as every reader of logfmt takes them apart."""
    found = re.findall(r'([a-z_]+)=(?:"((?:[^"\\]|\\.)*)"|(\S*))(?: |$)', line)
    return {key: re.sub(r"\\(.)", r"\1", quoted) if quoted else plain for key, quoted, plain in found}


# -- what is shown


@pytest.mark.parametrize(("value", "shown"), HOSTILE.items(), ids=map(ascii, HOSTILE))
def test_a_value_can_neither_break_a_line_nor_hide_in_it(
    configured: Callable[[Any], Written], value: str, shown: str
) -> None:
    """A session's name comes from whoever holds a key of the gateway; the log is read by people, on terminals."""
    written = configured("logfmt")

    structlog.get_logger().warning("status corrected", session=value, after="FAILED")

    (line,) = written()
    assert line.isprintable()
    assert fields(line) | {"timestamp": ""} == {
        "timestamp": "",
        "level": "warning",
        "event": "status corrected",
        "session": shown,
        "after": "FAILED",
    }


@pytest.mark.parametrize(("value", "shown"), HOSTILE.items(), ids=map(ascii, HOSTILE))
def test_json_shows_the_same(configured: Callable[[Any], Written], value: str, shown: str) -> None:
    """Also when a tool has decoded it."""
    written = configured("json")

    structlog.get_logger().warning("status corrected", session=value, mistakes=[value, {value: value}])

    (line,) = written()
    told = json.loads(line)
    assert line.isprintable()
    assert (told["session"], told["mistakes"]) == (shown, [shown, {shown: shown}])


@pytest.mark.parametrize("form", ["logfmt", "json"])
def test_lines_of_libraries_are_escaped_too(configured: Callable[[Any], Written], form: str) -> None:
    """And tracebacks are one line."""
    written = configured(form)

    logging.getLogger("uvicorn.error").warning("bad %s", "a\r\x1b\u202e")
    logging.getLogger("asyncio").error("c\rd", exc_info=ValueError("b\r\x1b\u202e\nforged=1"))

    first, second = written()
    assert r"bad a\r\x1b\u202e" in first.replace("\\\\", "\\")
    assert first.isprintable()
    assert second.isprintable()


# -- how many


def test_a_kind_of_line_is_written_a_few_times_and_then_once_a_second() -> None:
    """Whatever the rate at which it is caused."""
    limit = Limit()

    written = [now / 100 for now in range(1000) if limit.admit(("bad request", ""), now / 100)]

    assert written[:BURST] == [now / 100 for now in range(BURST)]
    assert len(written) == BURST + int(10 * LINES_A_SECOND) - 1


def test_a_quiet_kind_gets_its_burst_back() -> None:
    """After it was quiet for long enough, and no more than that."""
    limit = Limit()
    kind = ("bad request", "")
    for _ in range(100):
        limit.admit(kind, 0)

    assert sum(limit.admit(kind, 1000) for _ in range(100)) == BURST


def test_kinds_and_sources_do_not_take_each_others_lines() -> None:
    """A flood at one source hides nothing of another."""
    limit = Limit()
    for _ in range(100):
        limit.admit(("bad request", "a"), 0)

    assert limit.admit(("bad request", "b"), 0)
    assert limit.admit(("request failed", "a"), 0)


def test_what_is_left_out_is_counted_and_told_once() -> None:
    """Some seconds after the first of them, or at once when the process ends."""
    limit = Limit()
    kind = ("bad request", "")
    for _ in range(BURST + 7):
        limit.admit(kind, 5)

    assert limit.due(5 + TELL_EVERY_S - 0.1) == {}
    assert limit.due(5 + TELL_EVERY_S) == {kind: 7}
    assert limit.due(5 + TELL_EVERY_S) == {}
    limit.admit(kind, 5)
    assert limit.due(5, at_once=True) == {kind: 1}


def test_more_kinds_than_are_counted_apart_share_one_count() -> None:
    """Texts of libraries can hold anything: memory stays bounded, and no line is forgotten."""
    limit = Limit()
    kinds = [(f"kind {number}", "") for number in range(10 * MAX_KINDS)]

    admitted = sum(limit.admit(kind, 0) for kind in kinds)

    assert admitted == MAX_KINDS + BURST
    assert limit.due(TELL_EVERY_S) == {OTHER: len(kinds) - admitted}
    assert limit.admit(("new", ""), 1000)


@pytest.mark.parametrize("form", ["logfmt", "json"])
def test_a_flood_ends_in_its_number(configured: Callable[[Any], Written], form: str) -> None:
    """Lines of ours, of uvicorn and of asyncio alike, whatever their arguments are."""
    written = configured(form)
    for number in range(100):
        logging.getLogger("uvicorn.error").warning("Invalid HTTP request received from %s.", number)
        accept = f"socket.accept() out of system resource\nsocket: <socket {number}>"
        logging.getLogger("asyncio").error(accept)
        structlog.get_logger().error("request failed", source="a", error=str(number))

    (handler,) = log_lines.limited(logging.getLogger())
    handler.tell(0, at_once=True)

    lines = written()
    assert len(lines) <= 3 * (BURST + 2)
    summaries = [line for line in lines if log_lines.LEFT_OUT in line]
    read = [json.loads(line) if form == "json" else fields(line) for line in summaries]
    counted = {(each["of"], each["source"]): int(each["lines"]) for each in read}
    assert set(counted) == {
        ("Invalid HTTP request received from %s.", "uvicorn.error"),
        ("socket.accept() out of system resource", "asyncio"),
        ("request failed", "a"),
    }
    assert sum(counted.values()) + len(lines) - len(summaries) == 300


def test_what_operators_do_is_always_written(configured: Callable[[Any], Written]) -> None:
    """A thousand reloads are a thousand lines."""
    written = configured("logfmt")

    for _ in range(1000):
        structlog.get_logger().info("configuration loaded")
        structlog.get_logger().error("configuration refused, the old one stays", mistakes=[])

    assert len(written()) == 2000


def test_each_line_that_is_always_written_exists() -> None:
    """A text that was changed in one place only would be limited."""
    source = "".join(path.read_text() for path in Path(wawp_exporter.__file__).parent.rglob("*.py"))

    assert {event for event in log_lines.OWN if f'("{event}"' not in source} == set()


def test_a_reload_forgets_no_count(configured: Callable[[Any], Written]) -> None:
    """`configure` is called again by each; who reloads in a flood does not start it anew."""
    configured("logfmt")
    (before,) = log_lines.limited(logging.getLogger())

    log_lines.configure("info", "json")

    (after,) = log_lines.limited(logging.getLogger())
    assert after.limit is before.limit


def test_refused_webhooks_are_told_once_a_minute_with_their_number() -> None:
    """The first at once, for whoever sets a gateway up; also while the clock was set back."""
    source = Telemetry().source("default")
    told = [source.refuse("bad_token", at) for at in range(0, 60_000, 100)]

    assert told == [1] + [0] * 599
    assert source.refuse("malformed", 60_000) == 1
    assert source.refuse("bad_token", 60_000) == 600
    assert source.refuse("bad_token", 59_000) == 1
    assert source.refuse("bad_token", 59_001) == 0


def test_a_flood_of_bad_requests_is_a_few_lines(exporter: Callable[..., parts.Exporter]) -> None:
    """Of the running service, over real sockets; what its operator did is among them."""
    running = exporter({})
    for _ in range(60):
        with closing(socket.create_connection(("127.0.0.1", running.port))) as connection:
            connection.sendall(b"\x16\x03\x01 not HTTP\r\n\r\n")
            while connection.recv(65536):
                pass

    running.stop()
    events = Counter(fields(line).get("event", "") for line in running.stderr.splitlines())
    assert events.total() < 40
    assert events["stopped"] == events["listening"] == 1
