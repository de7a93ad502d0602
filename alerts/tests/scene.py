"""A stage for stories from a webhook to a message: real servers, whoever plays, and what the receivers were sent.

Time passes twenty times faster: in the judge (but for settling), its limits, the rules and the routes.
"""

import asyncio
import os
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from alerts.tests import stack
from tests import parts
from wawp_exporter.simulator import expected, gateway, player, scenarios

FASTER = float(os.environ.get("WAWP_FASTER", "20"))  # 1: in real time, as `make soak` plays them
# How much of its time to settle a problem keeps: less than some seconds, and a busy machine makes stories of its own.
SETTLING = max(0.5, 1 / FASTER)
KEY = b"the key of the gateway"
# The default ones, so much shorter, but for those of 60, 15 and 5 minutes: these are ten minutes here.
SECONDS = {"starting": 60, "failed": 20, "qr_escalate": 300, "qr_unattended": 600, "down": 600, "undelivered": 600}
LIMITS = {kind: f"{max(1, round(length / FASTER))}s" for kind, length in SECONDS.items()}
SENTINELS = tuple(f"sentinel-{number}" for number in range(20))


@dataclass(frozen=True)
class Play:
    """A scenario, how it is made and how it is sent; virtual seconds are divided by the pace."""

    scenario: str
    engine: str = "GOWS"
    sessions: int = 1
    pace: float = 1.0
    made: dict[str, Any] = field(default_factory=dict)
    sent: dict[str, Any] = field(default_factory=dict)


Message = dict[str, Any]


class Players:
    """Plays scenarios in a thread, each against a running exporter; what is still playing at the end is cut short."""

    def __enter__(self) -> "Players":
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self.cut(), self.loop).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    async def cut(self) -> None:
        """Cancels whatever plays and waits for its end."""
        playing = asyncio.all_tasks() - {asyncio.current_task()}
        for task in playing:
            task.cancel()
        await asyncio.gather(*playing, return_exceptions=True)

    def play(self, source: str, play: Play, exporter: parts.Exporter) -> "Future[expected.Report]":
        """Begins; the sessions are called after their source."""
        plan = scenarios.scenario(
            play.scenario, sessions=play.sessions, engines={play.engine: 1}, prefix=f"{source}-", **play.made
        )
        key = KEY if source in {"forged", "rotated"} else None
        options = gateway.Options(
            url=f"{exporter.url}/webhook", source=source, pace=play.pace, hmac_key=key, concurrency=4, **play.sent
        )
        return asyncio.run_coroutine_threadsafe(player.Simulation(plan, options).play(), self.loop)


class Inbox(parts.Receiver):
    """Notes when each message came."""

    def record(self, notification: dict[str, Any]) -> None:
        """As the receiver does."""
        super().record({**notification, "at": time.time()})


