"""Plays a scenario as webhooks to a running exporter."""

import asyncio
import os
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import urlsplit

import httpx

from wawp_exporter.errors import WawpExporterError
from wawp_exporter.simulator.expected import Counts, Report, expected_of, quantile
from wawp_exporter.simulator.gateway import (
    Delivery,
    Dialect,
    Ids,
    Options,
    SimulatedGateway,
    Stamped,
    clock_for,
    unix_ms,
    version_for,
)
from wawp_exporter.simulator.plan import WORKING, Emission, Message, Plan, dice


class SimulationError(WawpExporterError):
    """The simulation cannot begin."""


class Simulation:
    """Plays one plan once.

    A session's event waits for the first answer to the one before; retries go on beside newer events, as WAHA's do.
    At most `concurrency` requests are open. `on_done` is called after each delivery; `report` may be asked any time.
    """

    def __init__(
        self,
        plan: Plan,
        options: Options,
        on_done: Callable[[Counts], None] = lambda _: None,
        now: Callable[[], int] = unix_ms,
    ) -> None:
        self.plan = plan
        self.options = options
        self.on_done = on_done
        self.now = now
        self.counts = Counts()
        self.points: dict[str, list[tuple[str, int]]] = {}
        self.messages: dict[str, list[tuple[Message, int]]] = {}
        self.chance = dice(plan.seed, "chance")
        self.chatter = dice(plan.seed, "messages")
        self.lanes: asyncio.LifoQueue[httpx.AsyncClient] = asyncio.LifoQueue()
        self.answered: dict[str, asyncio.Event] = {}
        self.held: dict[str, Delivery] = {}
        self.began = time.perf_counter()

    async def play(self) -> Report:
        """Sends the whole plan and waits for the last answer or the last retry."""
        clock = clock_for(self.plan, self.options, self.now)
        gateway = SimulatedGateway(
            self.plan, self.options, clock, Ids(dice(self.plan.seed, "ids")), version_for(self.plan)
        )
        self.began = time.perf_counter()
        async with clients(self.options, self.lanes), asyncio.TaskGroup() as self.tasks:
            for event in self.plan.events:
                await self.until(event.at)
                if isinstance(event, Emission):
                    await self.emit(gateway, clock.stamp(event))
                elif self.options.dialect != Dialect.WAWP_V1:
                    await self.say(gateway, event)
            for delivery in self.held.values():
                await self.send(delivery)
        return self.report()

    def report(self) -> Report:
        """What is known so far."""
        counts = self.counts
        latencies = sorted(counts.latencies)
        return Report(
            scenario=self.plan.name,
            sent=counts.sent,
            delivered=counts.delivered,
            given_up=counts.given_up,
            retries=counts.retries,
            forged=counts.forged,
            forged_accepted=counts.forged_accepted,
            outcomes=dict(counts.outcomes),
            answers=dict(counts.answers),
            errors=dict(counts.errors),
            elapsed=time.perf_counter() - self.began,
            p50=quantile(latencies, 0.5),
            p99=quantile(latencies, 0.99),
            expected=expected_of(self.plan, self.points, self.messages),
        )

    async def until(self, at: float) -> None:
        """Waits until it is time for virtual second `at`."""
        if self.options.pace:
            due = self.began + at / self.options.pace
            if (left := due - time.perf_counter()) > 0:
                await asyncio.sleep(left)

    async def emit(self, gateway: SimulatedGateway, stamped: Stamped) -> None:
        """Sends an event with the copies, forgeries and swaps that were asked for."""
        emission = stamped.emission
        self.points.setdefault(emission.session, []).append((emission.status, stamped.at_ms))
        delivery = gateway.delivery(stamped)
        held = self.held.pop(emission.session, None)
        if held is None and self.chance.random() < self.options.reorder:
            self.held[emission.session] = delivery
            return
        copy = gateway.copy(delivery) if self.chance.random() < self.options.duplicates else None
        await self.send(delivery, copy)
        if held:
            await self.send(held)
        if self.chance.random() < self.options.forged:
            await self.spawn(gateway.forgery(stamped), None, asyncio.Event())
        if emission.status == WORKING and self.chatter.random() < self.options.chatter:
            await self.send(gateway.message(stamped))

    async def say(self, gateway: SimulatedGateway, message: Message) -> None:
        """Sends an event about a message."""
        at_ms = gateway.clock.convert(message.at_ms)
        self.messages.setdefault(message.session, []).append((message, at_ms))
        await self.send(gateway.spoken(message, at_ms))

    async def send(self, *deliveries: Delivery | None) -> None:
        """Sends all at once, after the first answer to what this session sent before."""
        for delivery, event in self.gated([each for each in deliveries if each]):
            self.counts.sent += 1
            await self.spawn(delivery, *event)

    def gated(
        self, deliveries: list[Delivery]
    ) -> Iterator[tuple[Delivery, tuple[asyncio.Event | None, asyncio.Event]]]:
        """Each with the event to wait for and the event to set."""
        session = deliveries[0].session
        before = self.answered.get(session)
        for delivery in deliveries:
            self.answered[session] = asyncio.Event()
            yield delivery, (before, self.answered[session])

    async def spawn(self, delivery: Delivery, before: asyncio.Event | None, answered: asyncio.Event) -> None:
        """Starts a delivery as soon as a lane is free."""
        lane = await self.lanes.get()
        self.tasks.create_task(self.deliver(delivery, lane, before, answered))

    async def deliver(
        self, delivery: Delivery, lane: httpx.AsyncClient, before: asyncio.Event | None, answered: asyncio.Event
    ) -> None:
        """Attempts until a 2xx, `attempts` times; a forger tries once."""
        if before:
            await before.wait()
        wait = await self.attempt(delivery, lane)
        answered.set()
        for _ in range(0 if delivery.forged else self.options.attempts - 1):
            if wait is None:
                break
            await asyncio.sleep(wait)
            self.counts.retries += 1
            wait = await self.attempt(delivery, await self.lanes.get())
        self.finish(delivery, accepted=wait is None)

    async def attempt(self, delivery: Delivery, lane: httpx.AsyncClient) -> float | None:
        """One request; None when it was accepted, else the seconds to wait. Gives the lane back."""
        began = time.perf_counter()
        try:
            answer = await lane.post(self.options.target, content=delivery.body, headers=delivery.headers)
        except httpx.RequestError as error:
            self.counts.errors[type(error).__name__] += 1
            return self.options.wait
        finally:
            self.lanes.put_nowait(lane)
        self.counts.latencies.append(time.perf_counter() - began)
        return self.heed(delivery, answer)

    def heed(self, delivery: Delivery, answer: httpx.Response) -> float | None:
        """Counts an answer; None when it accepts the event, else the seconds to wait, at least its `Retry-After`."""
        self.counts.answers[answer.status_code] += 1
        if not answer.is_success:
            return max(self.options.wait, retry_after(answer))
        if not delivery.forged:
            self.counts.outcomes[outcome_of(answer)] += 1
        return None

    def finish(self, delivery: Delivery, accepted: bool) -> None:
        """Counts what became of a delivery."""
        if delivery.forged:
            self.counts.forged += 1
            self.counts.forged_accepted += accepted
        elif accepted:
            self.counts.delivered += 1
        else:
            self.counts.given_up += 1
        self.on_done(self.counts)


