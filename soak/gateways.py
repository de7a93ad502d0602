"""The senders: each a gateway with a few sessions, which sends the same bytes again until they are taken."""

import random
import threading
import time

import httpx

from soak.events import ENGINES, NAMES, Sent, Session, message
from soak.world import World
from tests import parts

SOURCES = ("default", "default", "b", "old")
SKEWS = (0, 0, -5_000, 25_000, 0, 0, 400_000, 0)  # ms by which a gateway's clock is wrong
SESSIONS = 5
RESTLESS = (10, 10, 10, 1, 0.3)  # how often something happens to each of them, against the others
PATIENCE_S = 5.0
LATER = 0.05  # the share of webhooks that arrive after newer ones
TWICE = 0.03
NEVER = 0.03  # the share that is never sent: the next history tells of it
MESSAGES = 0.05


class Gateway(threading.Thread):
    """One sender. Ends when the world does."""

    def __init__(self, world: World, number: int) -> None:
        super().__init__(name=f"gateway-{number}", daemon=True)
        self.world, self.number = world, number
        self.rng = random.Random(f"{world.options.seed}-{number}")
        self.source = SOURCES[number % len(SOURCES)]
        # Where the time of receipt is taken there is no wrong clock.
        self.skew = SKEWS[number % len(SKEWS)] if self.source != "old" else 0
        names = [f"{NAMES[number % len(NAMES)]}-{number}", *(f"s{number}-{n}" for n in range(1, SESSIONS))]
        engine = self.rng.choice(ENGINES)
        self.sessions = [Session(self.source, name, engine) for name in names]
        self.storm, self.storm_ends = "", 0.0
        self.sent = 0
        self.late: list[tuple[float, Sent]] = []
        self.client = httpx.Client(timeout=PATIENCE_S, trust_env=False)

    def lose(self, status: str, seconds: float) -> None:
        """All its sessions go into this status, one after another, and stay there for a while."""
        self.storm, self.storm_ends = status, time.monotonic() + seconds

    def run(self) -> None:
        """Sends at random until there is nothing left to send and the world has ended."""
        pause = self.world.options.senders / self.world.options.rate
        while not self.world.ended.wait(self.rng.expovariate(1 / pause)):
            self.next()
            self.catch_up(time.monotonic())
        self.catch_up(float("inf"))
        self.client.close()

    def next(self) -> None:
        """Lets something happen to a session, and tells of it: now, later, twice or never."""
        (session,), chance = self.rng.choices(self.sessions, RESTLESS), self.rng.random()
        to = None
        if time.monotonic() < self.storm_ends:
            to = self.storm
            session = next((each for each in self.sessions if each.status != to), session)
        self.sent += 1
        event_id = f"evt_{self.number}_{self.sent}"
        if chance < MESSAGES and session.points:
            self.deliver(message(self.rng, session, event_id, parts.now_ms()))
            return
        now = parts.now_ms() + self.skew - self.rng.choice([0, 0, 0, 1000])
        session.move(self.rng, now, self.world.options.ties, to)
        timeless = self.source == "old" and self.rng.random() < 0.5
        event = session.event(self.rng, event_id, timeless=timeless)
        if self.rng.random() < NEVER:
            return
        if self.rng.random() < LATER and not timeless:
            self.late.append((time.monotonic() + self.rng.uniform(0.5, 5), event))
            return
        for _ in range(2 if self.rng.random() < TWICE else 1):
            self.deliver(event)

    def catch_up(self, now: float) -> None:
        """Sends what is due by now."""
        due = [event for at, event in self.late if at <= now]
        self.late = [(at, event) for at, event in self.late if at > now]
        for event in due:
            self.deliver(event)

    def deliver(self, event: Sent) -> None:
        """The same bytes to any replica, until one of them answers 200."""
        attempt = 0
        while not self.world.given_up.is_set():
            with self.world.gate.passing():
                status, answer = self.post(event)
            if status == 200:
                self.took(event, answer)
                return
            attempt += 1
            time.sleep(min(2.0, 0.1 * attempt) * self.rng.uniform(0.5, 1.5))

    def post(self, event: Sent) -> tuple[int, httpx.Response | None]:
        """One attempt: the status, 0 where there was no answer."""
        replica = self.rng.choice(self.world.replicas)
        life = replica.life
        header = self.world.keyring.header(event.source, event.body)
        headers = {**header, "X-Webhook-Request-Id": event.id, "Content-Type": "application/json"}
        url = f"{replica.url}/webhook/{event.source}"
        try:
            answer = self.client.post(url, content=event.body, headers=headers)
        except httpx.TransportError:
            life.unknown += 1
            self.world.ledger.answered(0)
            return 0, None
        self.world.ledger.answered(answer.status_code)
        if answer.status_code == 200:
            life.count(event.source, answer.json()["outcome"])
        else:
            self.complain(answer)
        return answer.status_code, answer

    def complain(self, answer: httpx.Response) -> None:
        """A genuine event may be refused with 503 while something is wrong, and with 401 while keys change."""
        world, status = self.world, answer.status_code
        allowed = (status == 503 and world.trouble.excuses("write")) or (
            status == 401 and world.trouble.excuses("keys")
        )
        if not allowed:
            world.ledger.break_("answer", f"{status} {answer.text[:120]!r} to a genuine event")
        if status == 503 and "retry-after" not in answer.headers:
            world.ledger.break_("answer", "503 without Retry-After")

    def took(self, event: Sent, answer: httpx.Response | None) -> None:
        """It was acknowledged."""
        assert answer is not None
        outcome = answer.json()["outcome"]
        if (event.name is None) != (outcome == "ignored"):
            self.world.ledger.break_("answer", f"{outcome} for {event.name or 'a message'}")
        if event.name is not None:
            self.world.ledger.acknowledged(event.name, event.history, outcome)