@dataclass
class Scene:
    """What runs, and what its receivers have been sent.

    `fragile` is an exporter that a story may kill. `other` has more sources: losses in three of one exporter are one
    outage, and no story of their own.
    """

    exporter: parts.Exporter
    fragile: parts.Exporter
    other: parts.Exporter
    servers: stack.Stack
    receiver: Inbox
    players: Players
    played: "dict[str, Future[expected.Report]]" = field(default_factory=dict)
    unused: list[str] = field(default_factory=lambda: list(SENTINELS))
    ended: dict[str, float] = field(default_factory=dict)
    settled: float = 0.0

    def play(self, source: str, play: Play, exporter: parts.Exporter | None = None) -> "Future[expected.Report]":
        """Begins a story of this source."""
        self.played[source] = self.players.play(source, play, exporter or self.exporter)
        self.played[source].add_done_callback(lambda _: self.ended.update({source: time.time()}))
        return self.played[source]

    def truth(self, source: str) -> expected.ExpectedSession:
        """What happened to the source's first session, when its story has been told."""
        report = self.played[source].result()
        parts.wait_until(lambda: source in self.ended)
        return report.expected.sessions[f"{source}-001"]

    def messages(self, source: str, name: str | None = None, status: str = "firing") -> list[Message]:
        """The messages that hold an alert of this source, in the order of arrival."""
        with self.receiver.arrived:
            arrived = list(self.receiver.notifications)
        return [each for each in arrived if alerts_of(each, source, name, status)]

    def alerts(self, source: str, name: str | None = None, status: str = "firing") -> list[dict[str, Any]]:
        """The alerts in those messages."""
        return [
            alert for each in self.messages(source, name, status) for alert in alerts_of(each, source, name, status)
        ]

    def names(self, source: str, until: float | None = None) -> set[str]:
        """Everything of this source that anybody was told, before a time if one is given."""
        told = [each for each in self.messages(source) if until is None or each["at"] < until]
        return {alert["labels"]["alertname"] for each in told for alert in alerts_of(each, source, None, "firing")}

    def wait(self, source: str, name: str, status: str = "firing") -> Message:
        """The first such message, when it has come."""
        self.receiver.wait_for(lambda arrived: any(alerts_of(m, source, name, status) for m in arrived))
        return self.messages(source, name, status)[0]

    def wait_for_messages(self, source: str, count: int) -> list[Message]:
        """The messages about this source, when there are so many."""
        parts.wait_until(lambda: len(self.messages(source)) >= count, f"{count} messages about {source}")
        return self.messages(source)

    def settle(self, after: float) -> None:
        """What happened until then would have been told by now: the slowest route has sent two messages.

        It takes some seconds, and tells the same to every story that was over when it began.
        """
        if self.settled > after:
            return
        source, at = self.unused.pop(0), time.time()
        event(self.exporter, source, "one", "FAILED")
        self.wait(source, "WawpSessionFailed")
        event(self.exporter, source, "one", "WORKING")
        self.wait(source, "WawpSessionFailed", "resolved")
        self.settled = max(self.settled, at)


def alerts_of(message: Message, source: str, name: str | None, status: str) -> list[dict[str, Any]]:
    """The alerts of one message that are meant."""
    return [
        alert
        for alert in message["alerts"]
        if alert["status"] == status
        and alert["labels"].get("source") == source
        and name in {None, alert["labels"]["alertname"]}
    ]


def who(message: Message) -> str:
    """The receiver's name, which is the path that it is sent to."""
    return str(message["path"]).strip("/")


def when(text: str) -> float:
    """Alertmanager's time as Unix seconds."""
    return datetime.fromisoformat(text).timestamp()


def event(
    exporter: parts.Exporter,
    source: str,
    session: str,
    status: str,
    engine: str = "GOWS",
    key: bytes | None = None,
    ago: float = 0.0,
) -> None:
    """A status that no scenario has, now or so many seconds ago."""
    at = parts.now_ms() - round(ago * 1000)
    body = parts.envelope(session=session, status=status, engine=engine, timestamp=at)
    assert exporter.post(body, source=source, key=key).status_code == 200


def settings(sources: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """An exporter's. No error budget can be used up: its windows are hours, and the stories are full of trouble."""
    return {
        "sources": dict(sources),
        "thresholds": LIMITS,
        "slo": {"objective": 0.01},
        "log": {"level": "warning"},
        **more,
    }


def quick_routing(receiver: Inbox) -> dict[str, Any]:
    """The shipped routes, with less waiting; messages go to the receiver's path of the same name."""
    waits = {
        "group_wait": stack.divided_by(FASTER, 1.0),
        "group_interval": stack.divided_by(3 * FASTER, 1.0),
        "repeat_interval": stack.divided_by(FASTER),
    }
    return stack.routing(waits, stack.recorded_at(receiver.url))


@contextmanager
def staged(
    version: str, exporter: Mapping[str, Any], fragile: Mapping[str, Any], other: parts.Exporter
) -> Iterator[Scene]:
    """Exporters, two of them with these configurations, and the servers of one Debian with shipped rules and routes."""
    rules = stack.shortened_rules(stack.divided_by(FASTER, 1.0), stack.ranges_divided_by(FASTER))
    with ExitStack() as started:
        receiver = started.enter_context(Inbox())
        exporters = [started.enter_context(each) for each in (hasty(exporter), hasty(fragile), other)]
        players = started.enter_context(Players())
        routing = quick_routing(receiver)
        servers = started.enter_context(stack.running(exporters, rules, routing, 1.0, version))
        yield Scene(*exporters, servers, receiver, players)


def hasty(config: Mapping[str, Any]) -> parts.Exporter:
    """An exporter for which time passes twenty times faster."""
    return parts.Exporter(config, pace=1 / FASTER, settling=SETTLING)