@asynccontextmanager
async def clients(options: Options, lanes: asyncio.LifoQueue[httpx.AsyncClient]) -> AsyncIterator[None]:
    """Fills `lanes` with keep-alive clients of one connection each, as many as requests may be open.

    One client with 64 connections would look at all of them for each request, which costs several times the request.
    Proxies of the environment are ignored.
    """
    headers = {"Accept": "application/json, text/plain, */*", "Accept-Encoding": "gzip, deflate"}
    tls = ssl.create_default_context()
    async with AsyncExitStack() as stack:
        for _ in range(options.concurrency):
            lane = httpx.AsyncClient(verify=tls, timeout=options.timeout, headers=headers, trust_env=False)
            lanes.put_nowait(await stack.enter_async_context(lane))
        yield


def outcome_of(answer: httpx.Response) -> str:
    """The `outcome` of an accepted event; an answer of another kind is `other`."""
    try:
        data = answer.json()
    except ValueError:
        return "other"
    return str(data.get("outcome", "other")) if isinstance(data, dict) else "other"


def retry_after(answer: httpx.Response) -> float:
    """`Retry-After` in seconds; 0 without it, or for a date."""
    text = answer.headers.get("Retry-After", "")
    return float(text) if text.isdecimal() else 0.0


async def reach(url: str) -> None:
    """Raises SimulationError when nothing listens there."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
        _, writer = await asyncio.wait_for(asyncio.open_connection(parts.hostname, port), 5)
    except (KeyError, ValueError):
        raise SimulationError(f"{url}: not an http or https address") from None
    except OSError as error:
        message = f"{url}: cannot connect ({reason(error)}); does `wawp-exporter serve` run there?"
        raise SimulationError(message) from None
    writer.close()


def reason(error: OSError) -> str:
    """The system's words; asyncio's repeat the address."""
    if error.errno and error.errno > 0:
        return os.strerror(error.errno)
    return error.strerror or str(error) or "no answer"
